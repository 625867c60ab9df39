import { Duplex } from 'node:stream';
import { type Fields, fields, message, packet, uint32 } from './wire.ts';

/** How much the other side may send before we have taken it, in bytes. */
const window = 2 * 2 ** 20;
const largestPacket = 32 * 1024;

/** Extended data of this type is standard error (RFC 4254, 5.2). */
const standardError = 1;

type Send = (...parts: Uint8Array[]) => void;

/**
 * A channel of the SSH connection protocol (RFC 4254, section 5) as a stream: a command's standard input and output, or a forwarded
 * TCP connection. Emits 'stderr' with a Buffer, and 'over' when both sides have closed it.
 */
export class Channel extends Duplex {
  /** The command's exit status, once it has ended; 255 where it was ended by a signal that has no number here. */
  exit: number | undefined;
  /** Both sides have closed it; its number may be used again. */
  over = false;
  /** Keeps the process alive for as long as it is open. */
  counts = true;
  #id: number;
  #peer = 0;
  #opened = false;
  #send: Send;
  #mayWrite = 0;
  #largest = largestPacket;
  #waiting: { rest: Buffer; done: (error?: Error | null) => void } | undefined;
  #unacknowledged = 0;
  #flowing = true;
  #closeSent = false;
  #settle: { resolve: (channel: Channel) => void; reject: (why: Error) => void } | undefined;

  constructor(id: number, send: Send) {
    // Not by itself at the end of both streams: the exit status comes after them.
    super({ allowHalfOpen: true, autoDestroy: false });
    // Whoever waits for it is told by a rejection or listens too; one that nobody waits for any more is lost in silence.
    this.on('error', () => {});
    this.#id = id;
    this.#send = send;
  }

  /** Asks for the channel; settles when the other side has said yes or no, or when it has not in time. */
  open(kind: string, rest: Buffer, openMs: number): Promise<Channel> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#refuse(new OpenTimeout(openMs)), openMs);
      const settled = <T>(then: (value: T) => void) => {
        return (value: T) => {
          clearTimeout(timer);
          this.#settle = undefined;
          then(value);
        };
      };
      this.#settle = { resolve: settled(resolve), reject: settled(reject) };
      const opening = [fields.text(kind), uint32(this.#id), uint32(window), uint32(largestPacket), rest];
      this.#send(Buffer.of(message.open), ...opening);
    });
  }

  /** From now on it keeps no process alive; emits 'unref'. */
  unref(): this {
    this.counts = false;
    this.emit('unref');
    return this;
  }

  /** A request about the channel that wants no answer but its effect, e.g. to run a command. */
  request(kind: string, value: string): void {
    this.#send(
      Buffer.of(message.request),
      uint32(this.#peer),
      fields.text(kind),
      Buffer.of(1),
      fields.text(value),
    );
  }

  /** A message for this channel, its number already read. */
  receive(type: number, read: Fields): void {
    switch (type) {
      case message.openConfirmation:
        this.#peer = read.uint32();
        this.#mayWrite = read.uint32();
        this.#largest = Math.min(largestPacket, read.uint32());
        this.#opened = true;
        // Given up while the answer was on its way.
        if (this.destroyed) this.#close();
        this.#settle?.resolve(this);
        return;
      case message.openFailure: {
        read.uint32();
        this.#closeSent = true;
        this.#finish();
        this.#refuse(new Error(read.text() || 'refused'));
        return;
      }
      case message.windowAdjust:
        this.#mayWrite += read.uint32();
        this.#pour();
        return;
      case message.data:
        this.#received(read.bytes(), undefined);
        return;
      case message.extendedData: {
        const kind = read.uint32();
        this.#received(read.bytes(), kind);
        return;
      }
      case message.eof:
        this.push(null);
        return;
      case message.request:
        this.#told(read);
        return;
      case message.failure:
        this.destroy(new Error('the host runs no commands for this user'));
        return;
      case message.close:
        this.#close();
        this.push(null);
        this.end();
        this.#finish();
        return;
    }
  }

  /** The connection under it is gone. */
  lost(why: Error): void {
    this.#closeSent = true;
    this.over = true;
    this.#settle?.reject(why);
    if (!this.readableEnded || this.exit === undefined) this.destroy(why);
  }

  override _read(): void {
    this.#flowing = true;
    this.#acknowledge();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#waiting = { rest: chunk, done };
    this.#pour();
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#closeSent) this.#send(Buffer.of(message.eof), uint32(this.#peer));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#close();
    this.#waiting?.done(error ?? new Error('closed'));
    this.#waiting = undefined;
    done(error);
  }

  #refuse(why: Error): void {
    const settle = this.#settle;
    this.destroy();
    settle?.reject(why);
  }

  #received(bytes: Buffer, kind: number | undefined): void {
    this.#unacknowledged += bytes.length;
    if (kind === undefined) this.#flowing = this.destroyed || this.push(Buffer.from(bytes));
    else if (kind === standardError) this.emit('stderr', Buffer.from(bytes));
    this.#acknowledge();
  }

  /** Lets the other side send again what has been taken; not while nobody reads. */
  #acknowledge(): void {
    if (!this.#flowing || this.#closeSent || this.#unacknowledged < window / 4) return;
    this.#send(Buffer.of(message.windowAdjust), uint32(this.#peer), uint32(this.#unacknowledged));
    this.#unacknowledged = 0;
  }

  #pour(): void {
    while (this.#waiting !== undefined && this.#mayWrite > 0 && !this.#closeSent) {
      const { rest, done } = this.#waiting;
      const part = rest.subarray(0, Math.min(this.#mayWrite, this.#largest));
      this.#mayWrite -= part.length;
      this.#send(Buffer.of(message.data), uint32(this.#peer), packet(part));
      if (part.length < rest.length) {
        this.#waiting = { rest: rest.subarray(part.length), done };
        continue;
      }
      this.#waiting = undefined;
      done();
    }
    if (this.#closeSent && this.#waiting !== undefined) {
      // Whoever does not read any more need not be written to: a shell that ended early has said why.
      this.#waiting.done();
      this.#waiting = undefined;
    }
  }

  #told(read: Fields): void {
    const kind = read.text();
    read.byte();
    if (kind === 'exit-status') this.exit = read.uint32();
    if (kind === 'exit-signal') this.exit = 128 + (numbers[read.text()] ?? 127);
  }

  #close(): void {
    if (this.#closeSent || !this.#opened) return;
    this.#closeSent = true;
    this.#send(Buffer.of(message.close), uint32(this.#peer));
    this.#pour();
  }

  #finish(): void {
    this.over = true;
    this.emit('over');
    // What has arrived may still be read.
    if (this.readableEnded) this.destroy();
    else this.once('end', () => this.destroy());
  }
}

/** The host granted no channel in time: it is down, frozen, or the connection to it is dead. */
export class OpenTimeout extends Error {
  override name = 'OpenTimeout';
  constructor(openMs: number) {
    super(`no answer within ${openMs} ms`);
  }
}

/** Signals by their names without SIG (RFC 4254, 6.10). */
const numbers: Record<string, number> = { HUP: 1, INT: 2, QUIT: 3, KILL: 9, PIPE: 13, TERM: 15 };
