import { Blame } from './blame.ts';
import type { Checker, Flight, Report } from './checkers/checker.ts';
import { checkers } from './checkers/index.ts';
import { Customers } from './customers.ts';
import { cleanAnswers, FaultWindow, Lane, leastBaseline, recoveryOf, type Timed } from './gaps.ts';
import { Histogram } from './histogram.ts';
import {
  type Anomaly,
  type Completion,
  type End,
  type FaultEvent,
  type FinalRead,
  formatVersion,
  type Header,
  HistoryBroken,
  type HistoryFile,
  type Invoke,
  isEnd,
  isFault,
  isFinal,
  isHeader,
  isSteady,
  type Line,
  type Model,
  operations,
  phases,
  readHistory,
} from './history.ts';
import { type Lasting, LastingBuilder } from './lasting.ts';
import { judgePromise, type Kept } from './promise.ts';
import { type Timeline, TimelineBuilder } from './timeline.ts';

/** What a history proves. Follows from the history alone; `canonicalJson` of it is the same bytes every time. */
export interface Verdict {
  verdict: 1;
  /** invalid: something was found that the service must not do. unknown: nothing was, but the drill proves too little. */
  result: 'valid' | 'invalid' | 'unknown';
  /** Sentences: what was found, then what is not known. Empty when valid. */
  why: string[];
  /** Sentences about what is worth knowing and not wrong. */
  notes: string[];
  drill: Omit<Header, 'history' | 'models' | 'promise' | 'replicas'>;
  faults: FaultRecord[];
  operations: { attempted: number; acknowledged: number; failed: number; unknown: number };
  /** Of all models; null: could not be judged. */
  lost: number | null;
  duplicated: number;
  stale: number;
  anomalies: { model: Model; anomaly: Anomaly; count: number; tolerated: boolean; samples: string[] }[];
  models: Partial<Record<Model, Report['counts']>>;
  recovery: Recovery;
  /** What became of connections that last; absent where clients have none. */
  lasting?: Lasting[];
  promise: Kept;
  /** sha256 and bytes are absent when the verdict was not made from a file. */
  history: { lines: number; torn: boolean; sha256?: string; bytes?: number };
}

export interface FaultRecord {
  fault: string;
  target?: string;
  /** Milliseconds of the history; absent: did not happen. */
  plannedMs?: number;
  injectedMs?: number;
  healedMs?: number;
  wholeMs?: number;
  /** Proof that it took effect. Without any the verdict is unknown. */
  evidence: { ms: number; detail?: unknown }[];
}

/** Milliseconds throughout. */
export interface Recovery {
  /**
   * The longest time without an acknowledged write that overlaps the time from `planned` (just before the fault's command)
   * to `whole`, of the group that had the longest, less the 99th percentile of that group's gaps before the fault.
   * Of requests, a gap that has begun with an error ends with the first of 50 answers in a row (gaps.ts); of transactions an outage
   * of a part of the customers is one (customers.ts). null: no fault, or too little traffic before it.
   */
  rtoMs: number | null;
  /** The service had not come back when the history ended: it was away for at least this long. */
  atLeast: boolean;
  /** Why rtoMs is null. */
  why?: string;
  gap: { fromMs: number; toMs: number; group: string } | null;
  /**
   * Shares of the gap, the largest first, by the service in which the operations that hung in it spent their time. Absent where
   * clients do not tell.
   */
  blame?: { service: string; share: number }[];
  /** The gaps' 99th percentile before the fault: what rtoMs is exact to. */
  baselineGapMs: number | null;
  /** The same for reads; null where there were too few before the fault, and for queues. */
  readRtoMs: number | null;
  /** The longest that one client went without an acknowledgement around the fault, its own pauses included. */
  longestStallMs: number | null;
  /** Operations that failed or were given up during the gap, and during all the rest. */
  errorsInGap: number;
  errorsOutsideGap: number;
  /** Latency of writes that do not overlap the gap. */
  p50OutsideGapMs: number | null;
  p99OutsideGapMs: number | null;
}

