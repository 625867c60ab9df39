import { type Completion, type FinalRead, HistoryBroken, type Value } from '../history.ts';
import { type Checker, type Flight, type Report, Tally } from './checker.ts';
import { Finals } from './finals.ts';
import { type Access, type Budget, LinearSearch } from './linear.ts';

interface Register {
  key: string;
  search: LinearSearch;
  inFlight: number;
  /** Line at which each written value was acknowledged; Infinity: not yet, or nobody knows. */
  acknowledged: Map<number, number>;
  /** Latest invocation among acknowledged writes: a value acknowledged before that line has been replaced. */
  latest: number;
  final: number | null | undefined;
}

export const defaultBudget: Budget = { states: 500_000, operations: 20_000 };

/**
 * Registers, each by its key: `write`, `read`, `cas` (v: [from, to]). First, in linear time: a read is stale when it
 * gives a value that an acknowledged write had replaced before the read began; when the final read does, a write is
 * lost. What remains is searched for an order that explains it, within a budget. Stale and unexpected reads are left
 * out of that search, so that where staleness is tolerated the rest is still judged.
 */
export class RegisterChecker implements Checker {
  #finals: Finals;
  #budget: Budget;
  #registers = new Map<string, Register>();
  #replicas = new Map<string, Map<string, number | null>>();
  #operations = { attempted: 0, acknowledged: 0, failed: 0, reads: 0 };
  #stale = new Tally();
  #lost = new Tally();
  #unexpected = new Tally();

  constructor(groups: string[], budget: Budget = defaultBudget) {
    this.#finals = new Finals(groups);
    this.#budget = budget;
  }

  invoke(flight: Flight): void {
    const { op, line } = flight;
    this.#finals.groupOf(op.g);
    const register = this.#register(op.k ?? '');
    register.inFlight++;
    if (op.f === 'read') {
      flight.seen = register.latest;
      return;
    }
    this.#operations.attempted++;
    const { value } = written(flight);
    if (register.acknowledged.has(value))
      throw new HistoryBroken(
        line,
        `${op.f} of ${value} to ${op.k} a second time; every written value must be unique`,
      );
    register.acknowledged.set(value, Number.POSITIVE_INFINITY);
  }

  complete(flight: Flight, type: Completion['type'], v: Value | undefined, line: number): void {
    const { op } = flight;
    const register = this.#register(op.k ?? '');
    register.inFlight--;
    if (op.f === 'read') {
      if (type === 'ok') {
        this.#operations.reads++;
        const stale = this.#read(register, flight.line, line, flight.seen!, typeof v === 'number' ? v : null);
        if (stale !== undefined) this.#stale.add(() => stale);
      }
    } else {
      const { value, from } = written(flight);
      if (type === 'fail') {
        this.#operations.failed++;
        register.acknowledged.delete(value);
      } else {
        const access: Access = {
          f: op.f === 'cas' ? 'cas' : 'write',
          value,
          from,
          invoked: flight.line,
          returned: type === 'ok' ? line : Number.POSITIVE_INFINITY,
        };
        register.search.add(access);
        if (type === 'ok') {
          this.#operations.acknowledged++;
          register.acknowledged.set(value, line);
          register.latest = Math.max(register.latest, flight.line);
        }
      }
    }
    if (register.inFlight === 0) register.search.quiet();
  }

  final(read: FinalRead, line: number): void {
    const { authority } = this.#finals.take(read, line);
    for (const [key, value] of Object.entries(read.keys ?? {})) {
      if (!authority) {
        const shown = this.#replicas.get(read.final) ?? new Map();
        this.#replicas.set(read.final, shown);
        shown.set(key, value);
        continue;
      }
      const register = this.#register(key);
      register.final = value;
      const stale = this.#read(register, line, line, register.latest, value);
      if (stale !== undefined) this.#lost.add(() => `in the end ${stale}`);
      if (register.inFlight === 0) register.search.quiet();
    }
  }

  report(): Report {
    const unknown = this.#finals.missing();
    const judged = unknown.length === 0;
    const notes: string[] = [];
    const broken = new Tally();
    let divergent = 0;
    for (const [key, register] of this.#registers) {
      register.search.quiet();
      if (register.search.verdict === 'not linearizable') broken.add(() => `${key}: ${register.search.why}`);
      if (register.search.verdict === 'unknown')
        unknown.push(`register ${key} could not be searched for linearizability: ${register.search.why}`);
    }
    for (const [replica, shown] of [...this.#replicas].sort(([a], [b]) => (a < b ? -1 : 1)))
      for (const [key, value] of shown) {
        const final = this.#registers.get(key)?.final ?? null;
        if (value === final) continue;
        divergent++;
        notes.push(`${replica} has ${key} at ${value}, its authority at ${final}`);
      }
    return {
      counts: {
        ...this.#operations,
        registers: this.#registers.size,
        lost: judged ? this.#lost.count : null,
        stale: this.#stale.count,
        unexpected: this.#unexpected.count,
        notLinearizable: broken.count,
        divergent,
      },
      found: [
        ...this.#lost.finding('lost'),
        ...this.#stale.finding('stale'),
        ...this.#unexpected.finding('unexpected'),
        ...broken.finding('not linearizable'),
      ],
      notes,
      unknown,
    };
  }

  /** Says why the read is stale, if it is; only what is neither stale nor unexpected is searched further. */
  #read(
    register: Register,
    invoked: number,
    returned: number,
    latest: number,
    value: number | null,
  ): string | undefined {
    const acknowledged = value === null ? -1 : register.acknowledged.get(value);
    if (acknowledged === undefined)
      this.#unexpected.add(() => `${register.key} read ${value} on line ${returned}, which nobody wrote`);
    else if (acknowledged < latest)
      return `${register.key} read ${value} on line ${returned}, replaced by the write of line ${latest}`;
    else register.search.add({ f: 'read', value, invoked, returned });
    return undefined;
  }

  #register(key: string): Register {
    let register = this.#registers.get(key);
    if (register === undefined) {
      register = {
        key,
        search: new LinearSearch(this.#budget),
        inFlight: 0,
        acknowledged: new Map(),
        latest: -1,
        final: undefined,
      };
      this.#registers.set(key, register);
    }
    return register;
  }
}

function written(flight: Flight): { value: number; from?: number | null } {
  const { f, v } = flight.op;
  if (f === 'cas' && Array.isArray(v) && v.length === 2 && typeof v[1] === 'number')
    return { from: v[0] as number | null, value: v[1] };
  if (f === 'write' && typeof v === 'number') return { value: v };
  throw new HistoryBroken(
    flight.line,
    `${f} needs ${f === 'cas' ? '[from, to]' : 'a number'} as v, it has ${JSON.stringify(v)}`,
  );
}
