import { Histogram } from './histogram.ts';

/** Fewer gaps than this before the fault, and their 99th percentile says nothing. */
export const leastBaseline = 100;

/**
 * A request that fails proves the service away even while others are answered: with one of three servers dead and still
 * in rotation there is never a moment without an answer. So where a part of the clients can be turned away, a gap that has begun with
 * an error ends only with the first of this many answers in a row.
 */
export const cleanAnswers = 50;

/** There, an answer that took so long, microseconds, and so many times as long as nearly all before the fault, was none to who waited for it. */
const hung = { least: 1_000_000, times: 4 };

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

/**
 * The acknowledgements of one group (shard, partition, queue), timed. A gap is the time between two that follow each
 * other. The baseline is every gap from when the load was steady until the first fault was planned; the fault's gap is the longest that
 * overlaps a window from `planned` to `whole`. Everything that did not overlap the fault's gap is `outside`. Where a part of the clients can be turned away, what they
 * waited for an answer that hung, or failed, is a gap too, and gaps that overlap are one.
 */
export class Lane {
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
  /** When the first was sent of those that failed since the last acknowledgement that counts. */
  #failing: number | undefined;
  /** The latest gap of clients that were turned away while others may have been served. */
  #partial: Gap | undefined;

  /** `clean`: how many acknowledgements in a row end a gap in which there were errors; more than 1 where a part of the clients can be turned away. `from`: what was invoked before is no measure of latency, nor an error. */
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
    if (this.#clean > 1 && this.#hung(t - invoked)) this.#turnedAway({ from: invoked, to: t, open: false });
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
      this.#end({ from: this.#last, to: t, open: false });
    } else this.#settle();
    this.#last = t;
    if (invoked >= this.#from)
      (this.#overlaps(invoked, t) ? this.#insideLatency : this.outsideLatency).add(t - invoked);
  }

  /** fail or info. A timeout that began in the gap belongs to it, whenever the client gave up. */
  unanswered(invoked: number, t: number): void {
    if (invoked < this.#from) return;
    if (this.#clean > 1) {
      // Answers between errors lie within the gap that this error prolongs.
      for (const one of this.#held ?? []) this.#insideLatency.add(one.t - one.invoked);
      this.#held = [];
      this.#failing = Math.min(invoked, this.#failing ?? invoked);
    }
    if (this.#overlaps(invoked, t)) this.insideErrors++;
    else this.#errors++;
  }

  /** The history ends at `t`. Operations without an answer since the last acknowledgement mean that the gap never closed. */
  end(t: number): void {
    if (this.#last !== undefined && this.#errors > 0) this.#end({ from: this.#last, to: t, open: true });
    else this.#settle();
  }

  /** Microseconds: the longest gap around the fault less the 99th percentile of the baseline's; null where the baseline is too short. */
  recovery(): number | null {
    const usual = this.baseline.total < leastBaseline ? null : this.baseline.quantile(0.99);
    if (usual === null) return null;
    return this.longest === undefined ? 0 : Math.max(0, this.longest.to - this.longest.from - usual);
  }

  #overlaps(from: number, to: number): boolean {
    return this.longest !== undefined && from < this.longest.to && to > this.longest.from;
  }

  #hung(latency: number): boolean {
    if (this.#window.first === undefined || latency < hung.least) return false;
    return latency > hung.times * (this.outsideLatency.quantile(0.99) ?? 0);
  }

  /** Closes the gap since the last acknowledgement, which began when the first was sent of those that failed in it. */
  #end(gap: Gap): void {
    const failing = this.#failing;
    this.#failing = undefined;
    if (failing === undefined) this.#close(gap);
    else this.#turnedAway({ ...gap, from: Math.min(gap.from, failing) });
  }

  #turnedAway(gap: Gap): void {
    const last = this.#partial;
    this.#partial =
      last !== undefined && gap.from <= last.to
        ? { from: Math.min(gap.from, last.from), to: Math.max(gap.to, last.to), open: gap.open || last.open }
        : gap;
    this.#close(this.#partial);
  }

  #close(gap: Gap): void {
    const longer = this.longest === undefined || gap.to - gap.from > this.longest.to - this.longest.from;
    if (!this.#window.since(gap.from) || !longer) {
      this.#settle();
      return;
    }
    const { longest } = this;
    if (longest === undefined || longest.from < gap.from || longest.to > gap.to) {
      this.outsideLatency.merge(this.#insideLatency);
      this.outsideErrors += this.insideErrors;
      this.#insideLatency.clear();
      this.insideErrors = 0;
    }
    this.insideErrors += this.#errors;
    this.#errors = 0;
    this.longest = gap;
  }

  #settle(): void {
    this.outsideErrors += this.#errors;
    this.#errors = 0;
  }
}
