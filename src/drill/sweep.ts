import { quantile } from './repeated.ts';
import { scale } from './report/chart.ts';
import { text } from './report/escape.ts';
import { duration, lostText } from './report/run.ts';

/** What one value of a setting came to. Milliseconds. */
export interface Tried {
  value: string;
  /** How long clients were away, of each run; null: not known. */
  away: (number | null)[];
  /** Acknowledged writes that were lost, of all runs; null: not known. */
  lost: number | null;
  /** Of these, lost for certain. */
  lostAtLeast: number;
  /** Runs whose verdict was not valid: something was wrong, or too little was proven. */
  unsound: number;
  /** How often a role moved although nothing was broken, with every core busy; null: not known. */
  moves: number | null;
  /** How long that was watched. */
  watchedMs: number;
}

export interface Sweep {
  cluster: string;
  service: string;
  /** As the user wrote it: `advert`, `node-timeout`. */
  setting: string;
  fault: string;
  tried: Tried[];
}

const known = (tried: Tried): number[] => tried.away.filter((one) => one !== null).sort((a, b) => a - b);
const worst = (tried: Tried): number => known(tried).at(-1) ?? Number.POSITIVE_INFINITY;
const median = (tried: Tried): number | null => quantile(known(tried), 0.5);
/** Runs of which nobody knows how long they were, and those that prove too little or something bad. */
const doubts = (tried: Tried): string => {
  const missing = tried.away.length - known(tried).length;
  const unknown = missing === 0 || missing === tried.away.length ? '' : `, ${missing} not known`;
  return tried.unsound === 0 ? unknown : `${unknown}, ${tried.unsound} not valid`;
};

/**
 * The value that we would take: of those that never failed over for nothing, lost nothing and whose every run is known and valid, the one whose
 * worst run was the shortest; of equals the first. Undefined: none.
 */
export function choose({ tried }: Sweep): Tried | undefined {
  const sound = tried.filter(
    (one) =>
      one.moves === 0 &&
      one.lost === 0 &&
      one.unsound === 0 &&
      one.away.every((ms) => ms !== null) &&
      one.away.length > 0,
  );
  return sound.sort((a, b) => worst(a) - worst(b))[0];
}

const movesOf = ({ moves }: Tried): string => (moves === null ? 'not known' : String(moves));

const outOf = (ms: number): string => `in ${duration(ms)} with every core busy`;

/** A line for each value, then the choice; none of a sweep that was interrupted. */
export function renderSweep(sweep: Sweep, interrupted = false): string {
  const rows = [
    [sweep.setting, 'AWAY (MEDIAN)', 'AWAY (WORST)', 'LOST', 'FALSE FAILOVERS'],
    ...sweep.tried.map((one) => [
      one.value,
      median(one) === null ? 'not known' : duration(median(one)!),
      (worst(one) === Number.POSITIVE_INFINITY ? 'not known' : duration(worst(one))) + doubts(one),
      lostText(one.lost, one.lostAtLeast),
      movesOf(one),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row.map((cell, n) => (n === 0 ? cell.padEnd(widths[n]!) : cell.padStart(widths[n]!))).join('  '),
  );
  const watched = sweep.tried[0]?.watchedMs;
  if (watched !== undefined) lines.push('', `false failovers: ${outOf(watched)}`);
  lines.push(chosen(sweep, interrupted));
  return `${lines.join('\n')}\n`;
}

function chosen(sweep: Sweep, interrupted: boolean): string {
  if (interrupted) return 'Interrupted before every value was tried: we would take none of these yet';
  const best = choose(sweep);
  return best === undefined
    ? `We would take none of these: each failed over for nothing, lost something, is not known or was not valid`
    : `We would take ${sweep.setting} ${best.value}: away ${duration(worst(best))} at worst, nothing lost, no false failover`;
}

const width = 920;
const height = 360;
const edge = { left: 72, right: 72, top: 24, bottom: 56 };

/** A page that stands alone: every run's time away as a dot over its value, false failovers as bars. */
export function renderSweepHtml(sweep: Sweep, interrupted = false): string {
  const { tried, setting, service, fault, cluster } = sweep;
  const most = scale(Math.max(1, ...tried.flatMap(known)));
  const moves = scale(Math.max(1, ...tried.map((one) => one.moves ?? 0)), 3);
  const floor = height - edge.bottom;
  const column = (width - edge.left - edge.right) / Math.max(1, tried.length);
  const x = (n: number): number => edge.left + column * (n + 0.5);
  const y = (value: number, top: number): number => floor - (value / top) * (floor - edge.top);
  const at = (value: number): string => value.toFixed(1);
  const middle = (edge.top + floor) / 2;
  const title = (left: number, words: string): string =>
    `<text class="title" x="${left}" y="${middle}" text-anchor="middle" transform="rotate(-90 ${left} ${middle})">${words}</text>`;
  const parts = [
    title(14, 'away'),
    title(width - 10, 'false failovers'),
    ...moves.ticks
      .filter((tick) => Number.isInteger(tick))
      .map(
        (tick) =>
          `<text class="moved" x="${width - edge.right + 8}" y="${at(y(tick, moves.most) + 4)}">${tick}</text>`,
      ),
    ...most.ticks.map(
      (tick) =>
        `<line class="grid" x1="${edge.left}" y1="${at(y(tick, most.most))}" x2="${width - edge.right}" y2="${at(y(tick, most.most))}"/>` +
        `<text x="${edge.left - 8}" y="${at(y(tick, most.most) + 4)}" text-anchor="end">${duration(tick)}</text>`,
    ),
    ...tried.map((one, n) => {
      const top = y(one.moves ?? 0, moves.most);
      return `<rect class="moves" x="${at(x(n) - 14)}" y="${at(top)}" width="28" height="${at(floor - top)}"><title>false failovers: ${movesOf(one)}</title></rect>`;
    }),
    ...tried.flatMap((one, n) =>
      known(one).map(
        (ms) =>
          `<circle class="away" cx="${at(x(n))}" cy="${at(y(ms, most.most))}" r="5"><title>${duration(ms)}</title></circle>`,
      ),
    ),
    ...tried.map(
      (one, n) =>
        `<text x="${at(x(n))}" y="${floor + 20}" text-anchor="middle">${text(one.value)}</text>` +
        `<text class="moved" x="${at(x(n))}" y="${floor + 38}" text-anchor="middle">false: ${movesOf(one)}</text>`,
    ),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${text(setting)} of ${text(service)}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; } text { font: 12px system-ui, sans-serif; fill: currentColor; }
.grid { stroke: currentColor; stroke-opacity: .15; } .away { fill: #2563eb; fill-opacity: .8; }
.moves { fill: #dc2626; fill-opacity: .45; } .moved { fill-opacity: .7; }
pre { overflow-x: auto; }
</style>
</head>
<body>
<h1>${text(setting)} of ${text(service)} in ${text(cluster)}</h1>
<p>${text(chosen(sweep, interrupted))}. Dots: how long clients were away after ${text(fault)}, a dot a run. Bars: failovers with nothing broken, every core busy.</p>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Time away and false failovers by ${text(setting)}">
${parts.join('\n')}
</svg>
<pre>${text(renderSweep(sweep))}</pre>
</body>
</html>
`;
}
