import { WebSocket } from 'ws';
import type { DrillOutcome } from '../drill.ts';
import type { Door } from './door.ts';

/** A ping that is not answered for this long means that nobody is there any more, milliseconds. */
const patience = 1_000;
/** Between two attempts to open one again, milliseconds. */
const pause = 20;

/**
 * Websockets that are held open for a whole drill, as a browser's page does: one that is cut, or whose server does not answer a ping (RFC 6455, 5.5.2:
 * every server does), is opened again at once, until that succeeds. The first ping after a cut says so even if all is well again.
 */
export class HeldSockets {
  #doors: Door[];
  #held = new Map<string, Held>();

  constructor(doors: Door[]) {
    this.#doors = doors;
  }

  /** Opens them. Rejects when the first one is not answered as a websocket. */
  async open(names: string[]): Promise<void> {
    for (const [n, name] of names.entries()) {
      const { host, port, websocket } = this.#doors[n % this.#doors.length]!;
      this.#held.set(name, new Held(`ws://${host}:${port}${websocket}`));
    }
    await Promise.all([...this.#held.values()].map((one) => one.first()));
  }

  ping(name: string): Promise<DrillOutcome> {
    return this.#held.get(name)!.ping();
  }

  close(): void {
    for (const one of this.#held.values()) one.close();
  }
}

class Held {
  #url: string;
  #socket: WebSocket | undefined;
  /** Why it was cut, until a ping has told. */
  #cut: string | undefined;
  #waiting = new Map<string, (outcome: DrillOutcome) => void>();
  #next = 0;
  #closed = false;

  constructor(url: string) {
    this.#url = url;
  }

  async first(): Promise<void> {
    try {
      await this.#attempt();
    } catch (error) {
      throw new Error(
        `${this.#url} is not answered as a websocket: ${(error as Error).message}; mend drill.websocket of the app, or remove it`,
      );
    }
  }

  ping(): Promise<DrillOutcome> {
    if (this.#cut !== undefined) {
      const error = this.#cut;
      this.#cut = undefined;
      return Promise.resolve({ type: 'info', error });
    }
    const socket = this.#socket;
    if (socket === undefined) return Promise.resolve({ type: 'fail', error: 'is not open yet' });
    return new Promise((done) => {
      const number = String(this.#next++);
      const timer = setTimeout(() => {
        // A dead connection, as far as this client can tell: it looks for another server.
        answer({ type: 'info', error: `no pong in ${patience} ms` });
        this.#cut = undefined;
        socket.terminate();
      }, patience);
      const answer = (outcome: DrillOutcome): void => {
        clearTimeout(timer);
        this.#waiting.delete(number);
        done(outcome);
      };
      this.#waiting.set(number, answer);
      socket.ping(number, true, (error) => {
        if (error) answer({ type: 'info', error: error.message });
      });
    });
  }

  close(): void {
    this.#closed = true;
    this.#socket?.terminate();
  }

  async #attempt(): Promise<void> {
    const socket = new WebSocket(this.#url, { handshakeTimeout: patience, perMessageDeflate: false });
    let why = 'the server closed it';
    socket.on('error', (error) => {
      why = error.message;
    });
    await new Promise<void>((opened, reject) => {
      socket.once('open', opened);
      socket.once('close', () => reject(new Error(why)));
    });
    if (this.#closed) {
      socket.terminate();
      return;
    }
    this.#socket = socket;
    socket.on('pong', (data) => this.#waiting.get(data.toString())?.({ type: 'ok' }));
    socket.once('close', () => {
      this.#socket = undefined;
      this.#cut = `the websocket was cut: ${why}`;
      // Whoever waited has heard of the cut, so that the next ping asks the new one.
      if (this.#waiting.size > 0) {
        for (const answer of [...this.#waiting.values()]) answer({ type: 'info', error: this.#cut });
        this.#cut = undefined;
      }
      void this.#again();
    });
  }

  async #again(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#attempt();
        return;
      } catch {
        await new Promise((next) => setTimeout(next, pause));
      }
    }
  }
}
