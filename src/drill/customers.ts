import type { FaultWindow, Gap, Timed } from './gaps.ts';
import { Histogram } from './histogram.ts';

/** An answer that took so long, microseconds, and so many times as long as nearly all before the fault, was none to who waited for it. */
const hung = { least: 1_000_000, times: 4 };

interface Sent {
  invoked: number;
  /** When it was acknowledged, or failed or was given up. */
  t: number;
  ok: boolean;
}

/**
 * The operations of customers who are told apart from one another, of whom a part can be turned away while the rest is served. That is an outage too: it
 * begins when the first is sent that fails or hangs, and ends with the first of `clean` in a row, in the order in which they were sent, that neither
 * fails nor hangs, or when the last that hung is answered. It says nothing that one that fails takes long to: with its patience a client tells when it gave up, not
 * how long others would have been turned away. Outages and times without an acknowledgement that overlap are one.
 *
 * All is judged in the end: who was sent first may be answered last.
 */
export class Customers implements Timed {
  name: string;
  kind: 'write' | 'read';
  baseline = new Histogram(7);
  longest: Gap | undefined;
  outsideLatency = new Histogram(7);
  outsideErrors = 0;
  insideErrors = 0;
  #window: FaultWindow;
  #clean: number;
  #from: number;
  #sent: Sent[] = [];

  /** `from`: what was invoked before is no measure of anything. */
  constructor(name: string, kind: 'write' | 'read', window: FaultWindow, clean: number, from: number) {
    this.name = name;
    this.kind = kind;
    this.#window = window;
    this.#clean = clean;
    this.#from = from;
  }

  acknowledged(invoked: number, t: number): void {
    if (invoked >= this.#from) this.#sent.push({ invoked, t, ok: true });
  }

  unanswered(invoked: number, t: number): void {
    if (invoked >= this.#from) this.#sent.push({ invoked, t, ok: false });
  }

  end(t: number): void {
    const first = this.#window.first ?? Number.POSITIVE_INFINITY;
    const usual = new Histogram(7);
    const silences: Gap[] = [];
    let last: number | undefined;
    for (const one of this.#sent) {
      if (!one.ok) continue;
      if (one.t < first) usual.add(one.t - one.invoked);
      if (last !== undefined) {
        if (one.t < first) this.baseline.add(one.t - last);
        silences.push({ from: last, to: one.t, open: false });
      }
      last = one.t;
    }
    const longest = Math.max(hung.least, hung.times * (usual.quantile(0.99) ?? 0));
    const outages = this.#outages(first, longest, t);
    for (const gap of united(silences, outages)) {
      const around = gap.to > first && this.#window.since(gap.from);
      if (around && (this.longest === undefined || lengthOf(gap) > lengthOf(this.longest)))
        this.longest = gap;
    }
    for (const { invoked, t, ok } of this.#sent) {
      const inside = this.longest !== undefined && invoked < this.longest.to && t > this.longest.from;
      if (!ok) {
        if (inside) this.insideErrors++;
        else this.outsideErrors++;
      } else if (!inside) this.outsideLatency.add(t - invoked);
    }
  }

  /** Of a part of the customers at least, from `first` on: what was turned away before the fault is not the fault's. */
  #outages(first: number, longest: number, end: number): Gap[] {
    const outages: Gap[] = [];
    let outage: Gap | undefined;
    let clean: Sent[] = [];
    for (const one of [...this.#sent].sort((a, b) => a.invoked - b.invoked)) {
      const waited = one.t - one.invoked > longest;
      if (one.t > first && (!one.ok || waited)) {
        outage ??= { from: Math.max(one.invoked, first), to: 0, open: true };
        if (one.ok) outage.to = Math.max(outage.to, one.t);
        clean = [];
      } else if (outage !== undefined) {
        clean.push(one);
        if (clean.length < this.#clean) continue;
        outages.push({ ...outage, to: Math.max(outage.to, clean[0]!.t), open: false });
        outage = undefined;
        clean = [];
      }
    }
    if (outage !== undefined) outages.push({ ...outage, to: Math.max(outage.to, outage.from, end) });
    return outages;
  }
}

const lengthOf = ({ from, to }: Gap): number => to - from;

/** Silences as they are, and each outage together with all that it overlaps. */
function united(silences: Gap[], outages: Gap[]): Gap[] {
  const found: Gap[] = [];
  let current: { gap: Gap; outage: boolean } | undefined;
  const all = [
    ...silences.map((gap) => ({ gap, outage: false })),
    ...outages.map((gap) => ({ gap, outage: true })),
  ].sort((a, b) => a.gap.from - b.gap.from);
  for (const next of all) {
    if (current !== undefined && next.gap.from < current.gap.to && (current.outage || next.outage))
      current = {
        gap: {
          from: current.gap.from,
          to: Math.max(current.gap.to, next.gap.to),
          open: current.gap.open || next.gap.open,
        },
        outage: true,
      };
    else {
      if (current !== undefined) found.push(current.gap);
      current = next;
    }
  }
  if (current !== undefined) found.push(current.gap);
  return found;
}
