import { Histogram } from './histogram.ts';

const finestUs = 50_000;
const mostBuckets = 400;

interface Bucket {
  ok: number;
  errors: number;
  latency: Histogram;
}

/** What reports draw: equal slices of the drill, at most 400. */
export interface Timeline {
  /** Microseconds per slice. */
  sliceUs: number;
  slices: Slice[];
  /** Times in microseconds of the history; `to` null: never. */
  faults: {
    fault: string;
    target?: string;
    from: number;
    injected?: number;
    healed?: number;
    whole?: number;
  }[];
  /** The gap that the recovery time is measured by. */
  gap: { from: number; to: number; open: boolean; group: string } | null;
  endUs: number;
}

export interface Slice {
  /** Operations acknowledged in it. */
  ok: number;
  /** Operations that failed or were given up in it. */
  errors: number;
  /** Latency of those acknowledged, microseconds; null where there were none. */
  p50: number | null;
  p99: number | null;
}

/** Counts operations by time in slices that double when there are too many, so any length of drill fits. */
export class TimelineBuilder {
  #slice = finestUs;
  #buckets: Bucket[] = [];

  acknowledged(invoked: number, t: number): void {
    const bucket = this.#at(t);
    bucket.ok++;
    bucket.latency.add(t - invoked);
  }

  unanswered(t: number): void {
    this.#at(t).errors++;
  }

  build(): { sliceUs: number; slices: Slice[] } {
    return {
      sliceUs: this.#slice,
      slices: this.#buckets.map(({ ok, errors, latency }) => ({
        ok,
        errors,
        p50: latency.quantile(0.5),
        p99: latency.quantile(0.99),
      })),
    };
  }

  #at(t: number): Bucket {
    while (Math.floor(t / this.#slice) >= mostBuckets) this.#halve();
    const index = Math.floor(t / this.#slice);
    while (this.#buckets.length <= index) this.#buckets.push({ ok: 0, errors: 0, latency: new Histogram(4) });
    return this.#buckets[index]!;
  }

  #halve(): void {
    const merged: Bucket[] = [];
    for (let i = 0; i < this.#buckets.length; i += 2) {
      const bucket = this.#buckets[i]!;
      const next = this.#buckets[i + 1];
      if (next !== undefined) {
        bucket.ok += next.ok;
        bucket.errors += next.errors;
        bucket.latency.merge(next.latency);
      }
      merged.push(bucket);
    }
    this.#buckets = merged;
    this.#slice *= 2;
  }
}
