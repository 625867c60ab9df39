import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KeptSession, placesOf } from '../../zookeeper/kept.ts';
import type { Session } from '../../zookeeper/session.ts';
import { noNode, ZooKeeperError } from '../../zookeeper/wire.ts';
import type { Listen } from '../tables.ts';

/** How long a session of ours lives without us, and so how soon a frozen ZooKeeper server is left: two thirds of it. Milliseconds. */
const sessionMs = 2_000;
const retryMs = 200;

/** The file that keeps who was registered, beside agent.json. */
export const registryFile = 'registry.json';

interface Ensemble {
  kept: KeptSession;
  session: Session | undefined;
  /** Why it does not answer. */
  why: string | undefined;
}

/**
 * Who is registered, as ZooKeeper last said. What is not known stays as it was: an ensemble that is away, or that does not have
 * the registry at all (it was made anew), changes nothing. It is kept in a file, so that an agent which starts meanwhile knows it too.
 */
export class Registry {
  readonly #file: string;
  readonly #changed: (path: string, joined: Set<string>) => void;
  readonly #members = new Map<string, Set<string>>();
  readonly #ensembles = new Map<string, Ensemble>();
  readonly #synced = new WeakSet<Session>();
  readonly #looking = new Set<string>();
  readonly #again = new Set<string>();
  readonly #retries = new Map<string, NodeJS.Timeout>();
  #paths = new Map<string, string>();

  /** `changed` is called when others are registered below a path than before, with those who came. */
  constructor(folder: string, changed: (path: string, joined: Set<string>) => void) {
    this.#file = join(folder, registryFile);
    this.#changed = changed;
    try {
      const kept = JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, string[]>;
      for (const [path, names] of Object.entries(kept)) this.#members.set(path, new Set(names));
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
    for (const path of this.#members.keys()) if (!wanted.has(path)) this.#members.delete(path);
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
    return this.#members.get(path)?.has(server) ?? true;
  }

  /** What cannot be followed now, and what that means, a sentence each. */
  troubles(): string[] {
    return [...this.#paths].flatMap(([path, url]) => {
      const why = this.#ensembles.get(url)?.why;
      if (why === undefined) return [];
      const pool = this.#members.has(path)
        ? 'its servers stay as they were last known, and are checked'
        : 'checks alone decide';
      return [`registry ${path} cannot be followed (${why}): ${pool}`];
    });
  }

  close(): void {
    for (const { kept } of this.#ensembles.values()) kept.stop();
    for (const timer of this.#retries.values()) clearTimeout(timer);
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
        if (names && this.#paths.has(path)) this.#take(path, names);
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

  #take(path: string, names: string[]): void {
    const before = this.#members.get(path);
    if (before && before.size === names.length && names.every((name) => before.has(name))) return;
    this.#members.set(path, new Set(names));
    this.#keep();
    this.#changed(path, new Set(names.filter((name) => !before?.has(name))));
  }

  #keep(): void {
    const all = Object.fromEntries([...this.#members].map(([path, names]) => [path, [...names].sort()]));
    try {
      writeFileSync(`${this.#file}.tmp`, JSON.stringify(all));
      renameSync(`${this.#file}.tmp`, this.#file);
    } catch (error) {
      console.error(`${registryFile}: ${(error as Error).message}`);
    }
  }
}
