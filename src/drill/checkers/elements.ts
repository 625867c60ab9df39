/** What became of an attempt to write an element. */
export const fate = { none: 0, pending: 1, ok: 2, fail: 3, info: 4 } as const;
export type Fate = (typeof fate)[keyof typeof fate];

const pageBits = 14;
const pageSize = 1 << pageBits;
const missedBit = 8;
const fateMask = 7;

interface Page {
  first: number;
  /** Fate, and whether a read missed it after it was acknowledged. */
  state: Uint8Array;
  /** How often the authority held it (up to 255). */
  held: Uint8Array;
  /** How often a consumer was given it (up to 255). */
  given: Uint8Array;
  /** The group it was sent to, then the one whose authority held it. */
  group: Uint16Array;
  /** Which of the group's replicas held it. */
  replicas: Uint16Array;
  /** Only where order matters: the invocation's place in the history and its client. */
  order: Uint32Array | undefined;
  client: Uint16Array | undefined;
}

/**
 * Every element that was written, in 7 bytes each (13 where order matters) so that ten million fit: columns in
 * pages, indexed by the element's value. Values must be whole, unique and roughly dense, as the schedule makes them.
 */
export class Elements {
  #pages = new Map<number, Page>();
  #last: Page | undefined;
  #ordered: boolean;

  constructor(ordered = false) {
    this.#ordered = ordered;
  }

  /** False when the value was attempted before. */
  attempt(value: number, group: number, line: number, client: number): boolean {
    const page = this.#page(value) ?? this.#grow(value);
    const at = value - page.first;
    if (page.state[at] !== 0) return false;
    page.state[at] = fate.pending;
    page.group[at] = group;
    if (page.order && page.client) {
      page.order[at] = line;
      page.client[at] = client;
    }
    return true;
  }

  settle(value: number, outcome: Fate): void {
    const page = this.#page(value)!;
    const at = value - page.first;
    page.state[at] = (page.state[at]! & missedBit) | outcome;
  }

  fateOf(value: number): Fate {
    const page = this.#page(value);
    return page === undefined ? fate.none : ((page.state[value - page.first]! & fateMask) as Fate);
  }

  /** A read did not show it although it had been acknowledged before the read began. */
  missed(value: number): void {
    const page = this.#page(value)!;
    page.state[value - page.first] = page.state[value - page.first]! | missedBit;
  }

  /** The authority of `group` holds it; gives how often by now, 0 when the value was never attempted. */
  hold(value: number, group: number): number {
    const page = this.#page(value);
    if (page === undefined) return 0;
    const at = value - page.first;
    if (page.state[at] === 0) return 0;
    page.group[at] = group;
    const count = Math.min(255, page.held[at]! + 1);
    page.held[at] = count;
    return count;
  }

  /** A replica of its group holds it; false when the value was never attempted. */
  holdReplica(value: number, bit: number): boolean {
    const page = this.#page(value);
    if (page === undefined || page.state[value - page.first] === 0) return false;
    page.replicas[value - page.first] = page.replicas[value - page.first]! | (1 << bit);
    return true;
  }

  /** A consumer was given it; gives how often by now, 0 when the value was never attempted. */
  give(value: number): number {
    const page = this.#page(value);
    if (page === undefined || page.state[value - page.first] === 0) return 0;
    const count = Math.min(255, page.given[value - page.first]! + 1);
    page.given[value - page.first] = count;
    return count;
  }

  orderOf(value: number): { line: number; client: number } {
    const page = this.#page(value)!;
    const at = value - page.first;
    return { line: page.order?.[at] ?? 0, client: page.client?.[at] ?? 0 };
  }

  /** Visits every attempted element, in the order of their values. */
  each(visit: (element: Element) => void): void {
    const element: Element = { value: 0, fate: 0, missed: false, held: 0, given: 0, group: 0, replicas: 0 };
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const page = this.#pages.get(number)!;
      for (let at = 0; at < pageSize; at++) {
        const state = page.state[at]!;
        if (state === 0) continue;
        element.value = page.first + at;
        element.fate = (state & fateMask) as Fate;
        element.missed = (state & missedBit) !== 0;
        element.held = page.held[at]!;
        element.given = page.given[at]!;
        element.group = page.group[at]!;
        element.replicas = page.replicas[at]!;
        visit(element);
      }
    }
  }

  #page(value: number): Page | undefined {
    if (this.#last !== undefined && value >= this.#last.first && value < this.#last.first + pageSize)
      return this.#last;
    const page = this.#pages.get(Math.floor(value / pageSize));
    if (page !== undefined) this.#last = page;
    return page;
  }

  #grow(value: number): Page {
    const number = Math.floor(value / pageSize);
    const page: Page = {
      first: number * pageSize,
      state: new Uint8Array(pageSize),
      held: new Uint8Array(pageSize),
      given: new Uint8Array(pageSize),
      group: new Uint16Array(pageSize),
      replicas: new Uint16Array(pageSize),
      order: this.#ordered ? new Uint32Array(pageSize) : undefined,
      client: this.#ordered ? new Uint16Array(pageSize) : undefined,
    };
    this.#pages.set(number, page);
    this.#last = page;
    return page;
  }
}

/** One element as `each` shows it; the same object every time. */
export interface Element {
  value: number;
  fate: Fate;
  missed: boolean;
  held: number;
  given: number;
  group: number;
  replicas: number;
}

/** Whether it can be an element at all. */
export function isElement(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
