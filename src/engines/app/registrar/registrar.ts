import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Checker, type Target } from '../../../check/checker.ts';
import { digest } from '../../zookeeper/acl.ts';
import type { Acl } from '../../zookeeper/jute.ts';
import { KeptSession, placesOf } from '../../zookeeper/kept.ts';
import type { Session } from '../../zookeeper/session.ts';
import { nodeExists, noNode, type SessionKey, ZooKeeperError } from '../../zookeeper/wire.ts';
import { configFile, keyFile, type RegistrarConfig, stateFile, userFile } from './files.ts';

/** How often a member that is down is looked at: it shall be back as soon as it answers. */
const soonMs = 100;
const retryMs = 200;

/**
 * Holds the member's ephemeral node for as long as its check passes. Beside the member, not in it: any program can be
 * registered, and one that hangs is not. It may itself be replaced: the session is kept in a file and gone on with.
 */
export class Registrar {
  readonly #folder: string;
  readonly #config: RegistrarConfig;
  readonly #node: string;
  readonly #acl: Acl[];
  readonly #checker: Checker;
  readonly #kept: KeptSession;
  #session: Session | undefined;
  #key: SessionKey | undefined;
  #settling = false;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #said = '';
  #stopped = false;

  /** `folder` holds registrar.json and the password. Throws when they cannot be read. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#config = JSON.parse(readFileSync(join(folder, configFile), 'utf8')) as RegistrarConfig;
    const user = readFileSync(join(folder, userFile), 'utf8').trim();
    this.#node = `${this.#config.path}/${this.#config.member}`;
    // Directors look without a password; only the application's user may make or remove.
    this.#acl = [
      { perms: 31, scheme: 'digest', id: digest(user) },
      { perms: 1, scheme: 'world', id: 'anyone' },
    ];
    const before = this.#before();
    this.#say(before ? 'going on with its session' : 'starting');
    this.#checker = new Checker((_target, { up, why }) => {
      this.#watch(up === true);
      if (up !== true) this.#say(`its check fails: ${why}`);
      void this.#settle();
    });
    this.#watch(true, false);
    this.#kept = new KeptSession({
      servers: placesOf(this.#config.url).servers,
      user,
      sessionMs: this.#config.sessionMs,
      ...(before ? { key: before } : {}),
      opened: (session, key) => {
        this.#session = session;
        this.#key = key;
        this.#keep(key);
        void this.#settle();
      },
      closed: (why) => {
        this.#session = undefined;
        this.#say(`no connection to ZooKeeper: ${why}`);
      },
      watched: () => void this.#settle(),
    });
  }

  /** Ends it; the session, and with it the node, lives on for its timeout, so that a successor finds them. */
  stop(): void {
    this.#stopped = true;
    this.#checker.close();
    this.#kept.stop();
    clearTimeout(this.#retry);
  }

  get #target(): Target {
    const { address, port, check } = this.#config;
    return { address, port, check };
  }

  /** Looks at the member as its check says while it is up, and often while it is down. */
  #watch(up: boolean, known = true): void {
    this.#checker.set([up ? this.#target : this.#soon], () => (known ? up : undefined));
  }

  get #soon(): Target {
    const { check, ...place } = this.#target;
    return { ...place, check: { ...check, intervalMs: Math.min(check.intervalMs, soonMs) } };
  }

  /** Whether the check passes; undefined before its first result. */
  get #up(): boolean | undefined {
    return (this.#checker.health(this.#target) ?? this.#checker.health(this.#soon))?.up;
  }

  /** Makes the node be there, or not, until nothing is left to do. */
  async #settle(): Promise<void> {
    this.#again = true;
    if (this.#settling) return;
    this.#settling = true;
    clearTimeout(this.#retry);
    while (this.#again) {
      this.#again = false;
      const session = this.#session;
      const up = this.#up;
      if (!session || up === undefined) break;
      try {
        await (up ? this.#hold(session) : this.#release(session));
      } catch (error) {
        // Of a connection that is gone the next one hears.
        if (this.#stopped || this.#session !== session) continue;
        this.#say(`not registered: ${(error as Error).message}`);
        this.#retry = setTimeout(() => void this.#settle(), retryMs);
      }
    }
    this.#settling = false;
  }

  async #hold(session: Session): Promise<void> {
    const key = this.#key!;
    for (;;) {
      const owner = await session.ownerOf(this.#node, true);
      if (owner === key.id) break;
      // Of a session that nobody goes on with.
      if (owner !== undefined) await session.delete(this.#node).catch(ifNot(noNode));
      await this.#create(session);
    }
    this.#say(`registered ${process.pid}`);
  }

  async #create(session: Session): Promise<void> {
    const { address, port, path } = this.#config;
    const content = Buffer.from(JSON.stringify({ address, port }));
    try {
      await session.create(this.#node, content, this.#acl, { ephemeral: true });
    } catch (error) {
      if (!(error instanceof ZooKeeperError) || error.code !== noNode) return ifNot(nodeExists)(error);
      // The first of all members makes what is above.
      const above = path.split('/');
      for (let depth = 3; depth <= above.length; depth++)
        await session
          .create(above.slice(0, depth).join('/'), Buffer.alloc(0), this.#acl)
          .catch(ifNot(nodeExists));
    }
  }

  async #release(session: Session): Promise<void> {
    await session.delete(this.#node).catch(ifNot(noNode));
  }

  #before(): SessionKey | undefined {
    const file = join(this.#folder, keyFile);
    if (!existsSync(file)) return undefined;
    try {
      const { id, password } = JSON.parse(readFileSync(file, 'utf8')) as { id: string; password: string };
      return { id: BigInt(id), password: Buffer.from(password, 'base64') };
    } catch {
      return undefined;
    }
  }

  #keep({ id, password }: SessionKey): void {
    const key = { id: String(id), password: password.toString('base64') };
    this.#write(keyFile, JSON.stringify(key), 0o600);
  }

  #say(state: string): void {
    if (this.#stopped || state === this.#said) return;
    this.#said = state;
    this.#write(stateFile, `${state}\n`, 0o644);
  }

  #write(name: string, text: string, mode: number): void {
    const file = join(this.#folder, name);
    writeFileSync(`${file}.new`, text, { mode });
    renameSync(`${file}.new`, file);
  }
}

/** For `catch`: what is already as it should be is no error. */
function ifNot(code: number): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof ZooKeeperError) || error.code !== code) throw error;
  };
}
