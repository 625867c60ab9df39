import type { Completion, FinalRead, Value } from '../history.ts';
import { type Checker, type Flight, type Report, Tally } from './checker.ts';
import { fate, isElement } from './elements.ts';
import { list, Written } from './written.ts';

/**
 * Ordered appends (Kafka's partitions, ZooKeeper's sequential nodes): within a group, the records of one client stand
 * in the order in which it sent them, each once. A lost record behind which later ones of the same client stand is a
 * gap; lost at the end, it was cut off. `poll` gives what a consumer was handed, at least once.
 */
export class LogChecker implements Checker {
  #written: Written;
  #reordered = new Tally();
  #redelivered = new Tally();
  #polls = 0;
  /** Per group and client: the last record seen in the authority's order. */
  #heads = new Map<string, { line: number; value: number }>();

  constructor(groups: string[]) {
    this.#written = new Written(groups, true);
  }

  invoke(flight: Flight): void {
    if (flight.op.f === 'append') this.#written.attempt(flight);
  }

  complete(flight: Flight, type: Completion['type'], v: Value | undefined): void {
    if (flight.op.f === 'append') {
      this.#written.settle(flight, type);
      return;
    }
    if (type !== 'ok') return;
    this.#polls++;
    for (const value of Array.isArray(v) ? v : []) {
      if (!isElement(value)) continue;
      const times = this.#written.elements.give(value);
      if (times === 0) this.#written.unexpected.add(() => `${value} was consumed, never attempted`);
      if (times === 2) this.#redelivered.add(() => `${value}`);
    }
  }

  final(read: FinalRead, line: number): void {
    this.#written.final(read, line, (value, group, times) => {
      if (times !== 1) return;
      const { line: sent, client } = this.#written.elements.orderOf(value);
      const key = `${group} ${client}`;
      const head = this.#heads.get(key);
      if (head === undefined) this.#heads.set(key, { line: sent, value });
      else if (sent < head.line) {
        const { value: before } = head;
        this.#reordered.add(() => `${value} stands behind ${before}, which client ${client} sent later`);
      } else {
        head.line = sent;
        head.value = value;
      }
    });
  }

  report(): Report {
    const written = this.#written;
    const gaps = new Tally();
    const unconsumed = new Tally();
    const { acknowledged, ok, lost, recovered, neverRead, divergent, notes, judged, missing } = written.count(
      undefined,
      (element) => {
        const { value } = element;
        if (element.fate === fate.ok && element.held === 0) {
          const { line, client } = written.elements.orderOf(value);
          const head = this.#heads.get(`${element.group} ${client}`);
          if (head !== undefined && line < head.line) gaps.add(() => `${value}`);
        }
        if (this.#polls > 0 && element.fate === fate.ok && element.held > 0 && element.given === 0)
          unconsumed.add(() => `${value}`);
      },
    );
    if (judged && gaps.count > 0)
      notes.push(`of the lost, ${gaps.count} leave a gap with later records behind it: ${list(gaps)}`);
    if (this.#redelivered.count > 0)
      notes.push(
        `consumers were given ${this.#redelivered.count} records more than once (at least once is the promise)`,
      );
    return {
      counts: {
        attempted: written.attempted,
        acknowledged,
        failed: written.failed,
        ok,
        lost: judged ? lost.count : null,
        gaps: judged ? gaps.count : null,
        recovered,
        duplicated: written.duplicated.count,
        reordered: this.#reordered.count,
        neverRead,
        redelivered: this.#redelivered.count,
        unconsumed: unconsumed.count,
        unexpected: written.unexpected.count,
        divergent,
      },
      found: [
        ...lost.finding('lost'),
        ...written.duplicated.finding('duplicated'),
        ...written.unexpected.finding('unexpected'),
        ...this.#reordered.finding('reordered'),
        ...unconsumed.finding('unconsumed'),
      ],
      notes,
      unknown: missing,
    };
  }
}
