import { count, type DrillRun, duration, outcomeOf, writesOf } from './report/run.ts';
import { columns } from './report/terminal.ts';
import type { Verdict } from './verdict.ts';

/** What one drill came to, as far as several of them are put together. */
export interface Round {
  service: string;
  fault: string;
  /** 'default', 'fast', ...; absent where the engine has no timings. */
  timing?: string;
  outcome: ReturnType<typeof outcomeOf>;
  /** How long clients were away, milliseconds; null: not known, or not back when the drill ended. */
  awayMs: number | null;
  /** Acknowledged writes, and how many of them were lost: null where what is stored was not looked at, or is not known. */
  acknowledged: number;
  lost: number | null;
}

export function roundOf(verdict: Verdict): Round {
  const { drill, recovery } = verdict;
  return {
    service: drill.service,
    fault: drill.fault?.name ?? 'no fault',
    ...(drill.timing === undefined ? {} : { timing: drill.timing }),
    outcome: outcomeOf({ verdict }),
    awayMs: recovery.atLeast ? null : recovery.rtoMs,
    acknowledged: writesOf(verdict),
    lost: verdict.lost,
  };
}

/** Rounds of one fault on one service at one timing. Milliseconds; percentiles by nearest rank, of the rounds that are known. */
export interface Repeated {
  service: string;
  fault: string;
  timing?: string;
  rounds: number;
  /** Of these it is not known how long clients were away. */
  unknown: number;
  p50Ms: number | null;
  p95Ms: number | null;
  worstMs: number | null;
  acknowledged: number;
  lost: number | null;
  /** Rounds that broke a promise, or found what a service must not do. */
  broken: number;
}

/** Puts rounds together, in the order in which their drills first came. */
export function repeated(rounds: Round[]): Repeated[] {
  const kinds = new Map<string, Round[]>();
  for (const round of rounds) {
    const key = JSON.stringify([round.service, round.fault, round.timing]);
    kinds.set(key, [...(kinds.get(key) ?? []), round]);
  }
  return [...kinds.values()].map((same) => {
    const { service, fault, timing } = same[0]!;
    const known = same.flatMap(({ awayMs }) => (awayMs === null ? [] : [awayMs])).sort((a, b) => a - b);
    return {
      service,
      fault,
      ...(timing === undefined ? {} : { timing }),
      rounds: same.length,
      unknown: same.length - known.length,
      p50Ms: quantile(known, 0.5),
      p95Ms: quantile(known, 0.95),
      worstMs: quantile(known, 1),
      acknowledged: same.reduce((sum, round) => sum + round.acknowledged, 0),
      lost: same.some(({ lost }) => lost === null) ? null : same.reduce((sum, { lost }) => sum + lost!, 0),
      broken: same.filter(({ outcome }) => outcome === 'broken' || outcome === 'invalid').length,
    };
  });
}

/** Nearest rank of sorted values; null: there are none. */
export function quantile(sorted: number[], q: number): number | null {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? null;
}

/** Acknowledged and lost in words; requests store nothing that could be lost. */
export const storedOf = ({ acknowledged, lost }: Repeated): [string, string] =>
  acknowledged === 0 && lost === 0
    ? ['–', '–']
    : [count(acknowledged), lost === null ? 'not known' : count(lost)];

/** A table, a line for each fault: of how many rounds, how long it was away, and what was lost in all of them. */
export function renderRepeated(runs: Pick<DrillRun, 'verdict'>[]): string {
  const found = repeated(runs.map(({ verdict }) => roundOf(verdict)));
  const ms = (value: number | null): string => (value === null ? 'not known' : duration(value));
  const rows = [
    ['SERVICE', 'FAULT', 'ROUNDS', 'AWAY P50', 'P95', 'WORST', 'NOT KNOWN', 'ACKNOWLEDGED', 'LOST', 'BROKEN'],
    ...found.map((one) => [
      ...[one.service, one.fault, String(one.rounds), ms(one.p50Ms), ms(one.p95Ms), ms(one.worstMs)],
      ...[String(one.unknown), ...storedOf(one), String(one.broken)],
    ]),
  ];
  return `${columns(rows).join('\n')}\n`;
}
