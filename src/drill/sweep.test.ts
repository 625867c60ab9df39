import { expect, test } from 'vitest';
import { choose, renderSweep, renderSweepHtml, type Sweep, type Tried } from './sweep.ts';

const tried = (value: string, more: Partial<Tried> = {}): Tried => ({
  value,
  away: [100, 300, 200],
  lost: 0,
  lostAtLeast: 0,
  unsound: 0,
  moves: 0,
  watchedMs: 20_000,
  ...more,
});
const sweep = (...all: Tried[]): Sweep => ({
  cluster: 'shop',
  service: 'cart',
  setting: 'node-timeout',
  fault: 'kill-master',
  tried: all,
});

test('the choice is the quickest that never failed over for nothing and lost nothing', () => {
  const quick = tried('200ms', { away: [50, 60, 70], moves: 2 });
  const lossy = tried('500ms', { away: [80], lost: 3 });
  const doubtful = tried('700ms', { away: [80, null] });
  const slow = tried('5s', { away: [6000] });
  expect(choose(sweep(quick, lossy, doubtful, slow, tried('1s')))?.value).toBe('1s');
  expect(choose(sweep(quick, lossy, doubtful, tried('1s', { unsound: 1 })))).toBeUndefined();
  expect(choose(sweep(tried('1s', { moves: null })))).toBeUndefined();
});

test('the table has a line for each value and says the choice, or that there is none', () => {
  const table = renderSweep(sweep(tried('200ms', { moves: 2 }), tried('1s')));
  expect(table).toMatch(/200ms +200 ms +300 ms +0 +2\n1s +200 ms +300 ms +0 +0\n/);
  expect(table).toContain('We would take node-timeout 1s: away 300 ms at worst');
  expect(renderSweep(sweep(tried('1s', { lost: null })))).toContain('We would take none');
});

test('a run that is not known is not hidden behind those that are', () => {
  const table = renderSweep(sweep(tried('1s', { away: [100, null, 300] }), tried('2s', { away: [null] })));
  expect(table).toMatch(/1s +100 ms +300 ms, 1 not known +0 +0\n2s +not known +not known +0 +0\n/);
  expect(renderSweep(sweep(tried('1s', { lost: null, lostAtLeast: 3 })))).toMatch(/ 3 or more +0\n/);
  expect(renderSweep(sweep(tried('1s', { unsound: 2 })))).toMatch(/1s +200 ms +300 ms, 2 not valid +0 +0\n/);
});

test('the page draws every run, and nothing of the file can break out of it', () => {
  const page = renderSweepHtml({ ...sweep(tried('1s')), service: '<script>' });
  expect(page.match(/class="away"/g)).toHaveLength(3 + 1 - 1);
  expect(page).not.toContain('<script>');
});