/** Judges a history line by line, in bounded memory per element; `finish` gives the verdict and what reports draw. */
export class Analysis {
  #header: Header | undefined;
  #checkers = new Map<Model, Checker>();
  #flights = new Map<number, Flight>();
  #line = 0;
  #t = 0;
  #i = -1;
  #lastOperation = 0;
  #lastInvoked = 0;
  #counts = { attempted: 0, acknowledged: 0, failed: 0, unknown: 0 };
  #window = new FaultWindow();
  #steadyFrom = Number.NEGATIVE_INFINITY;
  #lanes = new Map<string, Timed>();
  #lasting = new LastingBuilder(this.#window);
  #clients = new Map<number, number>();
  #stall: number | null = null;
  #blame = new Blame();
  #timeline = new TimelineBuilder();
  #faults = new Map<string, FaultRecord>();
  #read = new Map<string, { done: boolean; failed?: string }>();
  #end: End | undefined;

  /** Takes the next line. Throws HistoryBroken when it cannot stand there. */
  feed(line: Line): void {
    this.#line++;
    if (this.#header === undefined) {
      if (!isHeader(line)) throw this.#broken('the first line must be the header');
      this.#begin(line);
      return;
    }
    if (isHeader(line)) throw this.#broken('a second header');
    if (this.#end !== undefined) throw this.#broken('stands behind the end');
    if (typeof line.t !== 'number' || line.t < this.#t)
      throw this.#broken(`time goes back from ${this.#t} to ${line.t}`);
    this.#t = line.t;
    if ('i' in line) {
      this.#lastOperation = line.t;
      if (line.type === 'invoke') this.#invoke(line);
      else this.#complete(line);
    } else if (isSteady(line)) this.#steady(line.t);
    else if (isFault(line)) this.#fault(line);
    else if (isFinal(line)) this.#final(line);
    else if (isEnd(line)) this.#end = line;
    else
      throw this.#broken(
        `is neither operation, steady load, fault, final read nor end: ${JSON.stringify(line)}`,
      );
  }

  /** The verdict; `file` is what readHistory gave at its end. Call once. */
  finish(file?: HistoryFile): { verdict: Verdict; timeline: Timeline } {
    const header = this.#header;
    if (header === undefined) throw new HistoryBroken(1, 'is empty; the drill was ended before it began');
    for (const flight of this.#flights.values()) this.#settle(flight, 'info', undefined);
    this.#flights.clear();
    for (const lane of this.#lanes.values()) lane.end(this.#lastInvoked);
    for (const last of this.#clients.values()) this.#stalled(last, this.#lastOperation);

    const unproven = this.#unstruck();
    const unknown = this.#unproven(header, file);
    const notes: string[] = [];
    const models: Verdict['models'] = {};
    const found: Verdict['anomalies'] = [];
    let lost: number | null = 0;
    for (const [model, checker] of this.#checkers) {
      const report = checker.report();
      models[model] = report.counts;
      if (report.counts['lost'] === null) lost = null;
      notes.push(...report.notes.map((note) => `${model}: ${note}`));
      unknown.push(...report.unknown.map((reason) => `${model}: ${reason}`));
      const tolerated = header.models[model]?.tolerates ?? [];
      for (const finding of report.found)
        found.push({ model, ...finding, tolerated: tolerated.includes(finding.anomaly) });
    }
    const total = (anomaly: Anomaly): number => countOf(found, anomaly);
    if (lost !== null) lost = total('lost');
    const stores = Object.values(models).some((counts) => 'lost' in counts);
    if (!stores && header.promise?.lostWrites !== undefined)
      notes.push(
        'these clients store nothing, so nothing is known of lost writes: drill --end-to-end may tell',
      );
    const wrong = found.filter((one) => !one.tolerated);
    for (const one of found)
      if (one.tolerated)
        notes.push(`${one.model}: ${one.count} ${one.anomaly}, which this service does not promise against`);

    const recovery = this.#recovery(header, unproven);
    const promise = judgePromise(header.promise, {
      unknown: unknown.length > 0,
      rtoMs: recovery.rtoMs,
      atLeast: recovery.atLeast,
      lost: stores ? lost : null,
      lostAtLeast: total('lost'),
    });
    const gone = neverBack({ recovery, promise });
    const lasting = this.#lasting.build();
    const drill: Partial<Header> = { ...header };
    for (const key of ['history', 'models', 'promise', 'replicas'] as const) delete drill[key];
    const verdict: Verdict = {
      verdict: 1,
      result: wrong.length > 0 || gone ? 'invalid' : unknown.length > 0 ? 'unknown' : 'valid',
      why: [
        ...wrong.map(
          (one) => `${one.model}: ${one.count} ${one.anomaly}: ${one.samples.slice(0, 3).join('; ')}`,
        ),
        ...(gone ? ['clients were not served again'] : []),
        ...unknown,
      ],
      notes,
      drill: drill as Verdict['drill'],
      faults: [...this.#faults.values()],
      operations: this.#counts,
      lost,
      duplicated: total('duplicated'),
      stale: total('stale'),
      anomalies: found,
      models,
      recovery,
      ...(lasting.length === 0 ? {} : { lasting }),
      promise,
      history: {
        lines: this.#line,
        torn: file?.torn ?? false,
        ...(file === undefined ? {} : { sha256: file.sha256, bytes: file.bytes }),
      },
    };
    return { verdict, timeline: this.#drawn(recovery) };
  }

  #begin(header: Header): void {
    if (header.history !== formatVersion)
      throw this.#broken(`is of format ${header.history}, this phalanx reads ${formatVersion}`);
    for (const [model, { groups }] of Object.entries(header.models ?? {}) as [
      Model,
      { groups?: string[] },
    ][]) {
      const CheckerOf = checkers[model];
      if (CheckerOf === undefined) throw this.#broken(`unknown model ${model}`);
      this.#checkers.set(model, new CheckerOf(groups ?? []));
    }
    if (this.#checkers.size === 0) throw this.#broken('the header declares no model');
    this.#header = header;
  }

  #invoke(op: Invoke): void {
    if (typeof op.i !== 'number' || op.i <= this.#i)
      throw this.#broken(`operation ${op.i} comes after operation ${this.#i}; numbers must increase`);
    this.#i = op.i;
    const flight: Flight = { op, line: this.#line };
    this.#checkerOf(op).invoke(flight);
    this.#flights.set(op.i, flight);
    this.#counts.attempted++;
    this.#lastInvoked = op.t;
    if (!this.#clients.has(op.p)) this.#clients.set(op.p, op.t);
  }

  #complete(line: Completion): void {
    const flight = this.#flights.get(line.i);
    if (flight === undefined) throw this.#broken(`operation ${line.i} ends without having begun, or twice`);
    if (line.type !== 'ok' && line.type !== 'fail' && line.type !== 'info')
      throw this.#broken(`unknown type ${JSON.stringify(line.type)}`);
    this.#flights.delete(line.i);
    this.#settle(flight, line.type, line);
  }

  #settle(flight: Flight, type: Completion['type'], line: Completion | undefined): void {
    const { op } = flight;
    if (line?.by !== undefined && this.#window.since(op.t)) this.#blame.add(op.t, this.#t, line.by);
    this.#checkerOf(op).complete(flight, type, line?.v, this.#line);
    const { kind, model } = operations[op.f];
    if (type === 'ok') this.#counts.acknowledged++;
    else if (type === 'fail') this.#counts.failed++;
    else this.#counts.unknown++;
    if (kind === 'long') {
      this.#lasting.settle(op, type, this.#t);
      return;
    }
    // Given nothing: a client knows that by itself, of a queue that is away too.
    if (op.f === 'dequeue' && type === 'ok' && line?.v === null) return;
    const lane = this.#lane(kind, op.g ?? '', model);
    if (type === 'ok') {
      lane.acknowledged(op.t, this.#t);
      this.#timeline.acknowledged(op.t, this.#t);
      this.#stalled(this.#clients.get(op.p)!, this.#t);
      this.#clients.set(op.p, this.#t);
      return;
    }
    lane.unanswered(op.t, this.#t);
    this.#timeline.unanswered(this.#t);
  }

  #stalled(last: number, t: number): void {
    if (this.#window.since(last)) this.#stall = Math.max(this.#stall ?? 0, t - last);
  }

  /** Lanes begin anew. A gap of a fault would be forgotten with them. */
  #steady(t: number): void {
    if (this.#faults.size > 0) throw this.#broken('the load is said to be steady only after a fault');
    this.#steadyFrom = t;
    this.#lanes.clear();
  }

  #fault(event: FaultEvent): void {
    if (!phases.includes(event.phase)) throw this.#broken(`unknown phase ${JSON.stringify(event.phase)}`);
    let record = this.#faults.get(event.fault);
    if (record === undefined) {
      if (event.phase !== 'planned')
        throw this.#broken(`fault ${event.fault} is ${event.phase} without having been planned`);
      record = { fault: event.fault, evidence: [] };
      this.#faults.set(event.fault, record);
    }
    if (event.target !== undefined) record.target ??= event.target;
    const ms = event.t / 1000;
    if (event.phase === 'planned') {
      if (record.plannedMs !== undefined)
        throw this.#broken(`fault ${event.fault} is planned a second time; number them: ${event.fault}#2`);
      record.plannedMs = ms;
      this.#window.planned(event.fault, event.t);
    } else if (event.phase === 'injected') record.injectedMs ??= ms;
    else if (event.phase === 'healed') record.healedMs = ms;
    else if (event.phase === 'whole') {
      record.wholeMs = ms;
      this.#window.whole(event.fault, event.t);
    } else record.evidence.push(event.detail === undefined ? { ms } : { ms, detail: event.detail });
  }

  #final(read: FinalRead): void {
    const checker = this.#checkers.get(read.model);
    if (checker === undefined)
      throw this.#broken(`final read of the model ${read.model}, which the header lacks`);
    checker.final(read, this.#line);
    const known = this.#read.get(read.final) ?? { done: false };
    if (read.done) known.done = true;
    if (read.failed !== undefined) known.failed = read.failed;
    this.#read.set(read.final, known);
  }

  /** Why a time without acknowledgements is not the fault's: it did not happen, as far as is known, or the drill did not last. */
  #unstruck(): string | undefined {
    if (this.#end?.end !== 'complete') return 'the drill did not come to its end';
    const missing = [...this.#faults.values()].find(({ evidence }) => evidence.length === 0);
    return missing && `no evidence that the fault ${missing.fault} took effect`;
  }

  /** Why this history proves too little, whatever the data show. */
  #unproven(header: Header, file: HistoryFile | undefined): string[] {
    const reasons: string[] = [];
    if (file?.torn)
      reasons.push('the last line is cut short: the drill was killed, what came after is not known');
    if (this.#end === undefined) reasons.push('the history has no end: the drill was killed');
    else if (this.#end.end !== 'complete')
      reasons.push(`the drill was aborted: ${this.#end.why ?? 'no reason given'}`);
    // A drill that came to its end says why when that was not a whole cluster.
    const notWhole = this.#end?.end === 'complete' ? this.#end.why : undefined;
    if (notWhole !== undefined) reasons.push(notWhole);
    if (header.fault !== null && this.#faults.size === 0)
      reasons.push(`the fault ${header.fault.name} was never injected`);
    for (const { fault, evidence, wholeMs } of this.#faults.values()) {
      if (evidence.length === 0) reasons.push(`no evidence that the fault ${fault} took effect`);
      if (wholeMs === undefined && !notWhole)
        reasons.push(`the cluster was not seen whole again after ${fault}`);
    }
    if (this.#counts.acknowledged === 0) reasons.push('no operation was ever acknowledged');
    for (const name of header.replicas ?? []) {
      const read = this.#read.get(name);
      if (!read?.done)
        reasons.push(`no final read from ${name}${read?.failed === undefined ? '' : `: ${read.failed}`}`);
    }
    return reasons;
  }

  #recovery(header: Header, unstruck: string | undefined): Recovery {
    const writes = [...this.#lanes.values()].filter((lane) => lane.kind === 'write');
    const reads = [...this.#lanes.values()].filter((lane) => lane.kind === 'read');
    const away = (header.fault === null && this.#faults.size === 0) || this.#window.first === undefined;
    const outside = new Histogram(7);
    for (const lane of writes) outside.merge(lane.outsideLatency);
    const short = writes.filter((lane) => lane.baseline.total < leastBaseline);
    const worst = longestAway(writes);
    const longestRead = longestAway(reads);
    const measured = !away && unstruck === undefined && writes.length > 0 && short.length === 0;
    const recovery: Recovery = {
      rtoMs: measured ? ((worst && recoveryOf(worst)) ?? 0) / 1000 : null,
      atLeast: worst?.longest?.open ?? false,
      gap: worst?.longest
        ? { fromMs: worst.longest.from / 1000, toMs: worst.longest.to / 1000, group: worst.name }
        : null,
      baselineGapMs: inMs((worst ?? writes[0])?.baseline.quantile(0.99) ?? null),
      readRtoMs:
        away ||
        unstruck !== undefined ||
        // A consumer takes what a queue that is away had given it before: its gaps are not the queue's.
        this.#checkers.has('queue') ||
        reads.length === 0 ||
        reads.some((lane) => recoveryOf(lane) === null)
          ? null
          : ((longestRead && recoveryOf(longestRead)) ?? 0) / 1000,
      longestStallMs: inMs(this.#stall),
      errorsInGap: sum(writes, (lane) => lane.insideErrors) + sum(reads, (lane) => lane.insideErrors),
      errorsOutsideGap: sum(writes, (lane) => lane.outsideErrors) + sum(reads, (lane) => lane.outsideErrors),
      p50OutsideGapMs: inMs(outside.quantile(0.5)),
      p99OutsideGapMs: inMs(outside.quantile(0.99)),
    };
    if (measured && worst?.longest) {
      const blame = this.#blame.of(worst.longest);
      if (blame.length > 0) recovery.blame = blame;
    }
    if (recovery.rtoMs === null)
      recovery.why = away
        ? 'no fault was injected'
        : unstruck !== undefined
          ? unstruck
          : short[0] === undefined
            ? 'no writes'
            : `${short[0].name === '' ? 'only' : `group ${short[0].name} had only`} ${short[0].baseline.total} gaps between acknowledgements before the fault, ${leastBaseline} are needed: run longer or faster before it`;
    return recovery;
  }

  #drawn(recovery: Recovery): Timeline {
    const us = (ms: number | undefined): number | undefined =>
      ms === undefined ? undefined : Math.round(ms * 1000);
    return {
      ...this.#timeline.build(),
      endUs: this.#lastOperation,
      gap:
        recovery.gap === null
          ? null
          : {
              from: us(recovery.gap.fromMs)!,
              to: us(recovery.gap.toMs)!,
              open: recovery.atLeast,
              group: recovery.gap.group,
            },
      faults: [...this.#faults.values()].map((record) => ({
        fault: record.fault,
        target: record.target,
        from: us(record.plannedMs)!,
        injected: us(record.injectedMs),
        healed: us(record.healedMs),
        whole: us(record.wholeMs),
      })),
    };
  }

  #checkerOf(op: Invoke): Checker {
    const known = operations[op.f];
    if (known === undefined) throw this.#broken(`unknown operation ${JSON.stringify(op.f)}`);
    const checker = this.#checkers.get(known.model);
    if (checker === undefined)
      throw this.#broken(`${op.f} belongs to the model ${known.model}, which the header lacks`);
    return checker;
  }

  #lane(kind: 'write' | 'read', group: string, model: Model): Timed {
    const key = `${kind} ${group}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      const clean = this.#header!.models[model]!.clean;
      lane =
        clean === undefined
          ? new Lane(group, kind, this.#window, model === 'request' ? cleanAnswers : 1, this.#steadyFrom)
          : new Customers(group, kind, this.#window, clean, this.#steadyFrom);
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  #broken(what: string): HistoryBroken {
    return new HistoryBroken(this.#line, what);
  }
}

/** Judges a history's file. Throws HistoryBroken, or the error of opening it. */
export function analyse(path: string): { verdict: Verdict; timeline: Timeline } {
  const analysis = new Analysis();
  const lines = readHistory(path);
  for (let step = lines.next(); ; step = lines.next()) {
    if (step.done) return analysis.finish(step.value);
    analysis.feed(step.value);
  }
}

/** The verdict again, from the history alone: `canonicalJson(verify(path))` is the same bytes wherever and whenever. */
export function verify(path: string): Verdict {
  return analyse(path).verdict;
}

/** An error in a drill's last moments is not yet a service that is gone. Milliseconds. */
const goneMs = 5_000;

/** Clients were not served any more when the load ended. */
export const notBack = ({ atLeast, rtoMs }: Pick<Recovery, 'atLeast' | 'rtoMs'>): boolean =>
  atLeast && rtoMs !== null;

/** The fault was healed, and clients were not served again for as long as was waited; a promise that allows even that is not known to be broken. */
const neverBack = ({ recovery, promise: { rto } }: Pick<Verdict, 'recovery' | 'promise'>): boolean =>
  notBack(recovery) && recovery.rtoMs! >= goneMs && (rto === undefined || rto.overMs > 0);

/** Whether something was found that neither the service nor its promise allows: a loss within the promise is none of that. */
export function isWrong({
  anomalies,
  promise,
  recovery,
}: Pick<Verdict, 'anomalies' | 'promise' | 'recovery'>): boolean {
  if (neverBack({ recovery, promise })) return true;
  const { lostWrites } = promise;
  const allowed = lostWrites !== undefined && lostWrites.measured !== null && lostWrites.over === 0;
  return anomalies.some((one) => !one.tolerated && !(allowed && one.anomaly === 'lost'));
}

/** How much of one kind was found, in all models. */
export const countOf = (anomalies: { anomaly: Anomaly; count: number }[], kind: Anomaly): number =>
  anomalies.reduce((sum, { anomaly, count }) => sum + (anomaly === kind ? count : 0), 0);

/**
 * The exit status of `phalanx drill`: 0 promise kept, 4 broken, 5 unknown. Where nothing was promised, valid is 0 and
 * invalid 4. A loss within what the promise allows is kept; any other anomaly breaks what every service promises.
 */
export function exitOf(verdict: Verdict): 0 | 4 | 5 {
  if (isWrong(verdict) || verdict.promise.result === 'broken') return 4;
  if (verdict.promise.result === 'unknown' || verdict.result === 'unknown') return 5;
  return 0;
}

function longestAway(lanes: Timed[]): Timed | undefined {
  let worst: Timed | undefined;
  let most = -1;
  for (const lane of lanes) {
    if (lane.longest === undefined) continue;
    const away = recoveryOf(lane) ?? lane.longest.to - lane.longest.from;
    if (away <= most) continue;
    most = away;
    worst = lane;
  }
  return worst;
}

function sum(lanes: Timed[], of: (lane: Timed) => number): number {
  return lanes.reduce((total, lane) => total + of(lane), 0);
}

function inMs(us: number | null): number | null {
  return us === null ? null : us / 1000;
}
