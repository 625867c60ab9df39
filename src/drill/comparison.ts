import { notBack, type Verdict } from './verdict.ts';

/** This run against the last one of the same drill. */
export interface Comparison {
  /** Whether both ran the same fault on the same service; what follows is only then worth reading. */
  sameDrill: boolean;
  /** What else differs: 'seed', 'file', 'versions.redis', ... */
  differs: string[];
  outcome: 'better' | 'worse' | 'same' | 'not comparable';
  result: { before: Verdict['result']; now: Verdict['result'] };
  rto: { beforeMs: number | null; nowMs: number | null; changeMs: number | null };
  lost: { before: number | null; now: number | null; change: number | null };
}

/** Below a tenth, or below what both runs could resolve, a change of the recovery time is noise. */
const noise = 0.1;

/** Compares two verdicts. A service that is gone outweighs a loss, a loss outweighs any time. */
export function compare(now: Verdict, before: Verdict): Comparison {
  const differs: string[] = [];
  for (const key of ['engine', 'seed', 'file', 'client', 'timing'] as const)
    if (now.drill[key] !== before.drill[key]) differs.push(key);
  const versions = new Set([...Object.keys(now.drill.versions), ...Object.keys(before.drill.versions)]);
  for (const name of [...versions].sort())
    if (now.drill.versions[name] !== before.drill.versions[name]) differs.push(`versions.${name}`);

  const sameDrill =
    now.drill.service === before.drill.service &&
    now.drill.fault?.name === before.drill.fault?.name &&
    now.drill.fault?.target === before.drill.fault?.target &&
    now.drill.fault?.forMs === before.drill.fault?.forMs;
  const rto = difference(now.recovery.rtoMs, before.recovery.rtoMs);
  const lost = difference(now.lost, before.lost);

  let outcome: Comparison['outcome'] = 'same';
  const steps = rank(now) - rank(before);
  const resolution = Math.max(
    noise * (before.recovery.rtoMs ?? 0),
    now.recovery.baselineGapMs ?? 0,
    before.recovery.baselineGapMs ?? 0,
  );
  if (!sameDrill || now.result === 'unknown' || before.result === 'unknown') outcome = 'not comparable';
  else if (notBack(now.recovery) !== notBack(before.recovery))
    outcome = notBack(now.recovery) ? 'worse' : 'better';
  else if (lost !== null && lost !== 0) outcome = lost > 0 ? 'worse' : 'better';
  else if (steps !== 0) outcome = steps > 0 ? 'worse' : 'better';
  else if (rto === null) outcome = 'not comparable';
  else if (Math.abs(rto) > resolution) outcome = rto > 0 ? 'worse' : 'better';
  return {
    sameDrill,
    differs,
    outcome,
    result: { before: before.result, now: now.result },
    rto: { beforeMs: before.recovery.rtoMs, nowMs: now.recovery.rtoMs, changeMs: rto },
    lost: { before: before.lost, now: now.lost, change: lost },
  };
}

function rank(verdict: Verdict): number {
  return verdict.result === 'invalid' ? 1 : 0;
}

function difference(now: number | null, before: number | null): number | null {
  return now === null || before === null ? null : Math.round((now - before) * 1000) / 1000;
}
