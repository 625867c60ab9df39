import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KeptSession, placesOf } from '../../zookeeper/kept.ts';
import type { Session } from '../../zookeeper/session.ts';
import { noNode, ZooKeeperError } from '../../zookeeper/wire.ts';
import type { Listen } from '../tables.ts';

/** How long a session of ours lives without us, and so how soon a frozen ZooKeeper server is left: two thirds of it. Milliseconds. */
const sessionMs = 2_000;
const retryMs = 200;
/**
 * How long members that are not found stay in when a registry has just come back, or has just been made: for a registrar to find the
 * ensemble again and, where its session was lost meanwhile, to begin another, which takes a busy ensemble seconds. Milliseconds.
 */
const graceMs = sessionMs + 10_000;

/** The file that keeps who was registered, beside agent.json. */
export const registryFile = 'registry.json';

interface Ensemble {
  kept: KeptSession;
  session: Session | undefined;
  /** Why it does not answer. */
  why: string | undefined;
}

/** What is known of the registry below one path. */
interface Known {
  /** Who is let in; undefined: everybody, since nothing is known. */
  members?: Set<string>;
  /** Who was found, since the registry was last out of sight. */
  found?: Set<string>;
  /** While it runs nobody is put out. */
  grace?: NodeJS.Timeout;
}

/**
 * Who is registered, as ZooKeeper last said. What is not known stays as it was: an ensemble that is away, or that does not have
 * the registry at all (it was made anew), changes nothing. When it is back it lets members in at once, and puts out whom it does not have
 * only after a grace: registrars that are still on their way shall not empty a pool whose every server passes its check. It
 * is kept in a file, so that an agent which starts meanwhile knows it too.
 */
export class Registry {
  readonly #file: string;
  readonly #changed: (path: string, joined: Set<string>) => void;
  readonly #graceMs: number;
  readonly #known = new Map<string, Known>();
  readonly #ensembles = new Map<string, Ensemble>();
  readonly #synced = new WeakSet<Session>();
  readonly #looking = new Set<string>();
  readonly #again = new Set<string>();
  readonly #retries = new Map<string, NodeJS.Timeout>();
  #paths = new Map<string, string>();

  /** `changed` is called when others are registered below a path than before, with those who came. `grace` in milliseconds. */
  constructor(folder: string, changed: (path: string, joined: Set<string>) => void, grace = graceMs) {
    this.#file = join(folder, registryFile);
    this.#graceMs = grace;
    this.#changed = changed;
    try {
      const kept = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, string[]>;
      for (const [path, names] of Object.entries(kept)) this.#known.set(path, { members: new Set(names) });
    } catch {
      // There was none, or it was damaged: ZooKeeper will say.
    }
  }

  /** Follows the registries of these listens, and no others. */
  set(listens: Listen[]): void {
    const wanted = new Map(
      listens.flatMap(({ registry }) => (registry ? [[registry.path, registry.url] as const] : [])),
    );
    const before = this.#paths;
    this.#paths = wanted;
    for (const path of this.#known.keys()) {
      if (wanted.get(path) !== before.get(path)) this.#outOfSight(path);
      if (!wanted.has(path)) this.#known.delete(path);
    }
    const urls = new Set(wanted.values());
    for (const [url, { kept }] of this.#ensembles) {
      if (urls.has(url)) continue;
      kept.stop();
      this.#ensembles.delete(url);
    }
    for (const url of urls) if (!this.#ensembles.has(url)) this.#connect(url);
    for (const [path, url] of wanted) if (before.get(path) !== url) void this.#look(path);
  }

  /** Whether the registry below `path` lets the server in: it is registered, or nothing is known of that registry yet. */
  admits(path: string, server: string): boolean {
    return this.#known.get(path)?.members?.has(server) ?? true;
  }

  /** What cannot be followed now, and what that means, a sentence each. */
  troubles(): string[] {
    return [...this.#paths].flatMap(([path, url]) => {
      const why = this.#ensembles.get(url)?.why;
      if (why === undefined) return [];
      const pool = this.#known.get(path)?.members
        ? 'its servers stay as they were last known, and are checked'
        : 'checks alone decide';
      return [`registry ${path} cannot be followed (${why}): ${pool}`];
    });
  }

