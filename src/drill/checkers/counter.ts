import { type Completion, type FinalRead, HistoryBroken, type Value } from '../history.ts';
import { type Checker, type Flight, type Report, Tally } from './checker.ts';
import { Finals } from './finals.ts';

interface Counter {
  group: number;
  acknowledged: number;
  /** Acknowledged and unknown: a read may show anything up to this. */
  attempted: number;
  /** Of one increment. */
  most: number;
  final: number | null | undefined;
}

/**
 * Counters that only grow. In the end the authority must show at least what was acknowledged (less is lost) and at
 * most what may have happened (more is duplicated): both are told as the least number of increments that explains it. A read in between must lie between the acknowledged sum at its
 * start (below: stale) and the attempted sum at its end (above: miscounted).
 */
export class CounterChecker implements Checker {
  #finals: Finals;
  #counters = new Map<string, Counter>();
  #replicas = new Map<string, Map<string, number>>();
  #operations = { attempted: 0, acknowledged: 0, failed: 0 };
  #stale = new Tally();
  #miscounted = new Tally();

  constructor(groups: string[]) {
    this.#finals = new Finals(groups);
  }

  invoke(flight: Flight): void {
    const counter = this.#counter(flight.op.k ?? '');
    counter.group = this.#finals.groupOf(flight.op.g);
    if (flight.op.f === 'count') {
      flight.seen = counter.acknowledged;
      return;
    }
    const amount = amountOf(flight);
    counter.attempted += amount;
    counter.most = Math.max(counter.most, amount);
    this.#operations.attempted++;
  }

  complete(flight: Flight, type: Completion['type'], v: Value | undefined): void {
    const key = flight.op.k ?? '';
    const counter = this.#counter(key);
    if (flight.op.f === 'incr') {
      if (type === 'ok') {
        counter.acknowledged += amountOf(flight);
        this.#operations.acknowledged++;
      } else if (type === 'fail') {
        counter.attempted -= amountOf(flight);
        this.#operations.failed++;
      }
    } else if (type === 'ok') {
      const shown = typeof v === 'number' ? v : 0;
      const least = flight.seen!;
      const most = counter.attempted;
      if (shown < least) this.#stale.add(() => `${key} read ${shown}, ${least} were acknowledged before`);
      if (shown > most) this.#miscounted.add(() => `${key} read ${shown}, only ${most} were attempted`);
    }
  }

  final(read: FinalRead, line: number): void {
    const { authority } = this.#finals.take(read, line);
    for (const [key, value] of Object.entries(read.keys ?? {})) {
      if (authority) this.#counter(key).final = value;
      else {
        const shown = this.#replicas.get(read.final) ?? new Map();
        this.#replicas.set(read.final, shown);
        shown.set(key, value ?? 0);
      }
    }
  }

  report(): Report {
    const missing = this.#finals.missing();
    const judges = this.#finals.judges();
    const lost = new Tally();
    const duplicated = new Tally();
    const notes: string[] = [];
    let divergent = 0;
    for (const [key, counter] of this.#counters) {
      const final = counter.final ?? 0;
      const { acknowledged, attempted } = counter;
      if (judges(counter.group) && final < acknowledged) {
        lost.add(() => `${key} ends at ${final}, ${acknowledged} were acknowledged`);
        lost.count += Math.ceil((acknowledged - final) / counter.most) - 1;
      }
      if (final > attempted) {
        duplicated.add(() => `${key} ends at ${final}, only ${attempted} were attempted`);
        duplicated.count += Math.ceil((final - attempted) / counter.most) - 1;
      }
    }
    for (const [replica, shown] of [...this.#replicas].sort(([a], [b]) => (a < b ? -1 : 1)))
      for (const [key, value] of shown) {
        const final = this.#counter(key).final ?? 0;
        if (value === final) continue;
        divergent++;
        notes.push(`${replica} has ${key} at ${value}, its authority at ${final}`);
      }
    return {
      counts: {
        ...this.#operations,
        counters: this.#counters.size,
        lost: missing.length === 0 ? lost.count : null,
        duplicated: duplicated.count,
        stale: this.#stale.count,
        miscounted: this.#miscounted.count,
        divergent,
      },
      found: [
        ...lost.finding('lost'),
        ...duplicated.finding('duplicated'),
        ...this.#stale.finding('stale'),
        ...this.#miscounted.finding('miscounted'),
      ],
      notes,
      unknown: missing,
    };
  }

  #counter(key: string): Counter {
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = { group: 0, acknowledged: 0, attempted: 0, most: 1, final: undefined };
      this.#counters.set(key, counter);
    }
    return counter;
  }
}

function amountOf(flight: Flight): number {
  const { v } = flight.op;
  if (typeof v !== 'number' || !Number.isSafeInteger(v) || v < 1)
    throw new HistoryBroken(
      flight.line,
      `incr needs a whole number of at least 1 as v, it has ${JSON.stringify(v)}`,
    );
  return v;
}
