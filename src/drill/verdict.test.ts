import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { canonicalJson } from './canonical.ts';
import { compare } from './comparison.ts';
import {
  type Anomaly,
  type FinalRead,
  formatVersion,
  type Header,
  HistoryBroken,
  isFault,
  isFinal,
  type Line,
} from './history.ts';
import { type Defect, planted } from './planted.ts';
import { repeated, roundOf } from './repeated.ts';
import { renderJunit } from './report/junit.ts';
import { type DrillRun, lostOf, outcomeOf } from './report/run.ts';
import { Analysis, exitOf, type Verdict, verify } from './verdict.ts';

// Twenty histories each: seconds, also where both cores are busy.
vi.setConfig({ testTimeout: 30_000 });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phalanx-verdict-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function judge(lines: Line[]): Verdict {
  const analysis = new Analysis();
  for (const line of lines) analysis.feed(line);
  return analysis.finish().verdict;
}

function write(lines: Line[], cut = 0): string {
  const path = join(folder, 'history.jsonl');
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  writeFileSync(path, text.slice(0, text.length - cut));
  return path;
}

const seeds = fc.integer({ min: 0, max: 2 ** 32 });
const twenty = { numRuns: 20 };

/** A drill in short: adds and their fates, then what the members hold. */
function small(
  adds: ('ok' | 'fail' | 'info' | 'open')[],
  finals: Partial<FinalRead>[],
  header: Partial<Header> = {},
  fault: Line[] = [],
): Line[] {
  const lines: Line[] = [
    {
      history: formatVersion,
      cluster: 'shop',
      service: 'cart',
      engine: 'redis',
      versions: {},
      seed: 1,
      file: '',
      client: '',
      fault: null,
      models: { set: {} },
      replicas: [],
      ...header,
    },
  ];
  for (const [i, type] of adds.entries()) {
    lines.push({ i, type: 'invoke', t: 10 * i, p: 0, f: 'add', v: i });
    if (type !== 'open') lines.push({ i, type, t: 10 * i + 5 });
  }
  const t = adds.length * 10 + 1_000_000;
  lines.push(...fault);
  for (const final of finals)
    lines.push({
      final: 'one',
      model: 'set',
      role: 'authority',
      group: '',
      t,
      done: true,
      ...final,
    } as FinalRead);
  lines.push({ end: 'complete', t });
  return lines;
}

test('twenty clean histories: no false alarm', { tags: ['long'] }, () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const verdict = judge(planted({ seed, rate: 400 }));
      expect(verdict.why).toEqual([]);
      expect(verdict).toMatchObject({ result: 'valid', lost: 0, duplicated: 0, stale: 0, anomalies: [] });
      expect(verdict.operations.acknowledged).toBeGreaterThan(800);
      expect(verdict.models.set?.['recovered']).toBeGreaterThan(0);
    }),
    twenty,
  );
});

const plants: [Defect, Anomaly][] = [
  ['set loses', 'lost'],
  ['set duplicates', 'duplicated'],
  ['set is stale', 'stale'],
  ['log loses within', 'lost'],
  ['log loses its tail', 'lost'],
  ['log duplicates', 'duplicated'],
  ['log reorders', 'reordered'],
  ['queue loses', 'lost'],
  ['queue delivers twice', 'duplicated'],
  ['counter loses', 'lost'],
  ['counter counts twice', 'duplicated'],
  ['register is stale', 'stale'],
  ['register loses', 'lost'],
];
test.each(plants)(
  '%s: twenty of twenty caught as %s, and as nothing else',
  { tags: ['long'] },
  (defect, anomaly) => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const verdict = judge(planted({ seed, defect, rate: 400 }));
        expect(verdict.result).toBe('invalid');
        expect([...new Set(verdict.anomalies.map((found) => found.anomaly))]).toEqual([anomaly]);
        expect(verdict.anomalies.map((found) => found.model)).toEqual([defect.split(' ')[0]]);
      }),
      twenty,
    );
  },
);

test('a planted disorder is one also where a client has appended nothing more: a seed that the twenty once met', () => {
  const { anomalies } = judge(planted({ seed: 378_960_686, defect: 'log reorders', rate: 400 }));
  expect(anomalies.map(({ anomaly }) => anomaly)).toEqual(['reordered']);
});

test('a record lost in the middle of a partition is a gap, a lost tail is none', () => {
  expect(judge(planted({ seed: 5, defect: 'log loses within' })).models.log).toMatchObject({
    lost: 1,
    gaps: 1,
  });
  expect(judge(planted({ seed: 5, defect: 'log loses its tail' })).models.log?.['gaps']).toBe(0);
});