  close(): void {
    for (const { kept } of this.#ensembles.values()) kept.stop();
    for (const timer of this.#retries.values()) clearTimeout(timer);
    for (const { grace } of this.#known.values()) clearTimeout(grace);
  }

  #connect(url: string): void {
    const ensemble: Omit<Ensemble, 'kept'> & { kept?: KeptSession } = {
      session: undefined,
      why: 'not connected yet',
    };
    ensemble.kept = new KeptSession({
      servers: placesOf(url).servers,
      sessionMs,
      opened: (session) => {
        ensemble.session = session;
        ensemble.why = undefined;
        for (const [path, at] of this.#paths) if (at === url) void this.#look(path);
      },
      closed: (why) => {
        ensemble.session = undefined;
        ensemble.why = why;
        for (const [path, at] of this.#paths) if (at === url) this.#outOfSight(path);
      },
      watched: (path) => void this.#look(path),
    });
    this.#ensembles.set(url, ensemble as Ensemble);
  }

  /** Looks who is below the path, and has the next change told. One look at a time: what changes meanwhile is looked at after. */
  async #look(path: string): Promise<void> {
    this.#again.add(path);
    if (this.#looking.has(path)) return;
    this.#looking.add(path);
    clearTimeout(this.#retries.get(path));
    while (this.#again.delete(path)) {
      const session = this.#ensembles.get(this.#paths.get(path) ?? '')?.session;
      if (!session) break;
      try {
        const names = await this.#ask(session, path);
        // What an ensemble said that is away since then, or in the place of which another is asked, is nothing to go by.
        if (this.#ensembles.get(this.#paths.get(path) ?? '')?.session !== session) continue;
        if (names) this.#take(path, names);
        else this.#outOfSight(path);
      } catch {
        // Where the connection is gone the next one looks.
        this.#retries.set(
          path,
          setTimeout(() => void this.#look(path), retryMs),
        );
      }
    }
    this.#looking.delete(path);
  }

  async #ask(session: Session, path: string): Promise<string[] | undefined> {
    // Another server than before may lag behind it, and would take us back in time.
    if (!this.#synced.has(session)) await session.sync(path);
    this.#synced.add(session);
    try {
      return await session.getChildren(path, true);
    } catch (error) {
      if (!(error instanceof ZooKeeperError) || error.code !== noNode) throw error;
    }
    // It came in this moment, or its coming will be told.
    return (await session.ownerOf(path, true)) === undefined ? undefined : session.getChildren(path, true);
  }

  /** Nobody can say who is in it: what is known stays, and is not believed to be whole when it is seen again. */
  #outOfSight(path: string): void {
    const known = this.#known.get(path);
    clearTimeout(known?.grace);
    delete known?.grace;
    delete known?.found;
  }

  #take(path: string, names: string[]): void {
    const known = this.#known.get(path) ?? {};
    this.#known.set(path, known);
    const back = known.found === undefined;
    const before = known.found ?? known.members;
    known.found = new Set(names);
    if (back)
      known.grace = setTimeout(() => {
        delete known.grace;
        this.#settle(path, known, new Set());
      }, this.#graceMs);
    this.#settle(path, known, new Set(names.filter((name) => !before?.has(name))));
  }

  /** Lets in whom was found and, where there is no grace, nobody else. */
  #settle(path: string, known: Known, joined: Set<string>): void {
    const { members, found, grace } = known;
    const all = new Set(grace ? [...(members ?? []), ...found!] : found);
    // Of an unknown registry everybody is let in until it has had its time.
    const same =
      grace && members === undefined
        ? true
        : members?.size === all.size && [...all].every((name) => members.has(name));
    if (!same) {
      known.members = all;
      this.#keep();
    }
    if (!same || joined.size > 0) this.#changed(path, joined);
  }

  #keep(): void {
    const all = Object.fromEntries(
      [...this.#known].flatMap(([path, { members }]) => (members ? [[path, [...members].sort()]] : [])),
    );
    try {
      writeFileSync(`${this.#file}.tmp`, JSON.stringify(all));
      renameSync(`${this.#file}.tmp`, this.#file);
    } catch (error) {
      console.error(`${registryFile}: ${(error as Error).message}`);
    }
  }
}
