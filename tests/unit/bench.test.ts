import { expect, test } from 'vitest';
import { judge, percentile } from '../../bench/bench.ts';

test('a ratio is the median of the rounds, so that a slow round hits both sides', () => {
  const { ours, ratio, met } = judge(
    { metric: 'm', unit: 'requests/s' },
    [80, 8, 81],
    { direct: [100, 10, 100] },
    [{ of: 'direct', atLeast: 0.8 }],
  );
  expect(ours).toBe(80);
  expect(ratio['direct']).toBe(0.8);
  expect(met).toBe(true);
});

test('every target has to be met', () => {
  const one = judge({ metric: 'm', unit: 'ms' }, [5, 6, 7], { other: [60, 60, 60] }, [
    { atMost: 10 },
    { of: 'other', atMost: 0.05 },
  ]);
  expect(one.target).toBe('<= 10 ms, <= 0.05 of other');
  expect(one.met).toBe(false);
});

test('percentiles are values that were measured; an even median lies between two', () => {
  const values = Array.from({ length: 20 }, (_, i) => i + 1);
  expect(percentile(values, 95)).toBe(19);
  expect(percentile(values, 50)).toBe(10.5);
  expect(percentile([3], 95)).toBe(3);
});