test('the recovery time is the dark time, to within what the traffic before it can resolve', {
  tags: ['long'],
}, () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 60, max: 900 }), (seed, darkMs) => {
      const { recovery } = judge(planted({ seed, darkMs, durationMs: 4000 }));
      expect(Math.abs(recovery.rtoMs! - darkMs)).toBeLessThan(recovery.baselineGapMs! + 10);
      expect(recovery.atLeast).toBe(false);
      expect(recovery.errorsOutsideGap).toBeLessThan(recovery.errorsInGap);
      expect(recovery.p99OutsideGapMs).toBeLessThan(10);
    }),
    { numRuns: 10 },
  );
});

test('one shard dark is seen although the others go on', () => {
  const lines = small([], [{ values: [] }], { fault: { name: 'kill' }, models: { set: {} } });
  const ops: Line[] = [];
  const values: Record<string, number[]> = { a: [], b: [] };
  for (let i = 0; i < 1000; i++) {
    const g = i % 2 === 0 ? 'a' : 'b';
    const lost = g === 'b' && i >= 400 && i < 700;
    ops.push({ i, type: 'invoke', t: i * 1000, p: 0, f: 'add', g, v: i });
    ops.push({ i, type: lost ? 'fail' : 'ok', t: i * 1000 + 500 });
    if (!lost) values[g]!.push(i);
    if (i === 399) ops.push({ fault: 'kill', phase: 'planned', t: i * 1000 + 600 });
    if (i === 410) ops.push({ fault: 'kill', phase: 'evidence', t: i * 1000 + 600 });
    if (i === 800) ops.push({ fault: 'kill', phase: 'whole', t: i * 1000 + 600 });
  }
  const t = 1_000_000;
  const finals: Line[] = Object.entries(values).map(
    ([group, held]) =>
      ({ final: group, model: 'set', role: 'authority', group, t, values: held, done: true }) as FinalRead,
  );
  const verdict = judge([lines[0]!, ...ops, ...finals, { end: 'complete', t }]);
  expect(verdict.why).toEqual([]);
  expect(verdict.result).toBe('valid');
  // b: acknowledged at 399.5 ms and again at 701.5 ms; 2 ms apart before.
  expect(verdict.recovery).toMatchObject({
    rtoMs: 300,
    gap: { fromMs: 399.5, toMs: 701.5, group: 'b' },
    baselineGapMs: 2,
  });
});

test('acknowledged before the fault and absent after it: lost', () => {
  const verdict = judge(small(['ok', 'ok', 'ok'], [{ values: [0, 2] }]));
  expect(verdict).toMatchObject({ result: 'invalid', lost: 1 });
  expect(verdict.anomalies[0]).toMatchObject({ anomaly: 'lost', samples: ['1'] });
});

test('a timeout is neither acknowledged nor lost; found in the end it is recovered', () => {
  const verdict = judge(small(['ok', 'info', 'info', 'open'], [{ values: [0, 2] }]));
  expect(verdict.result).toBe('valid');
  expect(verdict.models.set).toMatchObject({
    attempted: 4,
    acknowledged: 1,
    ok: 1,
    lost: 0,
    recovered: 1,
    neverRead: 2,
  });
  expect(verdict.operations).toEqual({ attempted: 4, acknowledged: 1, failed: 0, unknown: 3 });
});

test('told that it failed, and yet there: unexpected', () => {
  expect(judge(small(['ok', 'fail'], [{ values: [0, 1] }]))).toMatchObject({
    result: 'invalid',
    anomalies: [{ anomaly: 'unexpected', count: 1 }],
  });
});

test('absent on one replica only is divergence, listed and not lost; absent on the authority is lost even if a replica has it', () => {
  const replica = { final: 'two', role: 'replica' as const };
  const lagging = judge(small(['ok', 'ok'], [{ values: [0, 1] }, { ...replica, values: [0] }]));
  expect(lagging).toMatchObject({ result: 'valid', lost: 0, models: { set: { divergent: 1 } } });
  expect(lagging.notes).toEqual(['set: two lacks 1 acknowledged write that its authority has: 1']);
  const behind = judge(small(['ok', 'ok'], [{ values: [0] }, { ...replica, values: [0, 1] }]));
  expect(behind).toMatchObject({ result: 'invalid', lost: 1 });
  expect(behind.anomalies[0]!.samples).toEqual(['1, still on two']);
});

