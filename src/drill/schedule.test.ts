import { expect, test } from 'vitest';
import { Histogram } from './histogram.ts';
import { Random } from './random.ts';
import { type ScheduleOptions, schedule } from './schedule.ts';

const options: ScheduleOptions = {
  seed: 7,
  rate: 500,
  durationMs: 4000,
  clients: 5,
  mix: { add: 6, has: 2, incr: 1, write: 1, cas: 1 },
};

test('the same seed gives the same drill, on every machine and version; another seed another', () => {
  const drill = [...schedule(options)];
  expect([...schedule(options)]).toEqual(drill);
  expect([...schedule({ ...options, seed: 8 })]).not.toEqual(drill);
  const random = new Random(7);
  expect([random.uint32(), random.uint32(), random.uint32()]).toEqual(randomOfSeven);
});

// From an independent transcription (Python) of splitmix32 and of Blackman and Vigna's reference code.
const randomOfSeven = [210_494_603, 711_084_892, 3_993_689_120];

test('operations come at the rate, in the mix, from every client, with values written once', () => {
  const drill = [...schedule(options)];
  expect(drill.length).toBe(2000);
  expect(drill[0]!.at).toBe(0);
  expect(drill[1999]!.at).toBe(1999 * 2000);
  expect(new Set(drill.map((op) => op.p))).toEqual(new Set([0, 1, 2, 3, 4]));
  const adds = drill.filter((op) => op.f === 'add');
  expect(adds.map((op) => op.v)).toEqual(adds.map((_, n) => n));
  expect(Math.abs(adds.length / drill.length - 6 / 11)).toBeLessThan(0.04);
  const written = drill.flatMap((op) =>
    op.f === 'write' ? [op.v] : op.f === 'cas' ? [(op.v as number[])[1]] : [],
  );
  expect(new Set(written).size).toBe(written.length);
  let added = 0;
  for (const op of drill) {
    if (op.f === 'add') added++;
    if (op.f === 'has') expect(op.v).toBeLessThan(added);
  }
});

test('random numbers fill their range evenly', () => {
  const random = new Random(1);
  const counts = new Array<number>(10).fill(0);
  for (let n = 0; n < 100_000; n++) counts[random.below(10)]!++;
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
});

test('a histogram gives quantiles to within its width, and merging is counting both', () => {
  const random = new Random(2);
  for (const [bits, within] of [
    [7, 0.01],
    [4, 0.07],
  ] as const) {
    const one = new Histogram(bits);
    const other = new Histogram(bits);
    const values: number[] = [];
    for (let n = 0; n < 5000; n++) {
      const value = Math.floor(2 ** (random.below(3300) / 100));
      values.push(value);
      (n % 2 === 0 ? one : other).add(value);
    }
    one.merge(other);
    values.sort((a, b) => a - b);
    for (const q of [0.01, 0.5, 0.9, 0.99, 1]) {
      const exact = values[Math.ceil(q * 5000) - 1]!;
      expect(Math.abs(one.quantile(q)! - exact)).toBeLessThanOrEqual(exact * within);
    }
  }
  expect(new Histogram(7).quantile(0.99)).toBeNull();
});
