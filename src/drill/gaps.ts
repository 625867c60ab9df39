import { Histogram } from './histogram.ts';

/** Fewer gaps than this before the fault, and their 99th percentile says nothing. */
export const leastBaseline = 100;

/**
 * A request that fails proves the service away even while others are answered: with one of three servers dead and still
 * in rotation there is never a moment without an answer. So where nothing but answers is measured (transactions: customers.ts), a gap that has begun with
 * an error ends only with the first of this many answers in a row.
 */
export const cleanAnswers = 50;

/** Times are microseconds of the history. */
export interface Gap {
  from: number;
  to: number;
  /** No acknowledgement came after it any more: it lasted at least until `to`. */
  open: boolean;
}

/** Shared by all lanes: when a fault was standing or being repaired. */
export class FaultWindow {
  /** When the first fault was planned; undefined: none yet. */
  first: number | undefined;
  #standing = new Set<string>();
  #closed = Number.NEGATIVE_INFINITY;

  planned(fault: string, t: number): void {
    this.first ??= t;
    this.#standing.add(fault);
  }

  whole(fault: string, t: number): void {
    if (this.#standing.delete(fault)) this.#closed = t;
  }

  /** Whether a fault was standing at some moment after `from`, given that now is the latest moment. */
  since(from: number): boolean {
    return this.#standing.size > 0 || this.#closed > from;
  }
}

/** What was timed of one group of operations. Microseconds; `end` first. */
export interface Timed {
  name: string;
  kind: 'write' | 'read';
  /** The gaps before the fault. */
  baseline: Histogram;
  /** The longest around the fault. */
  longest: Gap | undefined;
  outsideLatency: Histogram;
  outsideErrors: number;
  insideErrors: number;
  acknowledged(invoked: number, t: number): void;
  /** fail or info. A timeout that began in the gap belongs to it, whenever the client gave up. */
  unanswered(invoked: number, t: number): void;
  /** Nothing was sent after `t`. */
  end(t: number): void;
}

/** The longest gap around the fault less the 99th percentile of the baseline's, microseconds; null where the baseline is too short. */
export function recoveryOf({ baseline, longest }: Pick<Timed, 'baseline' | 'longest'>): number | null {
  const usual = baseline.total < leastBaseline ? null : baseline.quantile(0.99);
  if (usual === null) return null;
  return longest === undefined ? 0 : Math.max(0, longest.to - longest.from - usual);
}

/**
 * The acknowledgements of one group (shard, partition, queue), timed. A gap is the time between two that follow each
 * other. The baseline is every gap from when the load was steady until the first fault was planned; the fault's gap is the longest that
 * overlaps a window from `planned` to `whole`. Everything that did not overlap the fault's gap is `outside`.
 */
export class Lane implements Timed {
  name: string;
  kind: 'write' | 'read';
  baseline = new Histogram(7);
  longest: Gap | undefined;
  outsideLatency = new Histogram(7);
  outsideErrors = 0;
  insideErrors = 0;
  #insideLatency = new Histogram(7);
  #window: FaultWindow;
  #from: number;
  #last: number | undefined;
  #errors = 0;
  #clean: number;
  /** Answers since the last error, held back until they are enough in a row; undefined: there was no error. */
  #held: { invoked: number; t: number }[] | undefined;

  /** `clean`: how many acknowledgements in a row end a gap in which there were errors. `from`: what was invoked before is no measure of latency, nor an error. */
  constructor(
    name: string,
    kind: 'write' | 'read',
    window: FaultWindow,
    clean = 1,
    from = Number.NEGATIVE_INFINITY,
  ) {
    this.name = name;
    this.kind = kind;
    this.#window = window;
    this.#clean = clean;
    this.#from = from;
  }

  acknowledged(invoked: number, t: number): void {
    if (this.#held === undefined) {
      this.#take(invoked, t);
      return;
    }
    this.#held.push({ invoked, t });
    if (this.#held.length < this.#clean) return;
    const held = this.#held;
    this.#held = undefined;
    for (const one of held) this.#take(one.invoked, one.t);
  }

  #take(invoked: number, t: number): void {
    if (this.#last !== undefined) {
      if (this.#window.first === undefined) this.baseline.add(t - this.#last);
      this.#close({ from: this.#last, to: t, open: false });
    } else this.#settle();
    this.#last = t;
    if (invoked >= this.#from)
      (this.#overlaps(invoked, t) ? this.#insideLatency : this.outsideLatency).add(t - invoked);
  }

  unanswered(invoked: number, t: number): void {
    if (invoked < this.#from) return;
    if (this.#clean > 1) {
      // Answers between errors lie within the gap that this error prolongs.
      for (const one of this.#held ?? []) this.#insideLatency.add(one.t - one.invoked);
      this.#held = [];
    }
    if (this.#overlaps(invoked, t)) this.insideErrors++;
    else this.#errors++;
  }

  /** Operations without an answer since the last acknowledgement mean that the gap never closed. */
  end(t: number): void {
    if (this.#last !== undefined && t > this.#last && this.#errors > 0)
      this.#close({ from: this.#last, to: t, open: true });
    else this.#settle();
  }

  #overlaps(from: number, to: number): boolean {
    return this.longest !== undefined && from < this.longest.to && to > this.longest.from;
  }

  #close(gap: Gap): void {
    const longer = this.longest === undefined || gap.to - gap.from > this.longest.to - this.longest.from;
    if (!this.#window.since(gap.from) || !longer) {
      this.#settle();
      return;
    }
    this.outsideLatency.merge(this.#insideLatency);
    this.outsideErrors += this.insideErrors;
    this.#insideLatency.clear();
    this.insideErrors = this.#errors;
    this.#errors = 0;
    this.longest = gap;
  }

  #settle(): void {
    this.outsideErrors += this.#errors;
    this.#errors = 0;
  }
}
