import { type FinalRead, HistoryBroken, type Invoke } from '../history.ts';
import type { Flight } from './checker.ts';
import { Tally } from './checker.ts';
import { type Element, Elements, type Fate, fate, isElement } from './elements.ts';
import { Finals } from './finals.ts';

/**
 * What set, log and queue have in common: unique elements, each attempted once, some acknowledged, and the final
 * reads that show which are still there.
 */
export class Written {
  elements: Elements;
  finals: Finals;
  attempted = 0;
  failed = 0;
  unexpected = new Tally();
  /** Elements that are in the authority more than once. */
  duplicated = new Tally();

  constructor(groups: string[], ordered: boolean) {
    this.elements = new Elements(ordered);
    this.finals = new Finals(groups);
  }

  attempt(flight: Flight): void {
    const { op, line } = flight;
    const value = elementOf(op, line);
    if (!this.elements.attempt(value, this.finals.groupOf(op.g), line, op.p))
      throw new HistoryBroken(line, `${op.f} of ${value} a second time; every written value must be unique`);
    this.attempted++;
  }

  settle(flight: Flight, outcome: 'ok' | 'fail' | 'info'): void {
    if (outcome === 'fail') this.failed++;
    this.elements.settle(flight.op.v as number, fate[outcome]);
  }

  /** Takes a piece of a final read; `visit` sees the authority's own values in order. */
  final(read: FinalRead, line: number, visit?: (value: number, group: number, times: number) => void): void {
    const { group, authority, bit } = this.finals.take(read, line);
    for (const value of read.values ?? []) {
      if (!isElement(value)) {
        this.unexpected.add(() => `${JSON.stringify(value)} on ${read.final}`);
        continue;
      }
      if (!authority) {
        if (!this.elements.holdReplica(value, bit))
          this.unexpected.add(() => `${value} on ${read.final}, never attempted`);
        continue;
      }
      const times = this.elements.hold(value, group);
      if (times === 0) this.unexpected.add(() => `${value} on ${read.final}, never attempted`);
      else if (times === 2) this.duplicated.add(() => `${value}`);
      visit?.(value, group, times);
    }
  }

  /**
   * Counts what became of every element. `isThere`: default held by an authority. A value acknowledged and absent
   * from the authority is lost, even where a replica still has it; absent on a replica only is divergence.
   */
  count(
    isThere: (element: Element) => boolean = (element) => element.held > 0,
    each?: (element: Element) => void,
  ) {
    const missing = this.finals.missing();
    const judged = missing.length === 0;
    const judges = this.finals.judges();
    let acknowledged = 0;
    let ok = 0;
    let recovered = 0;
    let neverRead = 0;
    const lost = new Tally();
    const stale = new Tally();
    const diverged = new Map<string, Tally>();
    this.elements.each((element) => {
      const there = isThere(element);
      const { value } = element;
      if (element.fate === fate.ok) {
        acknowledged++;
        if (there) ok++;
        else if (judges(element.group)) lost.add(() => `${value}${this.#where(element)}`);
      } else if (element.fate === fate.fail) {
        if (there) this.unexpected.add(() => `${value}, though the client was told that it failed`);
      } else if (there) recovered++;
      else neverRead++;
      if (element.missed && there) stale.add(() => `${value}`);
      if (judges(element.group) && element.fate === fate.ok && element.held > 0) {
        for (const replica of this.finals.replicasOf(element.group)) {
          if ((element.replicas & (1 << replica.bit)) !== 0) continue;
          const group = this.finals.groupName(element.group);
          const key = group === '' ? replica.name : `${replica.name} (${group})`;
          const tally = diverged.get(key) ?? new Tally();
          diverged.set(key, tally);
          tally.add(() => `${value}`);
        }
      }
      each?.(element);
    });
    const notes: string[] = [];
    let divergent = 0;
    for (const [replica, tally] of [...diverged].sort(([a], [b]) => (a < b ? -1 : 1))) {
      divergent += tally.count;
      notes.push(
        `${replica} lacks ${tally.count} acknowledged ${tally.count === 1 ? 'write' : 'writes'} that its authority has: ${list(tally)}`,
      );
    }
    return { acknowledged, ok, recovered, neverRead, lost, stale, divergent, notes, judged, missing };
  }

  #where(element: Element): string {
    const on = this.finals
      .replicasOf(element.group)
      .filter((replica) => (element.replicas & (1 << replica.bit)) !== 0)
      .map((replica) => replica.name);
    const group = this.finals.groupName(element.group);
    return `${group === '' ? '' : ` of ${group}`}${on.length === 0 ? '' : `, still on ${on.join(', ')}`}`;
  }

  fateOf(value: number): Fate {
    return this.elements.fateOf(value);
  }
}

/** The first few, and how many more there are. */
export function list(tally: Tally): string {
  const few = tally.samples.slice(0, 5);
  return `${few.join(', ')}${tally.count > few.length ? `, and ${tally.count - few.length} more` : ''}`;
}

/** The element that an operation is about. Throws HistoryBroken when it is none. */
export function elementOf(op: Invoke, line: number): number {
  if (!isElement(op.v))
    throw new HistoryBroken(
      line,
      `${op.f} needs a whole number, 0 or more, as v; it has ${JSON.stringify(op.v)}`,
    );
  return op.v;
}
