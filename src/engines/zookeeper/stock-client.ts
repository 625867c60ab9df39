import type { Socket } from 'node:net';
import zookeeper, { type Client } from 'node-zookeeper-client';

/*
 * node-zookeeper-client as an application would use it: pure JavaScript, and the only client of Node's that needs no
 * compiler. It is dormant and never notices a frozen server, so the watch below does what its manual does not say.
 */

/** What the watch looks at, which the library does not tell. */
interface Inner {
  connectionManager: { socket?: Socket; pendingQueue: unknown[] };
}

/** A session that is replaced when it has expired, and leaves servers that do not answer. */
export class StockClient {
  readonly #url: string;
  readonly #user: string;
  readonly #sessionMs: number;
  readonly #watch: NodeJS.Timeout;
  #client!: Client;
  #socket: Socket | undefined;
  #read = -1;
  #heardAt = 0;
  #connected = false;
  #closed = false;

  /** `user`: name:password. `sessionMs` also says how soon a silent server is left: after two thirds of it. */
  constructor(url: string, user: string, sessionMs: number) {
    this.#url = url;
    this.#user = user;
    this.#sessionMs = sessionMs;
    this.#begin();
    this.#watch = setInterval(() => this.#look(), 50);
  }

  /** The library's client; undefined while it is connected to no server: what is asked of it then would only be kept for later. */
  get client(): Client | undefined {
    return this.#connected ? this.#client : undefined;
  }

  /** Milliseconds since the server last said anything, though it has been asked. 0: it owes nothing. */
  get silentMs(): number {
    const { pendingQueue } = this.#inner;
    return pendingQueue.length === 0 ? 0 : performance.now() - this.#heardAt;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#watch);
    this.#client.close();
    this.#inner.socket?.destroy();
  }

  get #inner(): Inner['connectionManager'] {
    return (this.#client as unknown as Inner).connectionManager;
  }

  #begin(): void {
    const client = zookeeper.createClient(this.#url, {
      sessionTimeout: this.#sessionMs,
      spinDelay: 50,
      retries: 0,
    });
    client.addAuthInfo('digest', Buffer.from(this.#user));
    client.on('connected', () => {
      this.#connected = true;
    });
    client.on('disconnected', () => {
      this.#connected = false;
    });
    client.on('expired', () => {
      this.#connected = false;
      if (!this.#closed && this.#client === client) this.#begin();
    });
    this.#client = client;
    client.connect();
  }

  #look(): void {
    const { socket, pendingQueue } = this.#inner;
    const now = performance.now();
    if (socket !== this.#socket || socket?.bytesRead !== this.#read || pendingQueue.length === 0) {
      // A server that was asked for a session owes an answer as well, though nothing is pending.
      const opening =
        !this.#connected && socket !== undefined && socket === this.#socket && socket.bytesRead === 0;
      this.#socket = socket;
      this.#read = socket?.bytesRead ?? -1;
      if (!opening) this.#heardAt = now;
    }
    const patience = this.#connected ? (this.#sessionMs * 2) / 3 : this.#sessionMs / 3;
    if (now - this.#heardAt > patience) {
      this.#heardAt = now;
      socket?.destroy();
    }
  }
}