test('two members that both call themselves the authority: unknown, and no false duplicates', () => {
  const verdict = judge(small(['ok'], [{ values: [0] }, { final: 'two', values: [0] }]));
  expect(verdict).toMatchObject({ result: 'unknown', lost: null, duplicated: 0 });
});

test('what a shard lost is told, also where another could not be read', () => {
  const header = { models: { set: {}, counter: {} }, promise: { lostWrites: 0 } };
  const lines = (named: boolean): Line[] => {
    const g = (name: string) => (named ? { g: name } : {});
    return [
      ...small([], [], header).slice(0, 1),
      { i: 0, type: 'invoke', t: 0, p: 0, f: 'add', v: 0, ...g('a') },
      { i: 0, type: 'ok', t: 1 },
      { i: 1, type: 'invoke', t: 2, p: 0, f: 'add', v: 1, ...g('b') },
      { i: 1, type: 'ok', t: 3 },
      { i: 2, type: 'invoke', t: 4, p: 0, f: 'incr', k: 'n', v: 5, ...g('a') },
      { i: 2, type: 'ok', t: 5 },
      ...(['set', 'counter'] as const).flatMap((model): Line[] => [
        { final: 'one', model, role: 'authority', group: 'a', t: 9, done: true, values: [], keys: { n: 3 } },
        { final: 'two', model, role: 'authority', group: 'b', t: 9, failed: 'timeout' },
      ]),
      { end: 'complete', t: 9 },
    ] as Line[];
  };
  const verdict = judge(lines(true));
  expect(verdict).toMatchObject({
    result: 'invalid',
    lost: null,
    promise: { lostWrites: { result: 'broken', over: 2 } },
  });
  expect(verdict.anomalies.map(({ model, anomaly, count }) => [model, anomaly, count])).toEqual([
    ['set', 'lost', 1],
    // One increment of 5 explains that 2 are missing.
    ['counter', 'lost', 1],
  ]);
  expect(lostOf({ verdict } as DrillRun)).toBe('2 or more');
  expect(renderJunit([{ verdict, timeline: { endUs: 0 } } as DrillRun])).toContain('lost: 2 or more');
  // What went nobody knows where may be with the one that could not be read.
  expect(judge(lines(false))).toMatchObject({ result: 'unknown', anomalies: [] });
});

test('a final read in pieces is one read; one that stops half-way judges nothing', () => {
  const pieces = [{ values: [0], done: undefined }, { values: [1] }];
  expect(judge(small(['ok', 'ok'], pieces)).result).toBe('valid');
  expect(judge(small(['ok', 'ok'], pieces.slice(0, 1)))).toMatchObject({ result: 'unknown', lost: null });
  expect(judge(small(['ok', 'ok'], [{ failed: 'timeout', done: undefined }])).why).toEqual([
    'set: the final read from one failed: timeout',
  ]);
});

test('nothing is valid that was not proven', { tags: ['long'] }, () => {
  const lines = planted({ seed: 3, promise: { rtoMs: 10_000, lostWrites: 0 } });
  expect(judge(lines)).toMatchObject({ result: 'valid', promise: { result: 'kept' } });
  const without = (drop: (line: Line) => boolean): Verdict => judge(lines.filter((line) => !drop(line)));
  for (const verdict of [
    without((line) => isFault(line) && line.phase === 'evidence'),
    without((line) => isFault(line) && line.phase === 'whole'),
    without((line) => isFault(line)),
    without((line) => 'end' in line),
    without((line) => isFinal(line) && line.final === 'three'),
    without((line) => isFinal(line) && line.model === 'log' && line.group === 'p1'),
  ]) {
    expect(verdict.result).toBe('unknown');
    expect(verdict.why).not.toEqual([]);
    expect(verdict.promise.result).toBe('unknown');
    expect(exitOf(verdict)).toBe(5);
  }
  const unstruck = without((line) => isFault(line) && line.phase === 'evidence');
  expect(unstruck.why).toEqual(['no evidence that the fault freeze-master took effect']);
  // What nothing caused is no recovery time: neither a promise nor a median is held to it.
  expect(unstruck.recovery.rtoMs).toBeNull();
  expect(unstruck.recovery.why).toBe('no evidence that the fault freeze-master took effect');
  expect(roundOf(unstruck).awayMs).toBeNull();
});

