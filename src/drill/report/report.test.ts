import { expect, test } from 'vitest';
import { compare } from '../comparison.ts';
import type { Line } from '../history.ts';
import { isFault } from '../history.ts';
import { type PlantedOptions, planted } from '../planted.ts';
import { Analysis } from '../verdict.ts';
import { scale } from './chart.ts';
import { renderHtml } from './html.ts';
import { renderJson } from './json.ts';
import { renderJunit } from './junit.ts';
import { count, type DrillRun, duration } from './run.ts';
import { renderTerminal, renderTimeline } from './terminal.ts';

function run(
  service: string,
  options: PlantedOptions,
  change: (lines: Line[]) => Line[] = (lines) => lines,
): DrillRun {
  const analysis = new Analysis();
  for (const line of change(planted(options))) analysis.feed('history' in line ? { ...line, service } : line);
  return analysis.finish();
}

const kept = run('cart', { seed: 1, promise: { rtoMs: 2000, lostWrites: 0 } });
const broken = run('front', { seed: 2, defect: 'set loses', promise: { rtoMs: 100, lostWrites: 0 } });
const doubtful = run('jobs', { seed: 3 }, (lines) =>
  lines.filter((line) => !(isFault(line) && line.phase === 'evidence')),
);
const runs = [{ ...kept, comparison: compare(kept.verdict, kept.verdict) }, broken, doubtful];

test('the page stands alone: no script, nothing fetched, every drill with its chart and its result', () => {
  const page = renderHtml(runs);
  expect(page).not.toMatch(/<script|<link|<img|@import|url\(|https?:/);
  expect(page.match(/<svg /g)?.length).toBe(3);
  for (const words of ['promise kept', 'promise broken', 'unknown', 'no evidence that the fault'])
    expect(page).toContain(words);
  expect(page).toContain('prefers-color-scheme: dark');
  expect(page).not.toMatch(/NaN|Infinity|undefined/);
  expect(renderHtml(runs)).toBe(page);
});

test('what a member or a client says cannot become markup', () => {
  const evil = '<img src=x onerror=alert(1)>&"';
  const page = renderHtml([
    run(evil, { seed: 1 }, (lines) =>
      lines.map((line) => (isFault(line) ? { ...line, target: evil, detail: evil } : line)),
    ),
  ]);
  expect(page).not.toContain('<img');
  expect(page).toContain('&lt;img src=x onerror=alert(1)&gt;&amp;&quot;');
});

test('the chart marks the gap where it was', () => {
  const page = renderHtml([kept]);
  expect(page).toContain(
    `no answer for ${duration(kept.verdict.recovery.gap!.toMs - kept.verdict.recovery.gap!.fromMs)}`,
  );
  const [, x, width] = page.match(/class="gap" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/)!;
  const { gap, endUs } = kept.timeline;
  expect(Number(x)).toBeCloseTo(64 + (gap!.from / endUs) * 840, 0);
  expect(Number(width)).toBeCloseTo(((gap!.to - gap!.from) / endUs) * 840, 0);
});

test('the terminal shows a line per service, with the gap where it was', () => {
  const lines = renderTerminal(runs, 80).split('\n');
  expect(lines[0]).toMatch(/^SERVICE +FAULT +AWAY +PROMISED +LOST/);
  expect(lines[1]).toMatch(/^cart .* 2 s +0 .* kept$/);
  expect(lines[2]).toMatch(/^front .* 100 ms +1 .* broken$/);
  expect(lines[3]).toMatch(/^jobs .* unknown$/);
  for (const line of lines.slice(5, 8)) {
    expect(line.length).toBeLessThanOrEqual(80);
    expect(line).toMatch(/^\w+ +[▅▆▇█]{10,}\[[▁▂▃▄▅▆▇ ]?[× ]{4,}.*\][▅▆▇█]{10,}$/);
  }
});

test('a steady service has no holes in its line, however wide it is', () => {
  const steady = { sliceUs: 50_000, endUs: 2_000_000, faults: [], gap: null };
  const slices = Array.from({ length: 40 }, () => ({ ok: 25, errors: 0, p50: 1, p99: 2 }));
  for (const width of [20, 39, 41, 97, 160])
    expect(renderTimeline({ ...steady, slices }, width)).toBe('█'.repeat(width));
});

test('JUnit: broken is a failure, unknown an error, never a pass', () => {
  const xml = renderJunit(runs);
  const suites = xml.split('<testsuite ').slice(1);
  expect(suites[0]).toContain('tests="3" failures="0" errors="0"');
  expect(suites[1]).toContain('tests="3" failures="3" errors="0"');
  expect(suites[2]).toContain('tests="1" failures="0" errors="1"');
  expect(suites[2]).toContain('no evidence that the fault freeze-master took effect');
  expect(renderJunit([run('a\u0001<b>', { seed: 1 })])).toContain('classname="a\ufffd&lt;b&gt;"');
});

test('a loss that the promise allows is no failure in CI', () => {
  const allowed = run('cart', { seed: 2, defect: 'set loses', promise: { lostWrites: 5 } });
  expect(renderJunit([allowed])).toContain('tests="2" failures="0" errors="0"');
  expect(renderJunit([run('cart', { seed: 2, defect: 'set loses' })])).toContain('failures="1"');
});

test('the JSON holds the verdicts and the comparison, the same bytes every time', () => {
  const report = JSON.parse(renderJson(runs));
  expect(report.drills.map((drill: { verdict: { result: string } }) => drill.verdict.result)).toEqual([
    'valid',
    'invalid',
    'unknown',
  ]);
  expect(report.drills[0].comparison.outcome).toBe('same');
  expect(renderJson(runs)).toBe(renderJson(runs));
});

test('figures read well', () => {
  expect([0, 3.27, 35.4, 999.4, 1237.5, 59_960, 125_000].map(duration)).toEqual([
    '0 ms',
    '3.3 ms',
    '35 ms',
    '999 ms',
    '1.24 s',
    '1 min',
    '2 min 5 s',
  ]);
  expect([0, 999, 1000, 1234567].map(count)).toEqual(['0', '999', '1,000', '1,234,567']);
  expect(scale(1530)).toEqual({ most: 2000, ticks: [0, 500, 1000, 1500, 2000] });
  expect(scale(0.31).ticks).toEqual([0, 0.1, 0.2, 0.3, 0.4]);
});
