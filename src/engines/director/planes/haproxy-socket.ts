import { connect, type Socket } from 'node:net';

/** Commands that may be in haproxy's input at once; its buffer holds 16 KiB of them. */
const batch = 64;

interface Waiting {
  command: string;
  answer: (text: string) => void;
  fail: (error: Error) => void;
}

/**
 * haproxy's runtime socket, held open in its interactive mode: the connection's end is the news that haproxy was
 * restarted. Connects again by itself, every 100 ms; `opened` is called after each success.
 */
export class HaproxySocket {
  readonly path: string;
  readonly #opened: () => void;
  #socket: Socket | undefined;
  #ready = false;
  #released = false;
  #heard = '';
  #greeted = false;
  #asked: Waiting[] = [];
  #queue: Waiting[] = [];
  #retry: NodeJS.Timeout | undefined;

  constructor(path: string, opened: () => void) {
    this.path = path;
    this.#opened = opened;
  }

  get connected(): boolean {
    return this.#ready;
  }

  /** Resolves when haproxy answers; rejects with a sentence when it does not now (and goes on trying). */
  open(): Promise<void> {
    if (this.#ready) return Promise.resolve();
    clearTimeout(this.#retry);
    return new Promise((resolve, reject) => this.#dial(resolve, reject));
  }

  /** What haproxy answers to a command, trimmed: empty for most changes that worked. Rejects when it is not there. */
  ask(command: string): Promise<string> {
    return new Promise((answer, fail) => {
      if (!this.#ready) return fail(new Error(`haproxy does not answer on ${this.path}`));
      this.#queue.push({ command, answer, fail });
      this.#pump();
    });
  }

  release(): void {
    this.#released = true;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
  }

  #dial(resolve?: () => void, reject?: (error: Error) => void): void {
    this.#socket?.removeAllListeners('close');
    this.#socket?.destroy();
    const socket = connect(this.path);
    this.#socket = socket;
    this.#heard = '';
    this.#greeted = false;
    let why = 'closed';
    socket.on('error', (error: NodeJS.ErrnoException) => {
      why = error.code ?? error.message;
    });
    socket.once('connect', () => socket.write('prompt\n'));
    socket.on('data', (chunk) => {
      this.#hear(chunk.toString('utf8'), () => {
        resolve?.();
        this.#opened();
      });
    });
    socket.once('close', () => {
      this.#ready = false;
      const error = new Error(`haproxy does not answer on ${this.path}: ${why}`);
      for (const waiting of [...this.#asked.splice(0), ...this.#queue.splice(0)]) waiting.fail(error);
      reject?.(error);
      if (this.#released) return;
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#dial(), 100);
    });
  }

  #hear(text: string, greeted: () => void): void {
    this.#heard += text;
    for (;;) {
      const end = this.#heard.indexOf('\n> ');
      if (end < 0) return;
      const answer = this.#heard.slice(0, end).trim();
      this.#heard = this.#heard.slice(end + 3);
      if (!this.#greeted) {
        this.#greeted = true;
        this.#ready = true;
        greeted();
      } else {
        this.#asked.shift()?.answer(answer);
      }
      this.#pump();
    }
  }

  #pump(): void {
    let text = '';
    while (this.#asked.length < batch && this.#queue.length > 0) {
      const next = this.#queue.shift()!;
      this.#asked.push(next);
      text += `${next.command}\n`;
    }
    if (text) this.#socket?.write(text);
  }
}
