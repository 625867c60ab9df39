import type { Timeline } from '../timeline.ts';
import { text } from './escape.ts';
import { count, duration } from './run.ts';

const width = 920;
const left = 64;
const right = 16;
const inner = width - left - right;
const markHeight = 44;
const throughput = { top: markHeight, height: 150 };
const latency = { top: markHeight + 150 + 58, height: 120 };
const height = latency.top + latency.height + 44;
/** Rough width of a character of the labels' 12 px, to keep labels from running into each other. */
const character = 7;

/**
 * Two charts over one time axis as inline SVG: operations a second, and latency (p50 and p99, logarithmic). The fault's
 * band runs through both; the gap that the recovery time is measured by is marked. Colours come from the page's CSS.
 */
export function renderChart(timeline: Timeline, label: string): string {
  const end = Math.max(timeline.endUs, 1);
  const x = (us: number): number => left + (Math.min(us, end) / end) * inner;
  return [
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${text(label)}">`,
    bands(timeline, x, end),
    rates(timeline, x),
    latencies(timeline, x),
    timeAxis(end, x),
    gapMark(timeline, x),
    '</svg>',
  ].join('\n');
}

function bands({ faults }: Timeline, x: (us: number) => number, end: number): string {
  const parts: string[] = [];
  const labels: { at: number; words: string }[] = [];
  const bottom = latency.top + latency.height;
  for (const { fault, target, from, healed, whole } of faults) {
    const until = healed ?? whole ?? end;
    parts.push(rect('fault', x(from), markHeight, x(until) - x(from), bottom - markHeight));
    labels.push({ at: x(from), words: target === undefined ? fault : `${fault} on ${target}` });
    if (healed !== undefined) {
      parts.push(rect('healing', x(healed), markHeight, x(whole ?? end) - x(healed), bottom - markHeight));
      const close = whole !== undefined && x(whole) - x(healed) < 8 * character;
      labels.push({ at: x(healed), words: close ? 'healed, whole' : 'healed' });
      if (close) {
        parts.push(line('mark', x(whole), markHeight, x(whole), bottom));
        continue;
      }
    }
    if (whole !== undefined) labels.push({ at: x(whole), words: 'whole' });
  }
  const ends = [0, 0];
  for (const { at, words } of labels.sort((a, b) => a.at - b.at)) {
    // Against the right edge a label is written to the left of its line.
    const length = words.length * character;
    const flip = at + length > width - right;
    const from = flip ? at - length : at;
    const row = ends.findIndex((taken) => from >= taken);
    // Where many faults follow each other there is room for the lines only; the list below names them all.
    parts.push(line('mark', at, row < 0 ? markHeight : 4 + row * 16, at, bottom));
    if (row < 0) continue;
    ends[row] = from + length + 12;
    const y = 14 + row * 16;
    parts.push(write(flip ? at - 5 : at + 5, y, words, 'mark-label', flip ? 'end' : 'start'));
  }
  return parts.join('\n');
}

function rates({ slices, sliceUs, endUs }: Timeline, x: (us: number) => number): string {
  const { top, height } = throughput;
  // The last slice is rarely full; its rate is that of the part that there was.
  const seconds = slices.map((_, n) => Math.max(1, Math.min(sliceUs, endUs - n * sliceUs)) / 1e6);
  const ok = slices.map((slice, n) => slice.ok / seconds[n]!);
  const errors = slices.map((slice, n) => slice.errors / seconds[n]!);
  if ((seconds[seconds.length - 1] ?? 1) < sliceUs / 2e6) {
    ok[ok.length - 1] = ok[ok.length - 2] ?? 0;
    errors[errors.length - 1] = 0;
  }
  const { most, ticks } = scale(Math.max(...ok, ...errors, 1));
  const y = (value: number): number => top + height - (value / most) * height;
  const area = (values: number[]): string => {
    let path = `M${fix(x(0))} ${fix(y(0))}`;
    for (const [n, value] of values.entries())
      path += `V${fix(y(value))}H${fix(x(Math.min((n + 1) * sliceUs, Math.max(endUs, 1))))}`;
    return `${path}V${fix(y(0))}Z`;
  };
  return [
    ...ticks.map((tick) => line(tick === 0 ? 'axis' : 'grid', left, y(tick), width - right, y(tick))),
    ...ticks.map((tick) => write(left - 8, y(tick) + 4, count(tick), 'tick', 'end')),
    `<path class="ok" d="${area(ok)}"/>`,
    `<path class="errors" d="${area(errors)}"/>`,
    legend(top - 8, 'operations per second', [
      ['ok', 'acknowledged'],
      ['errors', 'failed or timed out'],
    ]),
  ].join('\n');
}