test('a loss stays a loss when the fault left no evidence', () => {
  const lines = planted({ seed: 3, defect: 'set loses', promise: { lostWrites: 0 } });
  const verdict = judge(lines.filter((line) => !(isFault(line) && line.phase === 'evidence')));
  expect(verdict).toMatchObject({ result: 'invalid', promise: { result: 'broken' } });
  expect(exitOf(verdict)).toBe(4);
});

test('a promise is broken by so much', () => {
  const verdict = judge(planted({ seed: 8, darkMs: 700, promise: { rtoMs: 300, lostWrites: 0 } }));
  expect(verdict.promise).toMatchObject({ result: 'broken', lostWrites: { result: 'kept', measured: 0 } });
  expect(verdict.promise.rto?.overMs).toBeCloseTo(verdict.recovery.rtoMs! - 300, 3);
  expect(exitOf(verdict)).toBe(4);
});

test('a loss that the promise allows is kept, though the verdict is invalid', () => {
  const verdict = judge(planted({ seed: 8, defect: 'set loses', promise: { lostWrites: 1 } }));
  expect(verdict).toMatchObject({ result: 'invalid', promise: { result: 'kept' } });
  expect(exitOf(verdict)).toBe(0);
  expect(outcomeOf({ verdict })).toBe('kept');
  expect(repeated([roundOf(verdict)])[0]!.broken).toBe(0);
  const unproven = judge(
    planted({ seed: 8, defect: 'set loses', promise: { lostWrites: 1 } }).filter(
      (line) => !(isFault(line) && line.phase === 'evidence'),
    ),
  );
  expect(exitOf(unproven)).toBe(5);
});

test('of requests nothing is known that could be lost: a promise of none is not kept by them', () => {
  const requests = planted({ seed: 5, rate: 700 }).flatMap((line): Line[] => {
    if ('history' in line)
      return [{ ...line, models: { request: {} }, replicas: [], promise: { lostWrites: 0 } }];
    if ('type' in line && line.type === 'invoke')
      return [{ i: line.i, type: 'invoke', t: line.t, p: line.p, f: 'request' }];
    if ('type' in line) return [{ i: line.i, type: line.type, t: line.t }];
    return isFinal(line) ? [] : [line];
  });
  const verdict = judge(requests);
  expect(verdict.promise).toMatchObject({ result: 'unknown', lostWrites: { measured: null } });
  expect(verdict.notes.join()).toContain('store nothing');
  expect(exitOf(verdict)).toBe(5);
});

test('a queue that is away does not answer by giving nothing', () => {
  // Whoever takes is given nothing from the fault on, a hundred times a second, and says so itself.
  const header = small([], [])[0] as Header;
  const lines: Line[] = [{ ...header, models: { queue: {} }, fault: { name: 'freeze-leader' } }];
  let i = 0;
  for (let t = 10_000; t < 6_000_000; t += 10_000) {
    const dark = t > 3_000_000 && t < 5_000_000;
    const v = t / 10_000;
    lines.push({ i, type: 'invoke', t, p: 0, f: 'enqueue', v });
    lines.push({ i: i + 1, type: 'invoke', t, p: 1, f: 'dequeue' });
    lines.push({ i, type: dark ? 'info' : 'ok', t: t + 1_000 });
    lines.push({ i: i + 1, type: 'ok', t: t + 1_000, v: dark ? null : v });
    i += 2;
    if (t === 3_000_000)
      for (const phase of ['planned', 'injected', 'evidence'] as const)
        lines.push({ fault: 'freeze-leader', phase, t: t + 1_000 });
    if (t === 5_500_000)
      for (const phase of ['healed', 'whole'] as const)
        lines.push({ fault: 'freeze-leader', phase, t: t + 1_000 });
  }
  lines.push({ end: 'complete', t: 7_000_000 });
  const { recovery } = judge(lines);
  expect(recovery.rtoMs).toBeGreaterThan(1_900);
  expect(recovery.longestStallMs).toBeGreaterThan(1_900);
  // What a client had been given before, it goes on taking: that says nothing of the queue.
  expect(recovery.readRtoMs).toBeNull();
});

test('what the service does not promise against is told, and does not make it invalid', () => {
  const verdict = judge(planted({ seed: 8, defect: 'set is stale', tolerates: ['stale'] }));
  expect(verdict).toMatchObject({ result: 'valid', stale: 1 });
  expect(verdict.notes).toEqual(['set: 1 stale, which this service does not promise against']);
});

