import { expect, test } from 'vitest';
import { type Round, rankOf, repeated, storedOf } from './repeated.ts';

const round = (awayMs: number | null, more: Partial<Round> = {}): Round => ({
  ...{ service: 'cart', fault: 'kill-master', timing: 'fast', outcome: 'kept', acknowledged: 1_000, lost: 0 },
  awayMs,
  ...more,
});

test('rounds of a fault are put together: percentiles by nearest rank, sums of what was acknowledged and lost', () => {
  const rounds = Array.from({ length: 20 }, (_, n) => round((20 - n) * 10));
  expect(repeated(rounds)).toEqual([
    {
      ...{ service: 'cart', fault: 'kill-master', timing: 'fast', rounds: 20, unknown: 0, notBack: 0 },
      ...{ p50Ms: 100, p95Ms: 190, worstMs: 200, acknowledged: 20_000, lost: 0, lostAtLeast: 0, broken: 0 },
    },
  ]);
});

test('another fault, another timing, another service: not put together', () => {
  const rounds = [round(1), round(2, { fault: 'freeze-master' }), round(3, { timing: 'default' }), round(4)];
  expect(repeated(rounds).map(({ rounds, worstMs }) => [rounds, worstMs])).toEqual([
    [2, 4],
    [1, 2],
    [1, 3],
  ]);
});

test('what is not known is said, and never counts as nothing', () => {
  expect(repeated([round(null, { outcome: 'unknown', lost: null }), round(7)])).toMatchObject([
    { rounds: 2, unknown: 1, p50Ms: 7, lost: null },
  ]);
  expect(repeated([round(null)])).toMatchObject([{ unknown: 1, p50Ms: null, worstMs: null }]);
  expect(repeated([round(1, { outcome: 'broken', lost: 3 }), round(1)])).toMatchObject([
    { lost: 3, broken: 1 },
  ]);
});

test('what one round lost is told, also where nothing is known of another', () => {
  const [lost] = repeated([round(1, { lost: null, lostAtLeast: 2 }), round(1, { lost: 1 })]);
  expect(storedOf(lost!)).toEqual(['2,000', '3 or more']);
  expect(storedOf(repeated([round(1, { lost: null }), round(1)])[0]!)[1]).toBe('not known');
});

test('a service that did not come back was away longer than every other', () => {
  const rounds = [round(5), round(7), round(null, { outcome: 'broken', notBack: true })];
  const [one] = repeated(rounds);
  expect(one).toMatchObject({ unknown: 0, notBack: 1, p50Ms: 7, p95Ms: null, worstMs: null });
  expect([one!.p50Ms, one!.worstMs].map((ms) => rankOf(ms, one!))).toEqual(['7 ms', 'not back']);
  expect(rankOf(repeated([round(null)])[0]!.worstMs, repeated([round(null)])[0]!)).toBe('not known');
});
