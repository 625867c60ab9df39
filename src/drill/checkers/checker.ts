import type { Anomaly, Completion, FinalRead, Invoke, Value } from '../history.ts';

/** An operation in flight. `line` orders events: one recorder wrote them as it saw them. */
export interface Flight {
  op: Invoke;
  line: number;
  /** What the checker needs to remember of the moment of invocation. */
  seen?: number;
}

/**
 * Judges the operations of one model. Fed in the order of the history, in memory per element of a few bytes;
 * `report` is called once, at the end.
 */
export interface Checker {
  invoke(flight: Flight): void;
  complete(flight: Flight, type: Completion['type'], v: Value | undefined, line: number): void;
  final(read: FinalRead, line: number): void;
  report(): Report;
}

/** What a checker found. Counts are exact; samples name the first few. */
export interface Report {
  /** The model's table, by the words of the issue: attempted, acknowledged, ok, lost, ... null: cannot be known. */
  counts: Record<string, number | null>;
  found: Finding[];
  /** Worth telling, but nothing wrong: a replica that lags, a value that was redelivered. */
  notes: string[];
  /** Why the data cannot be judged; empty when it was. */
  unknown: string[];
}

export interface Finding {
  anomaly: Anomaly;
  count: number;
  /** The first few, for a person to look up in the history. */
  samples: string[];
}

export const sampleSize = 20;

/** Gathers findings of one kind: all are counted, the first few kept. */
export class Tally {
  count = 0;
  samples: string[] = [];

  add(sample: () => string): void {
    this.count++;
    if (this.samples.length < sampleSize) this.samples.push(sample());
  }

  finding(anomaly: Anomaly): Finding[] {
    return this.count === 0 ? [] : [{ anomaly, count: this.count, samples: this.samples }];
  }
}
