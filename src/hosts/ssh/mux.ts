import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Channel } from './channel.ts';
import { type Fields, fields, message, packet, uint32 } from './wire.ts';

/*
 * A connection to the control socket of a master ssh in its proxy mode: OpenSSH's PROTOCOL.mux, "proxy". The master does
 * everything that ssh does (keys, agent, known_hosts, jumps, encryption); we speak the connection protocol (RFC 4254) in
 * clear with it and open as many channels as we like. So neither a round nor a forwarded stream costs a process here, and
 * a refused port is known to be refused.
 */

const hello = 0x00000001;
const version = 4;
const requestProxy = 0x1000000f;
const proxyGranted = 0x8000000f;

/** Nobody listens at the control socket, or who does is no master in proxy mode. */
export class NoMaster extends Error {
  override name = 'NoMaster';
}

/** One connection to a master; its channels end with it. */
export class Mux {
  #socket: Socket;
  #rest: Buffer = Buffer.alloc(0);
  #channels = new Map<number, Channel>();
  #next = 0;
  #unsent: Buffer[] = [];
  #ended: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Connects to the master behind the control socket. Rejects with NoMaster. */
  static async connect(path: string, timeoutMs: number): Promise<Mux> {
    const socket = connect(path);
    const mux = new Mux(socket);
    const late = AbortSignal.timeout(timeoutMs);
    try {
      await once(socket, 'connect', { signal: late });
      const greeted = new Promise<void>((resolve, reject) => {
        socket.on('data', (chunk: Buffer) => mux.#greet(chunk, resolve));
        socket.once('close', () => reject(new Error('the master hung up')));
        late.addEventListener('abort', () => reject(new Error('the master does not answer')));
      });
      socket.write(
        Buffer.concat([packet(uint32(hello), uint32(version)), packet(uint32(requestProxy), uint32(0))]),
      );
      await greeted;
    } catch (error) {
      socket.destroy();
      throw new NoMaster((error as Error).message);
    }
    socket.removeAllListeners('data').removeAllListeners('close');
    socket.on('data', (chunk: Buffer) => mux.#take(chunk));
    socket.on('close', () => mux.#end(new Error('the connection was lost')));
    socket.on('error', () => {});
    mux.#idle();
    if (mux.#rest.length > 0) mux.#take(Buffer.alloc(0));
    return mux;
  }

  /** Whether channels can still be opened. */
  get alive(): boolean {
    return this.#ended === undefined;
  }

  /** Runs a command on the host; its standard streams are the channel. Rejects when the host grants no session or does not answer in time. */
  async exec(command: string, openMs: number): Promise<Channel> {
    const channel = await this.#open('session', Buffer.alloc(0), openMs);
    channel.request('exec', command);
    return channel;
  }

  /** A TCP connection that the host makes. Rejects with the host's own words, e.g. 'Connection refused'. */
  forward(address: string, port: number, openMs: number): Promise<Channel> {
    // RFC 4254, 7.2: where to, then where it came from.
    const rest = Buffer.concat([fields.text(address), uint32(port), fields.text('127.0.0.1'), uint32(0)]);
    return this.#open('direct-tcpip', rest, openMs);
  }

  close(): void {
    this.#end(new Error('closed'));
  }

  #open(kind: string, rest: Buffer, openMs: number): Promise<Channel> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#next++;
    const channel = new Channel(id, (...parts) => this.#send(packet(Buffer.of(0), ...parts)));
    this.#channels.set(id, channel);
    this.#socket.ref();
    channel.once('close', () => this.#idle());
    channel.once('unref', () => this.#idle());
    // One that was given up before the host closed it is kept, deaf, until the host has.
    channel.once('over', () => {
      this.#channels.delete(id);
      this.#idle();
    });
    return channel.open(kind, rest, openMs);
  }

  /** What is said in one turn goes in one piece: a command, its script and its end are one wake-up of the master, not three. */
  #send(bytes: Buffer): void {
    this.#unsent.push(bytes);
    if (this.#unsent.length > 1) return;
    setImmediate(() => {
      const all = this.#unsent.splice(0);
      if (!this.#ended) this.#socket.write(all.length === 1 ? all[0]! : Buffer.concat(all));
    });
  }

  /** A connection with nothing on it that counts does not keep a finished command alive. */
  #idle(): void {
    if ([...this.#channels.values()].every((channel) => channel.destroyed || !channel.counts))
      this.#socket.unref();
  }

  #greet(chunk: Buffer, granted: () => void): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (let body = this.#shift(); body !== undefined; body = this.#shift()) {
      const type = body.readUInt32BE(0);
      if (type === proxyGranted) {
        granted();
        return;
      }
      if (type !== hello) this.#socket.destroy();
    }
  }

  /** The next whole packet's body, or undefined. */
  #shift(): Buffer | undefined {
    if (this.#rest.length < 4) return undefined;
    const end = 4 + this.#rest.readUInt32BE(0);
    if (this.#rest.length < end) return undefined;
    const body = this.#rest.subarray(4, end);
    this.#rest = this.#rest.subarray(end);
    return body;
  }

  #take(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (let body = this.#shift(); body !== undefined; body = this.#shift()) this.#dispatch(body);
  }

  /** A packet is a byte of padding length, which is 0, the message's number and its fields. */
  #dispatch(body: Buffer): void {
    const type = body[1]!;
    const read: Fields = fields.of(body.subarray(2));
    if (type === message.globalRequest) {
      read.text();
      if (read.byte() !== 0) this.#send(packet(Buffer.of(0, message.requestFailure)));
      return;
    }
    if (type < message.openConfirmation || type > message.failure) return;
    this.#channels.get(read.uint32())?.receive(type, read);
  }

  #end(why: Error): void {
    if (this.#ended) return;
    this.#ended = why;
    this.#socket.destroy();
    for (const channel of this.#channels.values()) channel.lost(why);
    this.#channels.clear();
  }
}
