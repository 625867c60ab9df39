import { existsSync, readFileSync } from 'node:fs';
import { quantile, type Round, rankOf, repeated, storedOf } from '../../src/drill/repeated.ts';
import { count, lostText } from '../../src/drill/report/run.ts';

/** A line of the results, one drill: `service` is the engine's name here. */
export type Line = Round & { at: string; seconds: number; load: number; seed: number; why?: string };

/** Every drill in a file of results; none where there is no file. */
export const linesOf = (file: string): Line[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Line)
    : [];

/** Under what a drill was made: the machine's load by the median, and how long the shortest and the longest took. */
function circumstances(lines: Line[]): string {
  const kinds = Map.groupBy(lines, ({ service, timing }) => [service, timing ?? []].flat().join(' '));
  const each = [...kinds].map(([kind, same]) => {
    const sorted = (of: (line: Line) => number): number[] => same.map(of).sort((a, b) => a - b);
    const seconds = sorted(({ seconds }) => seconds).map(Math.round);
    return `${kind} ${quantile(
      sorted(({ load }) => load),
      0.5,
    )} (${seconds[0]} to ${seconds.at(-1)} s)`;
  });
  return `Median load of the machine, and how long a drill took: ${each.join(', ')}.`;
}

/** What is measured, in the table's order. */
export const measured = [
  'director',
  'redis-sentinel',
  'redis-cluster',
  'zookeeper',
  'kafka',
  'rabbitmq',
] as const;

const placeOf = ({ service, timing }: Line): number =>
  2 * (measured as readonly string[]).indexOf(service) + (timing === 'default' ? 1 : 0);

/** The table for docs/performance.md, and what all rounds come to. */
export function table(all: Line[]): string[] {
  const lines = [...all].sort((a, b) => placeOf(a) - placeOf(b));
  const rows = repeated(lines).map((one) =>
    [
      ...[
        one.service,
        one.fault,
        one.timing ?? '',
        one.rounds,
        ...[one.p50Ms, one.p95Ms, one.worstMs].map((ms) => rankOf(ms, one)),
      ],
      ...[one.unknown, ...storedOf(one)],
    ].join(' | '),
  );
  const kills = repeated(lines.filter(({ fault, acknowledged }) => /^kill-/.test(fault) && acknowledged > 0));
  const sum = (of: (one: (typeof kills)[number]) => number): number =>
    kills.reduce((total, one) => total + of(one), 0);
  const head =
    'engine | fault | timing | rounds | away p50 | p95 | worst | not known | acknowledged | lost'.split(
      ' | ',
    );
  return [
    `| ${head.join(' | ')} |`,
    `| ${head.map(() => '---').join(' | ')} |`,
    ...rows.map((row) => `| ${row} |`),
    '',
    circumstances(lines),
    '',
    `All kills together: ${count(sum(({ acknowledged }) => acknowledged))} acknowledged writes in ${sum(({ rounds }) => rounds)} drills, ${lostText(
      kills.some(({ lost }) => lost === null) ? null : sum(({ lost }) => lost!),
      sum(({ lostAtLeast }) => lostAtLeast),
    )} lost.`,
  ];
}