function latencies({ slices, sliceUs }: Timeline, x: (us: number) => number): string {
  const { top, height } = latency;
  const known = slices
    .flatMap(({ p50, p99 }) => [p50, p99])
    .filter((us) => us !== null && us > 0) as number[];
  const low = Math.floor(Math.log10(Math.min(...known, 1000)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known, 1000))));
  const y = (us: number): number =>
    top + height - ((Math.log10(Math.max(us, 10 ** low)) - low) / (high - low)) * height;
  const path = (of: 'p50' | 'p99'): string => {
    let d = '';
    let drawing = false;
    for (const [n, slice] of slices.entries()) {
      const us = slice[of];
      if (us !== null)
        d += `${drawing ? 'L' : 'M'}${fix(x((n + 0.5) * sliceUs))} ${fix(y(us))}${drawing ? '' : 'h.01'}`;
      drawing = us !== null;
    }
    return d;
  };
  const decades = Array.from({ length: high - low + 1 }, (_, n) => low + n);
  return [
    ...decades.map((decade) =>
      line(decade === low ? 'axis' : 'grid', left, y(10 ** decade), width - right, y(10 ** decade)),
    ),
    ...decades.map((decade) =>
      write(left - 8, y(10 ** decade) + 4, duration(10 ** decade / 1000), 'tick', 'end'),
    ),
    `<path class="p50" d="${path('p50')}"/>`,
    `<path class="p99" d="${path('p99')}"/>`,
    legend(top - 8, 'latency, logarithmic', [
      ['p50', 'median'],
      ['p99', '99th percentile'],
    ]),
  ].join('\n');
}

function timeAxis(end: number, x: (us: number) => number): string {
  const bottom = latency.top + latency.height;
  const { ticks } = scale(end / 1e6, 10);
  return [
    ...ticks
      .filter((tick) => tick * 1e6 <= end)
      .flatMap((tick) => [
        line('axis', x(tick * 1e6), bottom, x(tick * 1e6), bottom + 5),
        write(x(tick * 1e6), bottom + 18, String(tick), 'tick', 'middle'),
      ]),
    write(width - right, bottom + 36, 'seconds since the drill began', 'tick', 'end'),
  ].join('\n');
}

/** Between the charts, where nothing else is drawn. */
function gapMark({ gap }: Timeline, x: (us: number) => number): string {
  if (gap === null) return '';
  const y = throughput.top + throughput.height + 12;
  const [from, to] = [x(gap.from), x(gap.to)];
  const words = `${gap.open ? 'no answer any more, ' : 'no answer for '}${duration((gap.to - gap.from) / 1000)}${gap.group === '' ? '' : ` in ${gap.group}`}`;
  const flip = to + words.length * character + 8 > width - right;
  return [
    rect('gap', from, throughput.top, Math.max(1.5, to - from), throughput.height),
    line('gap-line', from, y, to, y),
    line('gap-line', from, y - 5, from, y + 5),
    line('gap-line', to, y - 5, to, y + 5),
    write(flip ? from - 8 : to + 8, y + 4, words, 'gap-label', flip ? 'end' : 'start'),
  ].join('\n');
}

function legend(y: number, title: string, keys: [string, string][]): string {
  const parts = [write(left, y, title, 'title', 'start')];
  let at = width - right - keys.reduce((sum, [, words]) => sum + 15 + words.length * character + 14, 0);
  for (const [key, words] of keys) {
    parts.push(`<rect class="${key} key" x="${fix(at)}" y="${y - 9}" width="10" height="10" rx="2"/>`);
    parts.push(write(at + 15, y, words, 'tick', 'start'));
    at += 15 + words.length * character + 14;
  }
  return parts.join('\n');
}

/** Round steps up to at least `most`. */
export function scale(most: number, about = 4): { most: number; ticks: number[] } {
  const rough = most / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
  const steps = Math.ceil(most / step - 1e-9);
  // Multiples of 0.1 and the like are not exact in binary.
  const ticks = Array.from({ length: steps + 1 }, (_, n) => Number((n * step).toPrecision(12)));
  return { most: ticks[ticks.length - 1]!, ticks };
}

function fix(n: number): string {
  return String(Number(n.toFixed(1)));
}
function rect(kind: string, x: number, y: number, w: number, h: number): string {
  return `<rect class="${kind}" x="${fix(x)}" y="${fix(y)}" width="${fix(Math.max(0, w))}" height="${fix(h)}"/>`;
}
function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${kind}" x1="${fix(x1)}" y1="${fix(y1)}" x2="${fix(x2)}" y2="${fix(y2)}"/>`;
}
function write(
  x: number,
  y: number,
  words: string,
  kind: string,
  anchor: 'start' | 'middle' | 'end',
): string {
  return `<text class="${kind}" x="${fix(x)}" y="${fix(y)}" text-anchor="${anchor}">${text(words)}</text>`;
}
