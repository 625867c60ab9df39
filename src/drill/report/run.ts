import type { Comparison } from '../comparison.ts';
import type { Timeline } from '../timeline.ts';
import { countOf, isWrong, type Verdict } from '../verdict.ts';

/** One drill as reports take it. */
export interface DrillRun {
  verdict: Verdict;
  timeline: Timeline;
  /** Against the last run of the same drill, where there was one. */
  comparison?: Comparison;
}

/** 'freeze-master of cart@data1'; a run without a fault is a baseline. */
export function faultOf({ verdict }: DrillRun): string {
  const { fault } = verdict.drill;
  if (fault === null) return 'no fault';
  return fault.target === undefined ? fault.name : `${fault.name} on ${fault.target}`;
}

/** What the drill comes to in one word: the promise where there is one, else the verdict. */
export function outcomeOf({
  verdict,
}: Pick<DrillRun, 'verdict'>): 'kept' | 'broken' | 'valid' | 'invalid' | 'unknown' {
  const { result } = verdict.promise;
  if (result === 'broken') return result;
  if (isWrong(verdict)) return 'invalid';
  return result ?? verdict.result;
}

/** How long it was away: '1.24 s', 'at least 20 s', 'not known'. */
export function awayOf({ verdict }: DrillRun): string {
  const { rtoMs, atLeast } = verdict.recovery;
  if (rtoMs === null) return verdict.drill.fault === null ? '–' : 'not known';
  return `${atLeast ? 'at least ' : ''}${duration(rtoMs)}`;
}

/** On which services the gap is blamed: 'events 97%, cart 3%'; '' where clients do not tell. */
export function blameOf({ verdict }: DrillRun): string {
  const { blame = [] } = verdict.recovery;
  return blame.map(({ service, share }) => `${service} ${Math.round(share * 100)}%`).join(', ');
}

/** Connections that were open in the fault and survived it, of how many: '24 of 27'; '' where clients have none that last. */
export function survivedOf({ verdict }: DrillRun): string {
  const { lasting = [] } = verdict;
  const of = (what: 'struck' | 'survived'): number => lasting.reduce((sum, one) => sum + one[what], 0);
  return lasting.length === 0 ? '' : `${count(of('survived'))} of ${count(of('struck'))}`;
}

/** A sentence for each kind of connections that last: '6 of 8 websockets survived; those cut were back after 340 ms'. */
export function lastingOf({ verdict }: DrillRun): string[] {
  return (verdict.lasting ?? []).map((one) => {
    const { kind, struck, survived, brokenOutside, longestAwayMs, notBack = 0 } = one;
    const back =
      notBack > 0
        ? `; ${count(notBack)} never came back`
        : longestAwayMs === undefined || longestAwayMs === null
          ? ''
          : `; those cut were back after ${duration(longestAwayMs)} at most`;
    const elsewhen = brokenOutside > 0 ? `; ${count(brokenOutside)} broke at another time` : '';
    return `${count(survived)} of ${count(struck)} ${kind} survived${back}${elsewhen}`;
  });
}

/** How many acknowledged writes were lost; a doubt is not a zero, and hides nothing that was found. */
export const lostOf = ({ verdict: { lost, anomalies } }: DrillRun): string =>
  lostText(lost, countOf(anomalies, 'lost'));

/** `found` of what is known, where not all is (`lost` is null). */
export function lostText(lost: number | null, found: number): string {
  if (lost !== null) return count(lost);
  return found === 0 ? 'not known' : `${count(found)} or more`;
}

/** Acknowledged writes of something that is stored; requests store nothing that could be looked up. */
export const writesOf = ({ models }: Verdict): number =>
  Object.entries(models)
    .filter(([model]) => model !== 'request')
    .reduce((sum, [, counts]) => sum + (counts['acknowledged'] ?? 0), 0);

/** One or two sentences for a person in a hurry. */
export function headline(run: DrillRun): string {
  const { verdict } = run;
  const { rto, lostWrites } = verdict.promise;
  let away = '';
  if (verdict.drill.fault !== null) {
    away = verdict.recovery.rtoMs === null ? 'How long it was away is not known' : `Away for ${awayOf(run)}`;
    if (rto !== undefined)
      away += `, promised ${duration(rto.promisedMs)}${rto.overMs > 0 ? `: ${duration(rto.overMs)} too long` : ''}`;
    const whose = blameOf(run);
    away += whose === '' ? '. ' : `, because of ${whose}. `;
  }
  const stored = Object.entries(verdict.models).filter(([model]) => model !== 'request');
  if (stored.length === 0) {
    const { attempted, acknowledged } = verdict.operations;
    return `${away}${count(acknowledged)} of ${count(attempted)} requests were answered.`;
  }
  const writes = count(writesOf(verdict));
  const lost =
    verdict.lost === null && countOf(verdict.anomalies, 'lost') === 0
      ? `Whether any of ${writes} acknowledged writes was lost is not known`
      : `${verdict.lost === 0 ? 'None' : lostOf(run)} of ${writes} acknowledged writes lost`;
  const allowed =
    lostWrites !== undefined && lostWrites.promised > 0
      ? `, promised at most ${count(lostWrites.promised)}`
      : '';
  return `${away}${lost}${allowed}.`;
}

/** '35 ms', '1.24 s', '2 min 5 s'. */
export function duration(ms: number): string {
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${Number((ms / 1000).toPrecision(3))} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min${seconds % 60 === 0 ? '' : ` ${seconds % 60} s`}`;
}

/** 1234567 as '1,234,567', whatever the machine's language is. */
export function count(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}
