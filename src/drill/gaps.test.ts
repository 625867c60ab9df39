import { expect, test } from 'vitest';
import type { Header, Line } from './history.ts';
import { Analysis, exitOf, type Verdict } from './verdict.ts';

const header: Header = {
  history: 1,
  cluster: 'shop',
  service: 'front',
  engine: 'director',
  versions: {},
  seed: 1,
  file: '',
  client: 'planted',
  fault: { name: 'freeze-app' },
  models: { request: {} },
  replicas: [],
  promise: { rtoMs: 300 },
};

/**
 * A request each 2 ms for 10 s, each acknowledged after 1 ms or failed where `fails` says so; the fault stands from second 3 to 7.
 * `steady`: when the load was said to be at its pace, milliseconds.
 */
function judged(fails: (n: number, ms: number) => boolean, steady?: number): Verdict {
  const analysis = new Analysis();
  const feed = (line: Line): void => analysis.feed(line);
  feed(header);
  const fault = (phase: 'planned' | 'injected' | 'evidence' | 'healed' | 'whole', t: number): void =>
    feed({ fault: 'freeze-app', phase, t });
  for (let n = 0; n < 5_000; n++) {
    const t = n * 2_000;
    if (steady !== undefined && t === steady * 1_000) feed({ load: 'steady', t });
    if (t === 3_000_000) for (const phase of ['planned', 'injected', 'evidence'] as const) fault(phase, t);
    if (t === 7_000_000) for (const phase of ['healed', 'whole'] as const) fault(phase, t);
    feed({ i: n, type: 'invoke', t, p: 0, f: 'request' });
    if (fails(n, t / 1_000)) feed({ i: n, type: 'fail', t: t + 1_000, error: 'status 503' });
    else feed({ i: n, type: 'ok', t: t + 1_000 });
  }
  feed({ end: 'complete', t: 10_000_000 });
  return analysis.finish().verdict;
}

test('a third of the requests failing is being away, for as long as it lasts', () => {
  const verdict = judged((n, ms) => ms >= 3_000 && ms < 5_000 && n % 3 === 0);
  expect(verdict.recovery.rtoMs).toBeGreaterThan(1_980);
  expect(verdict.recovery.rtoMs).toBeLessThan(2_010);
  expect(verdict.promise.rto).toMatchObject({ result: 'broken', atLeast: false });
  expect(exitOf(verdict)).toBe(4);
});

test('one in twenty too', () => {
  expect(judged((n, ms) => ms >= 3_000 && ms < 5_000 && n % 20 === 0).promise.result).toBe('broken');
});

test('a request that fails alone costs the time until the next answer', () => {
  const verdict = judged((_n, ms) => ms === 4_000);
  expect(verdict.recovery.rtoMs).toBeLessThan(5);
  expect(verdict.recovery.errorsInGap + verdict.recovery.errorsOutsideGap).toBe(1);
  expect(exitOf(verdict)).toBe(0);
});

test('failures that never end leave it away at least until the end', () => {
  const { recovery, promise } = judged((n, ms) => ms >= 3_000 && n % 3 === 0);
  expect(recovery.atLeast).toBe(true);
  expect(recovery.rtoMs).toBeGreaterThan(6_900);
  expect(promise.result).toBe('broken');
});

test('what was before the load came to its pace is no measure of what is away', () => {
  // A fifth of a second without an answer, ten times a second apart; then a fault that takes as long.
  const cold = (_n: number, ms: number) => (ms < 2_000 && ms % 250 > 50) || (ms >= 4_000 && ms < 4_200);
  const { recovery } = judged(cold, 2_000);
  expect(recovery.baselineGapMs).toBeLessThan(3);
  expect(recovery.rtoMs).toBeGreaterThan(195);
  expect(recovery.errorsOutsideGap).toBe(0);
  const unsaid = judged(cold).recovery;
  expect(unsaid.errorsOutsideGap).toBeGreaterThan(500);
});

test('a load said to be steady only after a fault would hide its gap: that is no history', () => {
  expect(() => judged(() => false, 4_000)).toThrow('steady only after a fault');
});

test('requests are timed by when they fail: what a client is patient for is not the service being away', () => {
  const analysis = new Analysis();
  const lines: Line[] = [header];
  for (const phase of ['planned', 'evidence'] as const)
    lines.push({ fault: 'freeze-app', phase, t: 3_000_000 });
  lines.push({ fault: 'freeze-app', phase: 'whole', t: 7_000_000 });
  for (let i = 0; i < 5_000; i++) {
    const t = i * 2_000;
    // A VIP that is away for 120 ms; what was sent to it meanwhile is given up a second later.
    const lost = t > 3_000_000 && t < 3_120_000;
    lines.push({ i, type: 'invoke', t, p: 0, f: 'request' });
    lines.push({ i, type: lost ? 'info' : 'ok', t: t + (lost ? 1_001_000 : 1_000) });
  }
  const at = (line: Line): number => ('t' in line ? line.t! : -1);
  for (const line of lines.sort((a, b) => at(a) - at(b))) analysis.feed(line);
  analysis.feed({ end: 'complete', t: 20_000_000 });
  const { recovery } = analysis.finish().verdict;
  expect(recovery.rtoMs).toBeGreaterThan(100);
  expect(recovery.rtoMs).toBeLessThan(200);
});
