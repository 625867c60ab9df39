import { count, type DrillRun, duration, lostText, outcomeOf, writesOf } from './report/run.ts';
import { columns } from './report/terminal.ts';
import { countOf, notBack, type Verdict } from './verdict.ts';

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
  /** Lost for certain, where not all is known. */
  lostAtLeast?: number;
  /** Clients were not served again when the drill ended. */
  notBack?: true;
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
    ...(verdict.lost === null ? { lostAtLeast: countOf(verdict.anomalies, 'lost') } : {}),
    ...(notBack(recovery) ? { notBack: true } : {}),
  };
}

/**
 * Rounds of one fault on one service at one timing. Milliseconds; percentiles by nearest rank, of the rounds that are known: one after which clients were
 * not served again is longer than all others, and null where the percentile is such a one.
 */
export interface Repeated {
  service: string;
  fault: string;
  timing?: string;
  rounds: number;
  /** Of these it is not known how long clients were away. */
  unknown: number;
  /** After these, clients were not served again. */
  notBack: number;
  p50Ms: number | null;
  p95Ms: number | null;
  worstMs: number | null;
  acknowledged: number;
  lost: number | null;
  /** Of all rounds, whatever is not known of others. */
  lostAtLeast: number;
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
    const never = same.filter((round) => round.notBack).length;
    const known = same.flatMap(({ awayMs }) => (awayMs === null ? [] : [awayMs])).sort((a, b) => a - b);
    const away = [...known, ...Array<number>(never).fill(Number.POSITIVE_INFINITY)];
    const rank = (q: number): number | null => {
      const ms = quantile(away, q);
      return ms === Number.POSITIVE_INFINITY ? null : ms;
    };
    const sum = (of: (round: Round) => number): number => same.reduce((total, one) => total + of(one), 0);
    const lostAtLeast = sum((round) => round.lost ?? round.lostAtLeast ?? 0);
    return {
      service,
      fault,
      ...(timing === undefined ? {} : { timing }),
      rounds: same.length,
      unknown: same.length - away.length,
      notBack: never,
      p50Ms: rank(0.5),
      p95Ms: rank(0.95),
      worstMs: rank(1),
      acknowledged: sum((round) => round.acknowledged),
      lost: same.some(({ lost }) => lost === null) ? null : lostAtLeast,
      lostAtLeast,
      broken: same.filter(({ outcome }) => outcome === 'broken' || outcome === 'invalid').length,
    };
  });
}

/** Nearest rank of sorted values; null: there are none. */
export function quantile(sorted: number[], q: number): number | null {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? null;
}

/** Acknowledged and lost in words; requests store nothing that could be lost. */
export const storedOf = ({ acknowledged, lost, lostAtLeast }: Repeated): [string, string] =>
  acknowledged === 0 && lost === 0 ? ['–', '–'] : [count(acknowledged), lostText(lost, lostAtLeast)];

/** A percentile in words. */
export const rankOf = (ms: number | null, { notBack }: Repeated): string =>
  ms !== null ? duration(ms) : notBack > 0 ? 'not back' : 'not known';

/** A table, a line for each fault: of how many rounds, how long it was away, and what was lost in all of them. */
export function renderRepeated(runs: Pick<DrillRun, 'verdict'>[]): string {
  const found = repeated(runs.map(({ verdict }) => roundOf(verdict)));
  const rows = [
    ['SERVICE', 'FAULT', 'ROUNDS', 'AWAY P50', 'P95', 'WORST', 'NOT KNOWN', 'ACKNOWLEDGED', 'LOST', 'BROKEN'],
    ...found.map((one) => [
      ...[one.service, one.fault, String(one.rounds)],
      ...[one.p50Ms, one.p95Ms, one.worstMs].map((ms) => rankOf(ms, one)),
      ...[String(one.unknown), ...storedOf(one), String(one.broken)],
    ]),
  ];
  return `${columns(rows).join('\n')}\n`;
}
