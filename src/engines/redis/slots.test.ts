import fc from 'fast-check';
import { expect, it } from 'vitest';
import { balance, deal, ranges, showRanges, slotCount, slotsIn, tolerance } from './slots.ts';

it('deals every slot once, whatever the number of shards', () => {
  for (const shards of [1, 3, 7, 100]) {
    const slots = slotsIn(deal(shards));
    expect(slots).toEqual(Array.from({ length: slotCount }, (_, slot) => slot));
  }
});

it('writes slots as ranges and reads them back', () => {
  expect(showRanges(ranges([5, 1, 2, 3, 9]))).toBe('1-3, 5, 9');
  expect(slotsIn(ranges([5, 1, 2, 3, 9]))).toEqual([1, 2, 3, 5, 9]);
});

const dealt = (shards: number) => new Map(deal(shards).map((range, i) => [`s${i}`, slotsIn([range])]));

it('adding a shard to three takes a quarter from them together and gives it nothing twice', () => {
  const moves = balance(dealt(3), ['s0', 's1', 's2', 'new']);
  expect(moves.every(({ to }) => to === 'new')).toBe(true);
  const slots = moves.flatMap((move) => move.slots);
  expect(slots.length).toBe(4096);
  expect(new Set(slots).size).toBe(4096);
});

it('a shard that leaves gives away all it has', () => {
  const moves = balance(dealt(4), ['s0', 's1', 's2']);
  expect(moves.every(({ from }) => from === 's3')).toBe(true);
  expect(moves.flatMap((move) => move.slots).length).toBe(4096);
});

it('nothing moves while every shard is within 2% of its share', () => {
  const owned = dealt(3);
  owned.get('s0')!.push(...owned.get('s1')!.splice(0, 100));
  expect(balance(owned, ['s0', 's1', 's2'])).toEqual([]);
  owned.get('s0')!.push(...owned.get('s1')!.splice(0, 100));
  expect(balance(owned, ['s0', 's1', 's2']).length).toBeGreaterThan(0);
});

it('from any distribution to any set of shards: all slots kept, every shard fair, then nothing more', {
  tags: ['long'],
}, () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 9 }), { minLength: 64, maxLength: 64 }),
      fc.uniqueArray(fc.nat({ max: 12 }), { minLength: 1, maxLength: 8 }),
      (owners, kept) => {
        const owned = new Map<string, number[]>();
        for (let slot = 0; slot < slotCount; slot++) {
          const name = `s${owners[slot % 64]}`;
          if (!owned.has(name)) owned.set(name, []);
          owned.get(name)!.push(slot);
        }
        const keep = kept.map((n) => `s${n}`);
        const after = new Map([...owned].map(([name, slots]) => [name, new Set(slots)]));
        for (const { from, to, slots } of balance(owned, keep))
          for (const slot of slots) {
            if (!after.get(from)!.delete(slot)) throw new Error(`slot ${slot} was not on ${from}`);
            after.set(to, (after.get(to) ?? new Set()).add(slot));
          }
        const share = slotCount / keep.length;
        for (const [name, slots] of after)
          if (keep.includes(name))
            expect(Math.abs(slots.size - share)).toBeLessThanOrEqual(Math.max(1, share * tolerance));
          else expect(slots.size).toBe(0);
        expect(balance(new Map([...after].map(([name, slots]) => [name, [...slots]])), keep)).toEqual([]);
      },
    ),
    { numRuns: 25 },
  );
});
