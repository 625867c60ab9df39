import type { Check } from './check.ts';
import type { Cancel } from './connect.ts';
import { type Probe, startProbe } from './probe.ts';

/** One thing to probe. Equal targets are probed once, however many virtual services name them. */
export interface Target {
  address: string;
  port: number;
  check: Check;
}

/** What is known of a target. `up` is undefined until the first result. */
export interface Health {
  up: boolean | undefined;
  /** Why the last probe failed; undefined after a success. */
  why: string | undefined;
  /** Duration of the last probe, in milliseconds. */
  ms: number | undefined;
  /** Results in a row that speak against `up`. */
  against: number;
}

export type Start = (check: Check, address: string, port: number, done: (result: Probe) => void) => Cancel;

interface Entry {
  target: Target;
  health: Health;
  cancel: Cancel | undefined;
  probes: number;
  gone: boolean;
}

/** A target's identity: address, port and every word of the check. */
export function targetKey(target: Target): string {
  const c = target.check;
  return JSON.stringify([
    target.address,
    target.port,
    c.kind,
    c.path,
    c.host,
    c.status,
    c.command,
    c.intervalMs,
    c.timeoutMs,
    c.rise,
    c.fall,
  ]);
}

/** Due times are rounded to this many milliseconds so that many probes share one turn of the event loop. */
const tick = 10;
/** First probes under way at once: a start with ten thousand targets must not need ten thousand files. */
const width = 500;

/**
 * Probes targets at their intervals. The first probe is at once and its result decides alone; after that `rise`
 * successes or `fall` failures in a row change a target's health. Phases are spread by chance over the interval.
 */
export class Checker {
  readonly #entries = new Map<string, Entry>();
  readonly #due = new Map<number, { timer: NodeJS.Timeout; entries: Entry[] }>();
  readonly #changed: (target: Target, health: Health) => void;
  readonly #start: Start;
  #waiting: Entry[] = [];
  #firsts = 0;

  /** `changed` is called for each target whose `up` has changed, the first result included. */
  constructor(changed: (target: Target, health: Health) => void, start: Start = startProbe) {
    this.#changed = changed;
    this.#start = start;
  }

  /**
   * Makes these the targets: new ones are probed at once, known ones go on, others stop. `known` gives the health
   * that a target had before this process started: such a target keeps it until `rise` or `fall` say otherwise.
   */
  set(targets: Target[], known: (target: Target) => boolean | undefined = () => undefined): void {
    const wanted = new Set<string>();
    for (const target of targets) {
      const key = targetKey(target);
      wanted.add(key);
      if (this.#entries.has(key)) continue;
      const health: Health = { up: known(target), why: undefined, ms: undefined, against: 0 };
      const entry: Entry = { target, health, cancel: undefined, probes: 0, gone: false };
      this.#entries.set(key, entry);
      this.#waiting.push(entry);
    }
    for (const [key, entry] of this.#entries) {
      if (wanted.has(key)) continue;
      this.#entries.delete(key);
      this.#drop(entry);
    }
    this.#startWaiting();
  }

  /** Begins anew with a target: it is probed at once, and that result decides alone. For who hears from elsewhere that it is up. */
  again(target: Target): void {
    const entry = this.#entries.get(targetKey(target));
    if (!entry) return;
    this.#entries.delete(targetKey(target));
    this.#drop(entry);
    this.set([...this.#entries.values(), entry].map((one) => one.target));
  }

  health(target: Target): Health | undefined {
    return this.#entries.get(targetKey(target))?.health;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whether every target has a result (or was known before). */
  get settled(): boolean {
    for (const entry of this.#entries.values()) if (entry.health.up === undefined) return false;
    return true;
  }

  close(): void {
    for (const entry of this.#entries.values()) this.#drop(entry);
    this.#entries.clear();
    for (const bucket of this.#due.values()) clearTimeout(bucket.timer);
    this.#due.clear();
    this.#waiting = [];
  }

  #drop(entry: Entry): void {
    entry.gone = true;
    if (!entry.cancel) return;
    entry.cancel();
    entry.cancel = undefined;
    if (entry.probes === 1) this.#firsts--;
  }

  #startWaiting(): void {
    let next = 0;
    while (next < this.#waiting.length && this.#firsts < width) {
      const entry = this.#waiting[next++]!;
      if (entry.gone) continue;
      this.#firsts++;
      this.#probe(entry);
    }
    if (next > 0) this.#waiting = this.#waiting.slice(next);
  }

  #probe(entry: Entry): void {
    if (entry.gone) return;
    const { address, port, check } = entry.target;
    const started = performance.now();
    entry.probes++;
    entry.cancel = this.#start(check, address, port, (result) => {
      entry.cancel = undefined;
      if (entry.gone) return;
      // Only the second probe's time is by chance: it spreads the phases, which the fixed interval then keeps.
      const wait = entry.probes === 1 ? check.intervalMs * (0.2 + 0.8 * Math.random()) : check.intervalMs;
      this.#schedule(entry, started + wait);
      const first = entry.probes === 1;
      if (first) this.#firsts--;
      this.#judge(entry, result);
      if (first) this.#startWaiting();
    });
  }

  #schedule(entry: Entry, at: number): void {
    const now = performance.now();
    const slot = Math.ceil(Math.max(at, now) / tick);
    const bucket = this.#due.get(slot);
    if (bucket) {
      bucket.entries.push(entry);
      return;
    }
    const entries = [entry];
    const timer = setTimeout(
      () => {
        this.#due.delete(slot);
        for (const due of entries) this.#probe(due);
      },
      slot * tick - now,
    );
    this.#due.set(slot, { timer, entries });
  }

  #judge(entry: Entry, result: Probe): void {
    const health = entry.health;
    const before = health.up;
    health.why = result.why;
    health.ms = result.ms;
    if (health.up === undefined) {
      health.up = result.healthy;
    } else if (health.up === result.healthy) {
      health.against = 0;
    } else {
      health.against++;
      const needed = health.up ? entry.target.check.fall : entry.target.check.rise;
      if (health.against >= needed) {
        health.up = result.healthy;
        health.against = 0;
      }
    }
    if (health.up !== before) this.#changed(entry.target, health);
  }
}
