import { describe, expect, it } from 'vitest';
import { assign } from './drill-topic.ts';

describe("a drill's topic", () => {
  it('leaves one broker without a partition to lead, never the active controller', () => {
    expect(assign([1, 2, 3], 3, 3)).toEqual([
      [3, 1, 2],
      [1, 2, 3],
    ]);
    expect(assign([1, 2, 3], 3, 1)).toEqual([
      [1, 2, 3],
      [2, 3, 1],
    ]);
  });

  it('gives the broker without one copies to hold', () => {
    for (const count of [2, 3, 4, 5, 6, 9]) {
      const brokers = Array.from({ length: count }, (_, i) => i + 1);
      const partitions = assign(brokers, Math.min(3, count), undefined);
      const held = new Set(partitions.flat());
      const leading = new Set(partitions.map(([leader]) => leader));
      expect(held.size - leading.size).toBe(1);
      for (const one of partitions) expect(new Set(one).size).toBe(Math.min(3, count));
    }
  });

  it('is led by the only broker where there is one', () => {
    expect(assign([7], 1, 7)).toEqual([[7]]);
    expect(assign([], 1, undefined)).toEqual([]);
  });
});
