import { connect, type Socket } from 'node:net';
import { type Session, sessionOn } from './session.ts';
import { type SessionKey, sessionExpired, Wire, ZooKeeperError } from './wire.ts';

/** Between two rounds of the servers when none of them serves, milliseconds. */
const pauseMs = 100;
/** Longest that a server which took the connection is given to open a session, milliseconds: a new one is a write, which a busy ensemble may take seconds for. */
const mostOpenMs = 10_000;

export interface Place {
  host: string;
  port: number;
}

/** What an application is given as URL, `host:port,host:port/chroot`, taken apart; the chroot begins with a slash or is ''. */
export function placesOf(url: string): { servers: Place[]; chroot: string } {
  const slash = url.indexOf('/');
  const servers = (slash < 0 ? url : url.slice(0, slash)).split(',').map((place) => {
    const colon = place.lastIndexOf(':');
    return { host: place.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(place.slice(colon + 1)) };
  });
  return { servers, chroot: slash < 0 ? '' : url.slice(slash) };
}

export interface KeptOptions {
  servers: Place[];
  /** name:password; without it only what anybody may see can be seen. */
  user?: string;
  /** The timeout that is asked for; servers have bounds of their own. Milliseconds. */
  sessionMs: number;
  /** A session to go on with. */
  key?: SessionKey;
  /** A session is open, at this or at another server than before: watches have to be set anew. `key` is the session's. */
  opened(session: Session, key: SessionKey): void;
  /** Nobody answers any more, and why; `opened` comes again when somebody does. */
  closed(why: string): void;
  /** A watch: something about this node has changed. */
  watched(path: string): void;
}

/** What came of a server: a session, no answer in time, no connection, or a connection that it ended itself: it has no majority. */
type End = 'served' | 'late' | 'refused' | 'hung up';

/**
 * Most were late and nobody is without a majority: the ensemble is there and slow. Otherwise it elects, or is about to, and a frozen
 * server must not be waited for until the new leader has ended the session.
 */
const isBusy = (round: End[]): boolean =>
  !round.includes('hung up') && round.filter((end) => end === 'late').length > round.length / 2;

/**
 * A session that is kept for as long as the process lives: at another server when its own is gone, frozen or without a majority, and
 * begun anew when it has expired. By ZooKeeper's own rule (ClientCnxn) a server that has said nothing for two thirds of
 * the timeout, though it was pinged, is left while there is time to find another.
 */
export class KeptSession {
  readonly #options: KeptOptions;
  #key: SessionKey | undefined;
  #timeoutMs: number;
  #next: number;
  #wire: Wire | undefined;
  #socket: Socket | undefined;
  #pause: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: KeptOptions) {
    this.#options = options;
    this.#key = options.key;
    this.#timeoutMs = options.sessionMs;
    // Not all of a cluster at the same server.
    this.#next = Math.floor(Math.random() * options.servers.length);
    void this.#run();
  }

  /** Lets go of the connection; the session itself, and what belongs to it, stays until it expires. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#pause);
    this.#socket?.destroy();
    this.#wire?.fail(new Error('stopped'));
  }

  async #run(): Promise<void> {
    const { servers, closed } = this.#options;
    let round: End[] = [];
    // A third of the timeout, as is left when a silent server has been given up; twice as long after each round where that was too short.
    let patience = 1;
    while (!this.#stopped) {
      const place = servers[this.#next++ % servers.length]!;
      const { end, why } = await this.#at(place, patience);
      if (this.#stopped) return;
      round.push(end);
      closed(`${place.host}: ${why.message}`);
      if (why instanceof ZooKeeperError && why.code === sessionExpired) this.#key = undefined;
      if (end === 'served') {
        round = [];
        patience = 1;
      } else if (round.length >= servers.length) {
        patience = this.#key === undefined || isBusy(round) ? patience * 2 : 1;
        round = [];
        await new Promise<void>((done) => {
          this.#pause = setTimeout(done, pauseMs);
        });
      }
    }
  }

  /**
   * Serves at one server until that ends, and says how it ended. It has a third of the timeout to take the connection, and `patience`
   * times that to open the session.
   */
  async #at(place: Place, patience: number): Promise<{ end: End; why: Error }> {
    const socket = connect({ ...place, noDelay: true, autoSelectFamily: false });
    const wire = new Wire(socket, this.#options.watched);
    this.#socket = socket;
    this.#wire = wire;
    const third = this.#timeoutMs / 3;
    let end: End = 'refused';
    const within = (ms: number, what: string): NodeJS.Timeout =>
      setTimeout(() => {
        end = 'late';
        wire.fail(new Error(`no ${what} within ${Math.round(ms)} ms`));
      }, ms);
    let late = within(third, 'connection');
    socket.once('connect', () => {
      clearTimeout(late);
      end = 'hung up';
      late = within(Math.min(mostOpenMs, third * patience), 'session');
    });
    let pulse: NodeJS.Timeout | undefined;
    try {
      const { timeoutMs, ...key } = await wire.open(this.#options.sessionMs, false, this.#key);
      clearTimeout(late);
      this.#key = key;
      this.#timeoutMs = timeoutMs;
      pulse = this.#keepAlive(wire, timeoutMs);
      if (this.#options.user !== undefined) await wire.auth(this.#options.user);
      end = 'served';
      this.#options.opened(sessionOn(wire), key);
      return { end, why: await wire.ended };
    } catch (error) {
      return { end, why: error as Error };
    } finally {
      clearTimeout(late);
      clearInterval(pulse);
      wire.fail(new Error('left'));
    }
  }

  #keepAlive(wire: Wire, timeoutMs: number): NodeJS.Timeout {
    const silent = (): boolean => performance.now() - wire.heardAt > (timeoutMs * 2) / 3;
    return setInterval(() => {
      // A process that was itself held up finds its timers due before it has read what came in time.
      if (silent())
        setImmediate(() => {
          if (silent()) wire.fail(new Error(`it has said nothing for ${Math.round((timeoutMs * 2) / 3)} ms`));
        });
      else wire.ping();
    }, timeoutMs / 6);
  }
}
