import type { Duplex } from 'node:stream';
import type { Reach } from '../../hosts/host.ts';
import { type Acl, Answer, Packet } from './jute.ts';

/*
 * A client for what Phalanx itself asks of ZooKeeper: one short session, a few requests, one deadline for all. Our own because
 * the choices are worse: node-zookeeper-client is dormant and waits for ever on a frozen server, and zkCli starts a
 * JVM (a second or more of both cores) for each `status` and takes passwords as arguments. Applications use stock clients.
 */

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

const types = {
  create: 1,
  delete: 2,
  getData: 4,
  setData: 5,
  getAcl: 6,
  setAcl: 7,
  sync: 9,
  reconfig: 16,
  auth: 100,
  close: -11,
};

export interface Session {
  getData(path: string): Promise<Buffer>;
  /** The access list; undefined when there is no such node. */
  getAcl(path: string): Promise<Acl[] | undefined>;
  setAcl(path: string, acl: Acl[]): Promise<void>;
  create(path: string, data: Buffer, acl: Acl[]): Promise<void>;
  delete(path: string): Promise<void>;
  setData(path: string, data: Buffer): Promise<void>;
  /** Waits until this server has everything that the leader has. */
  sync(path: string): Promise<void>;
  /** `joining` are lines of servers, `leaving` their numbers; gives the configuration that was made. */
  reconfig(change: { joining?: string; leaving?: string }): Promise<string>;
}

/**
 * Opens a session at that host's server, proves to be `users` (name:password), works, and closes it. Rejects with the server's
 * refusal (ZooKeeperError), or when everything together took longer than `deadlineMs`.
 */
export async function withSession<T>(
  reach: Reach,
  place: { host: string; port: number },
  users: string[],
  deadlineMs: number,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const socket = await reach.connect(place.host, place.port, Math.min(deadlineMs, 1_500));
  const wire = new Wire(socket);
  const timer = setTimeout(
    () => wire.fail(new Error(`${place.host}: no answer within ${deadlineMs} ms`)),
    deadlineMs,
  );
  try {
    await wire.open();
    for (const user of users) await wire.auth(user);
    const result = await work(sessionOn(wire));
    await wire.request(types.close, 'close', new Packet());
    return result;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function sessionOn(wire: Wire): Session {
  const of = (path: string) => new Packet().string(path);
  return {
    async getData(path) {
      return (await wire.request(types.getData, path, of(path).bool(false))).buffer();
    },
    async getAcl(path) {
      try {
        return (await wire.request(types.getAcl, path, of(path))).acl();
      } catch (error) {
        if (error instanceof ZooKeeperError && error.code === noNode) return undefined;
        throw error;
      }
    },
    async setAcl(path, acl) {
      await wire.request(types.setAcl, path, of(path).acl(acl).int(-1));
    },
    async create(path, data, acl) {
      await wire.request(types.create, path, of(path).buffer(data).acl(acl).int(0));
    },
    async delete(path) {
      await wire.request(types.delete, path, of(path).int(-1));
    },
    async setData(path, data) {
      await wire.request(types.setData, path, of(path).buffer(data).int(-1));
    },
    async sync(path) {
      await wire.request(types.sync, path, of(path));
    },
    async reconfig({ joining, leaving }) {
      const packet = new Packet().string(joining).string(leaving).string(undefined).long(-1n);
      return (await wire.request(types.reconfig, 'reconfig', packet)).string();
    },
  };
}

/** Frames over a socket; answers come in the order of the requests. */
class Wire {
  readonly #socket: Duplex;
  readonly #waiting: { done: (frame: Buffer) => void; fail: (error: Error) => void }[] = [];
  #received = Buffer.alloc(0);
  #failure: Error | undefined;
  #xid = 0;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the connection')));
  }

  /** Everything under way, and everything asked from now on, has failed. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const { fail } of this.#waiting.splice(0)) fail(this.#failure);
    this.#socket.destroy();
  }

  async open(): Promise<void> {
    const sessionMs = 10_000;
    const hello = new Packet().int(0).long(0n).int(sessionMs).long(0n).buffer(Buffer.alloc(16)).bool(true);
    const answer = new Answer(await this.#exchange(hello.frame()));
    answer.int();
    if (answer.int() <= 0) throw new Error('the server refuses the session');
  }

  async auth(user: string): Promise<void> {
    const packet = new Packet().int(-4).int(types.auth).int(0).string('digest').buffer(Buffer.from(user));
    this.#read(await this.#exchange(packet.frame()), 'login');
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
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 4) {
      const length = this.#received.readInt32BE();
      if (this.#received.length < 4 + length) return;
      const frame = this.#received.subarray(4, 4 + length);
      this.#received = this.#received.subarray(4 + length);
      // Watch events have xid -1; we set no watches, and a session that is closed sends none.
      this.#waiting.shift()?.done(frame);
    }
  }
}
