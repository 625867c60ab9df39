import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Check } from './check.ts';
import { Checker, type Start, type Target } from './checker.ts';

const check: Check = { kind: 'tcp', intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3 };
const target = (port: number, part: Partial<Check> = {}): Target => ({
  address: '10.0.0.1',
  port,
  check: { ...check, ...part },
});

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A network where `dead` ports do not answer; counts probes by port. */
function network() {
  const dead = new Set<number>();
  const probes = new Map<number, number>();
  const underWay = { now: 0, most: 0 };
  const start: Start = (_check, _address, port, done) => {
    probes.set(port, (probes.get(port) ?? 0) + 1);
    underWay.most = Math.max(underWay.most, ++underWay.now);
    const timer = setTimeout(() => {
      underWay.now--;
      done(dead.has(port) ? { healthy: false, why: 'refused', ms: 1 } : { healthy: true, ms: 1 });
    }, 1);
    return () => {
      underWay.now--;
      clearTimeout(timer);
    };
  };
  return { dead, probes, underWay, start };
}

test('the first result decides alone, without rise or fall', async () => {
  const net = network();
  net.dead.add(2);
  const changes: [number, boolean | undefined][] = [];
  const checker = new Checker((t, health) => changes.push([t.port, health.up]), net.start);
  checker.set([target(1), target(2)]);
  expect(checker.settled).toBe(false);
  await vi.advanceTimersByTimeAsync(2);
  expect(changes).toEqual([
    [1, true],
    [2, false],
  ]);
  expect(checker.settled).toBe(true);
  checker.close();
});

test('fall failures in a row take a server out, rise successes bring it back', async () => {
  // The spread of the first interval decides how many probes fall into each stretch below: here 0.6 s.
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const net = network();
  const changes: string[] = [];
  const checker = new Checker(
    (_t, health) => changes.push(`${health.up} after ${net.probes.get(1)}`),
    net.start,
  );
  checker.set([target(1)]);
  await vi.advanceTimersByTimeAsync(2);
  net.dead.add(1);
  await vi.advanceTimersByTimeAsync(2100);
  expect(changes).toEqual(['true after 1']);
  net.dead.delete(1);
  await vi.advanceTimersByTimeAsync(1100);
  net.dead.add(1);
  const before = net.probes.get(1)!;
  await vi.advanceTimersByTimeAsync(3100);
  net.dead.delete(1);
  await vi.advanceTimersByTimeAsync(3100);
  expect(changes).toEqual(['true after 1', `false after ${before + 3}`, `true after ${before + 5}`]);
  checker.close();
});

test('one address, port and check is probed once however many name it; another check is another probe', async () => {
  const net = network();
  const checker = new Checker(() => {}, net.start);
  checker.set([target(1), target(1), { ...target(1), check: { ...check } }]);
  expect(checker.size).toBe(1);
  expect(net.probes.get(1)).toBe(1);
  checker.set([target(1), target(1, { intervalMs: 2000 })]);
  expect(checker.size).toBe(2);
  expect(net.probes.get(1)).toBe(2);
  checker.close();
});

test('what was known before a restart stands until the checks say otherwise', async () => {
  const net = network();
  net.dead.add(1);
  const changes: (boolean | undefined)[] = [];
  const checker = new Checker((_t, health) => changes.push(health.up), net.start);
  checker.set([target(1)], () => true);
  expect(checker.settled).toBe(true);
  await vi.advanceTimersByTimeAsync(2);
  expect(changes).toEqual([]);
  await vi.advanceTimersByTimeAsync(3000);
  expect(changes).toEqual([false]);
  checker.close();
});

test('a thousand targets start at most 500 at once, then spread over the interval', {
  tags: ['long'],
}, async () => {
  const net = network();
  const checker = new Checker(() => {}, net.start);
  checker.set(Array.from({ length: 1000 }, (_, port) => target(port)));
  await vi.advanceTimersByTimeAsync(10);
  expect(checker.settled).toBe(true);
  expect(net.underWay.most).toBe(500);
  await vi.advanceTimersByTimeAsync(3000);
  net.underWay.most = 0;
  await vi.advanceTimersByTimeAsync(1000);
  expect(net.underWay.most).toBeLessThan(100);
  checker.close();
});

test('a target that is no longer wanted is left alone, also in the middle of a probe', async () => {
  const net = network();
  const changes: number[] = [];
  const checker = new Checker((t) => changes.push(t.port), net.start);
  checker.set([target(1), target(2)]);
  checker.set([target(2)]);
  await vi.advanceTimersByTimeAsync(5000);
  expect(changes).toEqual([2]);
  expect(net.probes.get(1)).toBe(1);
  checker.close();
  expect(vi.getTimerCount()).toBe(0);
});