test('never back: the recovery time is a lower bound, and a longer promise is unknown', () => {
  const lines = planted({ seed: 4, promise: { rtoMs: 60_000 } }).filter(
    (line) => !(isFault(line) && line.phase === 'whole'),
  );
  const dead = lines.map((line) =>
    'type' in line && line.type === 'ok' && line.t > 2_005_000 ? { ...line, type: 'info' as const } : line,
  );
  const verdict = judge(dead);
  expect(verdict.recovery.atLeast).toBe(true);
  expect(verdict.recovery.rtoMs).toBeGreaterThan(1500);
  expect(verdict.promise.rto?.result).toBe('unknown');
});

test('too little traffic before the fault: the recovery time is not guessed', () => {
  const verdict = judge(planted({ seed: 4, faultAtMs: 30, promise: { rtoMs: 60_000 } }));
  expect(verdict.recovery.rtoMs).toBeNull();
  expect(verdict.recovery.why).toContain('before the fault');
  expect(verdict.promise.result).toBe('unknown');
});

test('the same history gives the same bytes, and names them', { tags: ['long'] }, () => {
  const path = write(planted({ seed: 11 }));
  const first = canonicalJson(verify(path));
  expect(canonicalJson(verify(path))).toBe(first);
  const { history } = verify(path);
  expect(history.bytes).toBe(readFileSync(path).length);
  expect(history.sha256).toMatch(/^[0-9a-f]{64}$/);
});

test('a last line cut short is tolerated and told; a line cut short elsewhere is not', () => {
  const lines = planted({ seed: 11 });
  const verdict = verify(write(lines, 5));
  expect(verdict.history.torn).toBe(true);
  expect(verdict.result).toBe('unknown');
  expect(verdict.why[0]).toContain('cut short');
  expect(verify(write(lines, 1)).result).toBe('valid');
  const path = write(lines);
  const text = readFileSync(path, 'utf8').split('\n');
  text[7] = text[7]!.slice(0, -4);
  writeFileSync(path, text.join('\n'));
  expect(() => verify(path)).toThrow(/line 8 of the history/);
});

test('a history that contradicts itself is refused with its line', () => {
  const lines = small(['ok', 'ok'], [{ values: [0, 1] }]);
  const broken =
    (at: number, line: Line): (() => Verdict) =>
    () =>
      judge([...lines.slice(0, at), line, ...lines.slice(at)]);
  expect(broken(3, { i: 0, type: 'ok', t: 6 })).toThrow(
    'line 4 of the history: operation 0 ends without having begun, or twice',
  );
  expect(broken(3, { i: 9, type: 'invoke', t: 6, p: 0, f: 'add', v: 0 })).toThrow(/add of 0 a second time/);
  expect(broken(3, { i: 9, type: 'invoke', t: 6, p: 0, f: 'append', v: 0 })).toThrow(
    /model log, which the header lacks/,
  );
  expect(broken(3, { i: 9, type: 'invoke', t: 4, p: 0, f: 'add', v: 9 })).toThrow(/time goes back/);
  expect(broken(3, { fault: 'x', phase: 'healed', t: 6 })).toThrow(/without having been planned/);
  expect(() => judge(lines.slice(1))).toThrow(HistoryBroken);
  const twice = planted({ seed: 1 }).flatMap((line) =>
    isFault(line) && line.phase === 'planned' ? [line, line] : [line],
  );
  expect(() => judge(twice)).toThrow(/planned a second time; number them: freeze-master#2/);
});

test('against the last run: a loss outweighs any time, noise is no change, another fault is not compared', () => {
  const run = (darkMs: number, defect?: Defect): Verdict => judge(planted({ seed: 2, darkMs, defect }));
  const before = run(500);
  expect(compare(run(502), before)).toMatchObject({ sameDrill: false, outcome: 'not comparable' });
  const like = (verdict: Verdict): Verdict => ({ ...verdict, drill: before.drill });
  expect(compare(like(run(502)), before)).toMatchObject({ sameDrill: true, outcome: 'same' });
  expect(compare(like(run(800)), before).outcome).toBe('worse');
  expect(compare(like(run(200)), before).outcome).toBe('better');
  const lossy = like(run(500, 'set loses'));
  const gone = { ...before, recovery: { ...before.recovery, rtoMs: 65_000, atLeast: true } };
  expect(compare(gone, lossy).outcome).toBe('worse');
  expect(compare(lossy, gone).outcome).toBe('better');
  expect(compare(like(run(200, 'set loses')), before)).toMatchObject({
    outcome: 'worse',
    lost: { change: 1 },
  });
});
