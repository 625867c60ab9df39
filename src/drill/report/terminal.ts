import type { Timeline } from '../timeline.ts';
import {
  awayOf,
  blameOf,
  count,
  type DrillRun,
  duration,
  faultOf,
  lastingOf,
  lostOf,
  outcomeOf,
  survivedOf,
} from './run.ts';

const blocks = '▁▂▃▄▅▆▇█';

/** One table of all drills, then a line per service: how many operations were acknowledged over time. Plain text, `width` columns. */
export function renderTerminal(runs: DrillRun[], width = 100): string {
  // Only some clients have connections that last.
  const lasting = runs.some((run) => survivedOf(run) !== '');
  const rows = [
    [
      ...['SERVICE', 'FAULT', 'AWAY', 'PROMISED', 'LOST', 'DUPLICATED', 'STALE', 'ERRORS', 'P99'],
      ...(lasting ? ['SURVIVED'] : []),
      'RESULT',
    ],
    ...runs.map((run) => {
      const { verdict } = run;
      const { promise, recovery } = verdict;
      return [
        verdict.drill.service,
        faultOf(run),
        awayOf(run),
        promise.rto === undefined ? '–' : duration(promise.rto.promisedMs),
        lostOf(run),
        count(verdict.duplicated),
        count(verdict.stale),
        count(recovery.errorsOutsideGap),
        recovery.p99OutsideGapMs === null ? '–' : duration(recovery.p99OutsideGapMs),
        ...(lasting ? [survivedOf(run) || '–'] : []),
        outcomeOf(run),
      ];
    }),
  ];
  const name = Math.max(...runs.map((run) => run.verdict.drill.service.length), 0);
  const lines = [...columns(rows), ''];
  for (const run of runs) {
    const { service } = run.verdict.drill;
    lines.push(`${service.padEnd(name)}  ${renderTimeline(run.timeline, Math.max(20, width - name - 2))}`);
  }
  lines.push(
    `${' '.repeat(name)}  █ acknowledged operations a second, × only errors, [ ] from the fault to whole again`,
  );
  for (const run of runs) {
    const whose = blameOf(run);
    if (whose !== '') lines.push(`${faultOf(run)}: away because of ${whose}`);
  }
  for (const run of runs) {
    const sentences = lastingOf(run);
    if (sentences.length > 0)
      lines.push(`${run.verdict.drill.service}, ${faultOf(run)}: ${sentences.join(', ')}`);
  }
  for (const run of runs)
    for (const why of run.verdict.why) lines.push(`${run.verdict.drill.service}: ${why}`);
  return `${lines.join('\n')}\n`;
}

/** One line of block characters; a column in which nothing was acknowledged is empty, or × where operations failed. */
export function renderTimeline(timeline: Timeline, width: number): string {
  const { slices, sliceUs, endUs, faults } = timeline;
  const inner = Math.max(1, width - 2 * faults.length);
  const per = Math.max(1, endUs) / inner;
  const ok = new Array<number>(inner).fill(0);
  const errors = new Array<number>(inner).fill(0);
  for (const [n, slice] of slices.entries()) {
    // A slice is spread over the columns it covers, or wide columns would look like gaps.
    const from = (n * sliceUs) / per;
    const to = Math.min(endUs, (n + 1) * sliceUs) / per;
    const last = Math.min(inner - 1, Math.max(Math.floor(from), Math.ceil(to) - 1));
    for (let column = Math.floor(from); column <= last; column++) {
      const share = to > from ? (Math.min(to, column + 1) - Math.max(from, column)) / (to - from) : 1;
      ok[column] = ok[column]! + slice.ok * share;
      errors[column] = errors[column]! + slice.errors * share;
    }
  }
  const most = Math.max(...ok, 1e-9);
  const cells = ok.map((value, n) => {
    // Less than a fiftieth of the usual is what spreading leaves at a gap's edge.
    if (value < most / 50) return errors[n]! >= 0.5 ? '×' : ' ';
    return blocks[Math.min(7, Math.floor((value / most) * 8))]!;
  });
  const marks: [number, string][] = faults.flatMap(({ from, whole }): [number, string][] => [
    [from / per, '['],
    [(whole ?? endUs) / per, ']'],
  ]);
  marks.sort(([a], [b]) => b - a);
  for (const [at, mark] of marks) cells.splice(Math.min(cells.length, Math.round(at)), 0, mark);
  return cells.join('').slice(0, width);
}

/** Aligned columns, two spaces between; the first two and the last are words, the rest figures. */
export function columns(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, n) => Math.max(...rows.map((row) => row[n]!.length)));
  return rows.map((row) =>
    row
      .map((cell, n) => (n < 2 || n === row.length - 1 ? cell.padEnd(widths[n]!) : cell.padStart(widths[n]!)))
      .join('  ')
      .trimEnd(),
  );
}
