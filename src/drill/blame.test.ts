import { expect, test } from 'vitest';
import { Blame } from './blame.ts';

const gap = { from: 1_000_000, to: 3_000_000 };

test('a gap is blamed on whom the operations that hung in it waited for, by the time that they hung', () => {
  const blame = new Blame();
  blame.add(1_000_000, 3_000_000, { locks: 5, events: 1_990, jobs: 3 });
  blame.add(2_500_000, 3_000_000, { 'no answer': 500 });
  expect(blame.of(gap)).toEqual([
    { service: 'events', share: 0.8 },
    { service: 'no answer', share: 0.2 },
  ]);
});

test('what hung before or after, or hardly at all, is not to blame', () => {
  const blame = new Blame();
  blame.add(0, 900_000, { cart: 900 });
  blame.add(3_100_000, 4_000_000, { cart: 900 });
  blame.add(1_500_000, 1_510_000, { cart: 10 });
  expect(blame.of(gap)).toEqual([]);
});
