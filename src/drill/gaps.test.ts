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

/**
 * A transaction each 50 ms for 20 s, acknowledged after 5 ms, or after `takes` (milliseconds; 'fail' ones fail then). Fault: second 8 to 16.
 * What is judged is what its customers see who are told apart from one another: a part of them may be served.
 */
function transactions(takes: (n: number, ms: number) => { ms: number; type?: 'info' } | undefined): Verdict {
  const analysis = new Analysis();
  analysis.feed({ ...header, engine: 'app', models: { set: { clean: 20 } }, promise: { rtoMs: 1_000 } });
  const lines: { t: number; line: Line }[] = [];
  for (const [phase, t] of [
    ['planned', 8],
    ['evidence', 8.001],
    ['whole', 16],
  ] as const)
    lines.push({ t: t * 1e6, line: { fault: 'freeze-app', phase, t: t * 1e6 } });
  const values: number[] = [];
  for (let i = 0; i < 400; i++) {
    const t = i * 50_000;
    const { ms, type = 'ok' } = takes(i, t / 1_000) ?? { ms: 5 };
    if (type === 'ok') values.push(i);
    lines.push({ t, line: { i, type: 'invoke', t, p: 0, f: 'add', v: i } });
    lines.push({ t: t + ms * 1_000, line: { i, type, t: t + ms * 1_000 } });
  }
  for (const { line } of lines.sort((a, b) => a.t - b.t)) analysis.feed(line);
  const t = 30_000_000;
  analysis.feed({ final: 'one', model: 'set', role: 'authority', group: '', t, values, done: true });
  analysis.feed({ end: 'complete', t });
  return analysis.finish().verdict;
}

test('a third of the customers turned away is being away, however many are served beside them', () => {
  const within = (n: number, ms: number): boolean => ms >= 9_000 && ms < 11_000 && n % 3 === 0;
  const quick = transactions((n, ms) => (within(n, ms) ? { ms: 5, type: 'info' } : undefined));
  expect(quick.recovery.rtoMs).toBeGreaterThan(1_850);
  expect(quick.recovery.rtoMs).toBeLessThan(2_050);
  expect(quick.promise.result).toBe('broken');
  // Given up only after three seconds: away from when the first of them was sent until the last had its answer.
  const slow = transactions((n, ms) => (within(n, ms) ? { ms: 3_000, type: 'info' } : undefined));
  expect(slow.recovery.gap).toMatchObject({ fromMs: 9_000 });
  expect(slow.recovery.rtoMs).toBeGreaterThan(4_800);
  expect(slow.recovery.atLeast).toBe(false);
});

test('a third of them waiting for the whole fault is being away, although none was turned away', () => {
  const verdict = transactions((n, ms) =>
    ms >= 9_000 && ms < 12_000 && n % 3 === 0 ? { ms: 12_000 - ms + 1 } : undefined,
  );
  expect(verdict.recovery.gap).toMatchObject({ fromMs: 9_000, toMs: 12_001 });
  expect(verdict.promise.result).toBe('broken');
  expect(verdict.result).toBe('valid');
  // Their waiting is within the gap: what is outside it was as quick as ever.
  expect(verdict.recovery.p99OutsideGapMs).toBeLessThan(10);
});

test('an answer that takes as long as answers do is none that hung', () => {
  const verdict = transactions((n) => (n % 10 === 0 ? { ms: 1_200 } : undefined));
  expect(verdict.recovery.rtoMs).toBeLessThan(100);
});
