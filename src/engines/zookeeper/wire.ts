import type { Duplex } from 'node:stream';
import { Answer, Packet } from './jute.ts';

const codes: Record<number, string> = {
  [-4]: 'connection lost',
  [-8]: 'bad arguments',
  [-13]: 'too few servers of the new ensemble are in step with the leader',
  [-14]: 'another reconfiguration is under way',
  [-101]: 'no such node',
  [-102]: 'not permitted',
  [-103]: 'changed meanwhile',
  [-110]: 'exists already',
  [-112]: 'session expired',
  [-115]: 'wrong password',
  [-123]: 'reconfiguration is disabled',
};

/** ZooKeeper said no. `code` is its own (KeeperException.Code). */
export class ZooKeeperError extends Error {
  override name = 'ZooKeeperError';
  readonly code: number;
  constructor(code: number, what: string) {
    super(`${what}: ${codes[code] ?? `error ${code}`}`);
    this.code = code;
  }
}

export const noNode = -101;
export const nodeExists = -110;
export const sessionExpired = -112;

/** Kinds of requests (ZooDefs.OpCode). */
export const types = {
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  getAcl: 6,
  setAcl: 7,
  getChildren: 8,
  sync: 9,
  ping: 11,
  reconfig: 16,
  auth: 100,
  close: -11,
};

/** Numbers of frames that answer no request of ours (ZooDefs, ClientCnxn). */
const xids = { event: -1, ping: -2, auth: -4 };

/** A session as the server gave it: who knows id and password goes on with it, at any server. */
export interface SessionKey {
  id: bigint;
  password: Buffer;
}

export interface Opened extends SessionKey {
  /** After so long without a word the ensemble ends the session, milliseconds: what was asked for, within the server's bounds. */
  timeoutMs: number;
}

/** Frames over a socket; answers come in the order of the requests. */
export class Wire {
  readonly #socket: Duplex;
  readonly #watched: (path: string) => void;
  readonly #waiting: { done: (frame: Buffer) => void; fail: (error: Error) => void }[] = [];
  readonly #ended = Promise.withResolvers<Error>();
  #received = Buffer.alloc(0);
  #failure: Error | undefined;
  #xid = 0;
  #open = false;
  /** When the server last said anything, by performance.now(). */
  heardAt = performance.now();

  /** `watched` is called with the path of each node that a watch was set on and that has changed. */
  constructor(socket: Duplex, watched: (path: string) => void = () => {}) {
    this.#socket = socket;
    this.#watched = watched;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the connection')));
  }

  /** Resolves with the reason when the connection has ended, whoever ended it. */
  get ended(): Promise<Error> {
    return this.#ended.promise;
  }

  /** Everything under way, and everything asked from now on, has failed. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const { fail } of this.#waiting.splice(0)) fail(error);
    this.#socket.destroy();
    this.#ended.resolve(error);
  }

  /**
   * Opens a session, or goes on with `resume`. `readOnly`: a server without a majority will do. Rejects with ZooKeeperError
   * `sessionExpired` where the session is no more.
   */
  async open(sessionMs: number, readOnly: boolean, resume?: SessionKey): Promise<Opened> {
    const hello = new Packet()
      .int(0)
      .long(0n)
      .int(sessionMs)
      .long(resume?.id ?? 0n)
      .buffer(resume?.password ?? Buffer.alloc(16))
      .bool(readOnly);
    const answer = new Answer(await this.#exchange(hello.frame()));
    answer.int();
    const timeoutMs = answer.int();
    if (timeoutMs <= 0) throw new ZooKeeperError(sessionExpired, 'session');
    return { timeoutMs, id: answer.long(), password: Buffer.from(answer.buffer()) };
  }

  async auth(user: string): Promise<void> {
    const packet = new Packet()
      .int(xids.auth)
      .int(types.auth)
      .int(0)
      .string('digest')
      .buffer(Buffer.from(user));
    this.#read(await this.#exchange(packet.frame()), 'login');
  }

  /** Keeps the session alive; the answer shows in `heardAt`. */
  ping(): void {
    if (!this.#failure) this.#socket.write(new Packet().int(xids.ping).int(types.ping).frame());
  }

  async request(type: number, what: string, body: Packet): Promise<Answer> {
    this.#xid += 1;
    const header = new Packet().int(this.#xid).int(type).frame().subarray(4);
    const frame = Buffer.concat([Buffer.alloc(4), header, body.frame().subarray(4)]);
    frame.writeInt32BE(frame.length - 4);
    return this.#read(await this.#exchange(frame), what);
  }

  #read(frame: Buffer, what: string): Answer {
    const answer = new Answer(frame);
    answer.int();
    answer.long();
    const error = answer.int();
    if (error !== 0) throw new ZooKeeperError(error, what);
    return answer;
  }

  #exchange(frame: Buffer): Promise<Buffer> {
    return new Promise((done, fail) => {
      if (this.#failure) {
        fail(this.#failure);
        return;
      }
      this.#waiting.push({ done, fail });
      this.#socket.write(frame);
    });
  }

  #take(chunk: Buffer): void {
    this.heardAt = performance.now();
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 4) {
      const length = this.#received.readInt32BE();
      if (this.#received.length < 4 + length) return;
      const frame = this.#received.subarray(4, 4 + length);
      this.#received = this.#received.subarray(4 + length);
      this.#deal(frame);
    }
  }

  #deal(frame: Buffer): void {
    // The first frame is the session, and has no header.
    const xid = this.#open ? new Answer(frame).int() : 0;
    this.#open = true;
    if (xid === xids.ping) return;
    if (xid !== xids.event) {
      this.#waiting.shift()?.done(frame);
      return;
    }
    const event = this.#read(frame, 'event');
    // What has changed, and the state of the connection, which is known: the node is looked at anew in any case.
    event.int();
    event.int();
    this.#watched(event.string());
  }
}
