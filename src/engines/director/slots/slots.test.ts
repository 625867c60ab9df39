import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dynamicWeights } from './dynamic.ts';
import { type Entry, maglev, tableSize } from './maglev.ts';
import { arrange, counts, interleave } from './turns.ts';

function tally(slots: readonly number[]): Map<number, number> {
  const result = new Map<number, number>();
  for (const id of slots) result.set(id, (result.get(id) ?? 0) + 1);
  return result;
}

function moved(a: readonly number[], b: readonly number[]): number {
  let count = 0;
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) count++;
  return count;
}

describe('turns', () => {
  test('shares are the weights, exactly, after any sequence of changes', () => {
    const weights = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(weights, { minLength: 1, maxLength: 6 }), (history) => {
        let ring: number[] = [];
        for (const state of history) {
          const wanted = counts(state.map((weight, i) => [i + 1, weight] as const));
          ring = arrange(ring, wanted);
          expect(tally(ring)).toEqual(new Map([...wanted].filter(([, count]) => count > 0)));
        }
      }),
    );
  });

  test('changing one weight by d changes at most 2d + 1 slots of ten thousand', () => {
    const before = interleave(counts(Array.from({ length: 10_000 }, (_, i) => [i + 1, 1] as const)));
    for (const weight of [0, 2, 5]) {
      const wanted = counts(
        Array.from({ length: 10_000 }, (_, i) => [i + 1, i === 4999 ? weight : 1] as const),
      );
      const after = arrange(before, wanted);
      expect(moved(before, after)).toBeLessThanOrEqual(2 * Math.abs(weight - 1) + 1);
      expect(tally(after).get(5000) ?? 0).toBe(weight);
    }
  });

  test('a heavy server is spread over the ring, not served in a row', () => {
    expect(
      interleave(
        new Map([
          [1, 4],
          [2, 1],
          [3, 1],
        ]),
      ).join(''),
    ).not.toMatch(/1111/);
  });

  test('weights are exact up to 65536 slots and bounded beyond', () => {
    expect(
      counts([
        [1, 3],
        [2, 1],
      ]),
    ).toEqual(
      new Map([
        [1, 3],
        [2, 1],
      ]),
    );
    expect(
      counts([
        [1, 60_000],
        [2, 30_000],
      ]),
    ).toEqual(
      new Map([
        [1, 2],
        [2, 1],
      ]),
    );
    const huge = counts([
      [1, 1_000_003],
      [2, 1],
    ]);
    expect(huge.get(2)).toBe(1);
    expect([...huge.values()].reduce((a, b) => a + b)).toBeLessThanOrEqual(65_537);
  });
});

describe('maglev', () => {
  const servers = (n: number, down: number[] = []): Entry[] =>
    Array.from({ length: n }, (_, i) => ({
      name: `web@app${i}`,
      mark: i + 1,
      weight: 1,
      usable: !down.includes(i),
    }));

  test.each([3, 10, 40, 200])(
    'of %i servers losing one moves only its own clients, and no more than 1.2/N',
    (n) => {
      const all = maglev(servers(n));
      const some = maglev(servers(n, [1]));
      const gone = tally(all).get(2)!;
      expect(moved(all, some)).toBe(gone);
      expect(gone / all.length).toBeLessThanOrEqual(1.2 / n);
      expect(maglev(servers(n))).toEqual(all);
    },
  );

  test.each([3, 10, 40])(
    'of %i servers taking one out of the file moves at most 2/N (Maglev itself moves a few others)',
    (n) => {
      const size = tableSize(n);
      const all = maglev(servers(n), size);
      const fewer = maglev(
        servers(n).filter((entry) => entry.mark !== 2),
        size,
      );
      expect(moved(all, fewer) / size).toBeLessThanOrEqual(2 / n);
    },
  );

  test('the order of failures and of the list does not matter', () => {
    expect(maglev(servers(9, [2, 5]).reverse())).toEqual(maglev(servers(9, [5, 2])));
  });

  test('shares follow the weights within two per cent of the table', () => {
    const table = maglev([
      { name: 'a', mark: 1, weight: 3, usable: true },
      { name: 'b', mark: 2, weight: 1, usable: true },
    ]);
    expect(tally(table).get(1)! / table.length).toBeCloseTo(0.75, 1);
  });

  test('what a lost server held is spread over all others', () => {
    const taken = tally(maglev(servers(5, [0])));
    for (const count of taken.values()) expect(count / 4093).toBeGreaterThan(0.22);
    expect(maglev(servers(3, [0, 1, 2]))).toEqual([]);
  });
});

describe('dynamic weights', () => {
  const load = (name: string, weight: number, active: number, inactive = 0, up = true) => ({
    name,
    weight,
    active,
    inactive,
    up,
  });

  test('wlc fills up who is behind before it shares by weight', () => {
    const next = dynamicWeights('wlc', [load('a', 1, 100), load('b', 1, 0)]);
    expect(next.get('b')! - next.get('a')!).toBe(100);
  });

  test('sed and wlc give twice the weight twice the connections', () => {
    for (const scheduler of ['sed', 'wlc'] as const) {
      const next = dynamicWeights(scheduler, [load('a', 2, 0), load('b', 1, 0)]);
      expect(next.get('a')! / next.get('b')!).toBeCloseTo(2, 1);
    }
  });

  test('nq serves the idle first', () => {
    const next = dynamicWeights('nq', [load('a', 100, 3), load('b', 1, 0)]);
    expect(next.get('b')).toBe(1);
  });

  test('ovf keeps to the highest weight until it is full', () => {
    expect(dynamicWeights('ovf', [load('a', 1000, 10), load('b', 500, 0)])).toEqual(
      new Map([
        ['a', 128],
        ['b', 0],
      ]),
    );
    expect(dynamicWeights('ovf', [load('a', 50, 50), load('b', 500, 0)])).toEqual(
      new Map([
        ['a', 0],
        ['b', 128],
      ]),
    );
  });

  test('who is down or of weight 0 gets nothing', () => {
    expect(dynamicWeights('lc', [load('a', 1, 0, 0, false), load('b', 0, 0), load('c', 1, 9)])).toEqual(
      new Map([
        ['a', 0],
        ['b', 0],
        ['c', 128],
      ]),
    );
  });
});
