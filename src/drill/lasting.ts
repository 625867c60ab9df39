import type { FaultWindow } from './gaps.ts';
import type { Completion, Invoke } from './history.ts';

/** Connections that outlast a takeover, or do not. */
export const lastingKinds = { transfer: 'slow requests', download: 'downloads', ping: 'websockets' } as const;
export type LastingKind = (typeof lastingKinds)[keyof typeof lastingKinds];

/** What became of connections that last. */
export interface Lasting {
  kind: LastingKind;
  /** Of all that were made. */
  made: number;
  /** Were open at some moment between the fault and whole again. */
  struck: number;
  /** Of those, how many ended as they should, or are still open. */
  survived: number;
  /** Broke at any other time. */
  brokenOutside: number;
  /**
   * Websockets only, milliseconds: the longest from the last word heard of one that was cut around the fault to the first one heard after. null: none was
   * cut, or one never came back.
   */
  longestAwayMs?: number | null;
  /** Websockets only: cut, and not heard of again. */
  notBack?: number;
}

interface Socket {
  heard: number;
  /** Not answered since `heard`. */
  cut: boolean;
  /** It was cut while a fault stood or was repaired. */
  struck: boolean;
}

/** Takes the operations that last. Their beginning and end are what counts, not how many there are. */
export class LastingBuilder {
  #window: FaultWindow;
  #kinds = new Map<LastingKind, Lasting>();
  #sockets = new Map<string, Socket>();
  #longestAway: number | null = null;

  constructor(window: FaultWindow) {
    this.#window = window;
  }

  settle(op: Invoke, type: Completion['type'], t: number): void {
    const kind = lastingKinds[op.f as keyof typeof lastingKinds];
    if (op.f === 'ping') {
      this.#ping(op, type, t);
      return;
    }
    const found = this.#of(kind);
    found.made++;
    const struck = this.#window.since(op.t);
    if (struck) found.struck++;
    if (type === 'ok' && struck) found.survived++;
    if (type !== 'ok' && !struck) found.brokenOutside++;
  }

  build(): Lasting[] {
    const sockets = [...this.#sockets.values()];
    const found = this.#kinds.get('websockets');
    if (found !== undefined) {
      // Each is open from the first word to the last, so that every one is there when the fault comes.
      const cut = sockets.filter(({ struck }) => struck).length;
      found.made = sockets.length;
      found.struck = this.#window.first === undefined ? 0 : sockets.length;
      found.survived = found.struck - cut;
      found.notBack = sockets.filter((socket) => socket.cut).length;
      found.longestAwayMs = this.#longestAway === null || found.notBack > 0 ? null : this.#longestAway / 1000;
    }
    return [...this.#kinds.values()];
  }

  #ping(op: Invoke, type: Completion['type'], t: number): void {
    const found = this.#of('websockets');
    const key = op.k ?? '';
    let socket = this.#sockets.get(key);
    if (socket === undefined) {
      socket = { heard: op.t, cut: false, struck: false };
      this.#sockets.set(key, socket);
    }
    if (type !== 'ok') {
      if (socket.cut) return;
      socket.cut = true;
      if (this.#window.since(op.t)) socket.struck = true;
      else found.brokenOutside++;
      return;
    }
    if (socket.cut && this.#window.since(socket.heard))
      this.#longestAway = Math.max(this.#longestAway ?? 0, t - socket.heard);
    socket.cut = false;
    socket.heard = t;
  }

  #of(kind: LastingKind): Lasting {
    let found = this.#kinds.get(kind);
    if (found === undefined) {
      found = { kind, made: 0, struck: 0, survived: 0, brokenOutside: 0 };
      this.#kinds.set(kind, found);
    }
    return found;
  }
}
