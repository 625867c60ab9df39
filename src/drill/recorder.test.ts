import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Header, isFinal, type Line, readHistory } from './history.ts';
import { Recorder } from './recorder.ts';
import { verify } from './verdict.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phalanx-recorder-'));
  path = join(folder, 'history.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const header: Omit<Header, 'history'> = {
  cluster: 'shop',
  service: 'cart',
  engine: 'redis',
  versions: {},
  seed: 7,
  file: '',
  client: '',
  fault: null,
  models: { set: {} },
  replicas: ['cart@data1'],
};

test('what is recorded is read back, in order, and judged', () => {
  let now = 5_000;
  const recorder = new Recorder(path, header, () => now++);
  const first = recorder.invoke(0, 'add', { v: 0 });
  const second = recorder.invoke(1, 'add', { v: 1, g: undefined });
  recorder.ok(second);
  recorder.info(first, 'timeout');
  const third = recorder.invoke(1, 'has', { v: 1 });
  recorder.ok(third, true);
  recorder.final('cart@data1', { model: 'set', role: 'authority', values: [1] });
  recorder.close('complete');
  const times = [...readHistory(path)].slice(1).map((line) => (line as { t: number }).t);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(verify(path)).toMatchObject({
    result: 'valid',
    operations: { attempted: 3, acknowledged: 2, unknown: 1 },
  });
});

test('a final read of any length becomes lines of bounded length', () => {
  const recorder = new Recorder(path, header);
  recorder.final('cart@data1', {
    model: 'set',
    role: 'authority',
    values: Array.from({ length: 12_345 }, (_, n) => n),
  });
  recorder.close('complete');
  const finals = [...readHistory(path)].filter(isFinal);
  expect(finals.map((final) => final.values!.length)).toEqual([5000, 5000, 2345]);
  expect(finals.map((final) => final.done)).toEqual([undefined, undefined, true]);
});

test('an existing history is never written over', () => {
  new Recorder(path, header).close('complete');
  expect(() => new Recorder(path, header)).toThrow(/EEXIST/);
});

test('kill -9 of the drill leaves a history that reads, with what was planned in it', {
  tags: ['long'],
}, async () => {
  const drill = join(folder, 'drill.mts');
  const at = (file: string): string => new URL(file, import.meta.url).pathname;
  writeFileSync(
    drill,
    `import { Recorder } from '${at('./recorder.ts')}';
     const recorder = new Recorder('${path}', ${JSON.stringify(header)});
     recorder.fault('kill-master', 'planned');
     console.log('planned');
     for (let v = 0; ; v++) {
       recorder.ok(recorder.invoke(0, 'add', { v }));
       if (v === 20_000) console.log('written');
     }`,
  );
  const child = spawn(process.execPath, [drill], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((done) =>
    child.stdout.on('data', (data: Buffer) => {
      if (!data.toString().includes('written')) return;
      child.once('exit', () => done());
      child.kill('SIGKILL');
    }),
  );
  const lines: Line[] = [...readHistory(path)];
  expect(lines[1]).toMatchObject({ fault: 'kill-master', phase: 'planned' });
  expect(lines.length).toBeGreaterThan(20_000);
  const verdict = verify(path);
  expect(verdict.result).toBe('unknown');
  expect(verdict.why.join()).toContain('the drill was killed');
});

test('a character of several bytes across the reader’s pieces stays whole', () => {
  const recorder = new Recorder(path, header);
  for (let v = 0; v < 4000; v++)
    recorder.fail(recorder.invoke(0, 'add', { v }), `verweigert – überfüllt ${'ü'.repeat(v % 97)}`);
  recorder.close('complete');
  const errors = [...readHistory(path)].flatMap((line) => ('error' in line ? [line.error] : []));
  expect(errors.length).toBe(4000);
  expect(errors.join('')).not.toContain('\ufffd');
  // The machine's own reader agrees on the number of lines.
  expect(Number(execFileSync('wc', ['-l', path]).toString().split(' ')[0])).toBe(
    readFileSync(path, 'utf8').split('\n').length - 1,
  );
});
