import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Partition } from './live.ts';
import { awaited, nearlyEmpty, planMoves, redirected } from './moves.ts';

const partition = (index: number, replicas: number[]): Partition => ({
  topic: 'orders',
  index,
  leader: replicas[0]!,
  replicas,
  isr: replicas,
});
const six = [
  [1, 2, 3],
  [2, 3, 1],
  [3, 1, 2],
  [1, 3, 2],
  [2, 1, 3],
  [3, 2, 1],
].map((replicas, i) => partition(i, replicas));
const counts = (lists: number[][], brokers: number[]): number[] =>
  brokers.map((id) => lists.filter((replicas) => replicas.includes(id)).length);
const arranged = (partitions: Partition[], moves: { index: number; to: number[] }[]): number[][] =>
  partitions.map(({ index, replicas }) => moves.find((move) => move.index === index)?.to ?? replicas);

describe('moves of partitions', () => {
  it('moves nothing where nothing has to move', () => {
    expect(planMoves(six, [1, 2, 3], { spread: true })).toEqual({ moves: [], stuck: [] });
    expect(nearlyEmpty(six, [1, 2, 3])).toEqual([]);
  });

  it('a broker that came gets its share, and the next look finds nothing to do', () => {
    expect(nearlyEmpty(six, [1, 2, 3, 4])).toEqual([4]);
    const { moves } = planMoves(six, [1, 2, 3, 4], { spread: true });
    const now = arranged(six, moves);
    expect(counts(now, [1, 2, 3, 4]).sort()).toEqual([4, 4, 5, 5]);
    const settled = now.map((replicas, i) => partition(i, replicas));
    expect(nearlyEmpty(settled, [1, 2, 3, 4])).toEqual([]);
    expect(planMoves(settled, [1, 2, 3, 4], { spread: true }).moves).toEqual([]);
  });

  it('a broker that leaves is emptied, and no partition loses a copy', () => {
    const spread = planMoves(six, [1, 2, 3, 4], { spread: true }).moves;
    const four = arranged(six, spread).map((replicas, i) => partition(i, replicas));
    const now = arranged(four, planMoves(four, [2, 3, 4], { spread: false }).moves);
    expect(now.every((replicas) => new Set(replicas).size === 3 && !replicas.includes(1))).toBe(true);
  });

  it('says which partitions cannot be moved because too few brokers stay, and moves none of those', () => {
    const { moves, stuck } = planMoves(six, [1, 2], { spread: false });
    expect(stuck).toHaveLength(6);
    expect(moves).toEqual([]);
  });

  it('new copies go to brokers that serve before any other', () => {
    const grow = { spread: false, copiesOf: () => 2, serving: [1, 3] };
    expect(planMoves([partition(0, [1])], [1, 2, 3], grow).moves[0]!.to).toEqual([1, 3]);
  });

  it('of copies that are too many those go that are worth least: of a broker that leaves, out of step, of one that is down', () => {
    const fewer = (brokers: number[], copies: number, isr = [1, 2, 3], serving = brokers) =>
      planMoves([{ ...partition(0, [1, 2, 3]), isr }], brokers, {
        spread: false,
        copiesOf: () => copies,
        serving,
      }).moves[0]!.to;
    expect(fewer([2, 3], 2)).toEqual([2, 3]);
    expect(fewer([3], 1)).toEqual([3]);
    expect(fewer([1, 2, 3], 2, [2, 3])).toEqual([2, 3]);
    expect(fewer([1, 2, 3], 2, [1, 2, 3], [1, 3])).toEqual([1, 3]);
    // One that is down and has what is written is worth more than one that lacks it.
    expect(fewer([1, 2, 3], 1, [2], [1, 3])).toEqual([2]);
    expect(fewer([1, 2, 3], 2)).toEqual([1, 2]);
    // Too many, and one of them elsewhere than it may be.
    expect(fewer([2, 4], 2)).toEqual([4, 2]);
  });

  it('a move that gives copies waits for those, one that only takes them away for all that stay', () => {
    expect(awaited({ from: [1, 2], to: [2, 3] })).toEqual([3]);
    expect(awaited({ from: [1, 2, 3], to: [2, 4] })).toEqual([4]);
    expect(awaited({ from: [1, 2, 3], to: [1, 2] })).toEqual([1, 2]);
    expect(awaited({ from: [1, 2], to: [2, 1] })).toEqual([]);
  });

  it('what only loses copies and has one on a broker that is down loses that one instead, or stays as it was', () => {
    const on = { topic: 'orders', index: 0, replicas: [1, 2, 3], adding: [], removing: [3] };
    const partitions = [{ ...partition(0, [1, 2, 3]), isr: [1, 3] }];
    const options = { copiesOf: () => 2 };
    expect(redirected(partitions, [on], [2], [1, 2, 3], { ...options, serving: [1, 3] })).toEqual([
      { topic: 'orders', index: 0, from: [1, 2, 3], to: [1, 3] },
    ]);
    // 3 leaves: nobody but 2 can keep the other copy.
    expect(redirected(partitions, [on], [2], [1, 2], { ...options, serving: [1] })).toEqual([
      { topic: 'orders', index: 0, from: [1, 2, 3], to: null },
    ]);
    expect(redirected(partitions, [on], [4], [1, 2, 3], { ...options, serving: [1, 2, 3] })).toEqual([]);
  });

  it('what is on its way to a broker that is lost goes elsewhere or back, and the rest is left alone', () => {
    const on = (index: number, replicas: number[], adding: number[], removing: number[]) => ({
      topic: 'orders',
      index,
      replicas,
      adding,
      removing,
    });
    const moving = [on(0, [4, 2, 1], [4], [1]), on(1, [3, 2, 1], [3], [1])];
    const partitions = [partition(0, [4, 2, 1]), partition(1, [3, 2, 1])];
    // 4 is lost. 1 leaves: its copy goes to 3 instead.
    expect(redirected(partitions, moving, [4], [2, 3], { serving: [2, 3] })).toEqual([
      { topic: 'orders', index: 0, from: [2, 1], to: [2, 3] },
    ]);
    // 1 stays: it is as it was.
    expect(redirected(partitions, moving, [4], [1, 2, 3], { serving: [1, 2, 3] })).toEqual([
      { topic: 'orders', index: 0, from: [2, 1], to: null },
    ]);
    // Nobody serves who could take it.
    expect(redirected(partitions, moving, [4], [2, 4], { serving: [2] })[0]!.to).toBeNull();
  });

  it('whatever the layout: copies stay distinct, in number and on allowed brokers, and loads differ by one at most', () => {
    const layout = fc.array(fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(layout, fc.integer({ min: 3, max: 6 }), (lists, brokers) => {
        const ids = Array.from({ length: brokers }, (_, i) => i + 1);
        const partitions = lists.map((replicas, i) => partition(i, replicas));
        const now = arranged(partitions, planMoves(partitions, ids, { spread: true }).moves);
        for (const [i, replicas] of now.entries()) {
          expect(replicas.length).toBe(lists[i]!.length);
          expect(new Set(replicas).size).toBe(replicas.length);
          expect(replicas.every((id) => ids.includes(id))).toBe(true);
        }
        const loads = counts(now, ids);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 200 },
    );
  });
});
