import { chmodSync, mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Step } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { runShell } from '../hosts/shell.ts';
import { apply, type Progress } from './apply.ts';
import { interrupted, Journal } from './journal.ts';
import type { Engines } from './observe.ts';

const cluster = {
  name: 'c',
  hosts: { h1: { name: 'h1', kind: 'lab', address: '10.9.0.1', root: '/c/hosts/h1' } },
  services: { web: { name: 'web', type: 'app', hosts: ['h1'], uses: [], spec: {} } },
} as unknown as Cluster;

const engines = { app: { members: () => [{ name: 'web@h1', host: 'h1' }] } } as unknown as Engines;

const script = (id: string, sh: string, needs: string[] = [], host = 'h1', after?: string[]): Step => ({
  id,
  verb: 'do',
  target: id,
  host,
  why: 'test',
  needs,
  ...(after ? { after } : {}),
  do: { kind: 'script', script: sh, timeoutMs: 5_000 },
});

/** Runs each host's scripts in a real sh here, and counts the round trips. */
async function run(
  steps: Step[],
  signal = new AbortController().signal,
  journalAt?: { path: string; tell: (sentence: string) => void },
) {
  const trips: string[] = [];
  const reach = {
    host: (name: string) => ({
      name,
      run: (text: string, options: object) => {
        trips.push(name);
        return runShell(['sh', '-s'], text, options);
      },
    }),
  } as unknown as Reach;
  const seen: Progress[] = [];
  const path = journalAt?.path ?? join(mkdtempSync(join(tmpdir(), 'apply-')), 'journal.jsonl');
  const journal = new Journal(path, journalAt?.tell);
  journal.write({ event: 'begin', command: 'up', steps: steps.map((step) => step.id) });
  const outcome = await apply(steps, {
    cluster,
    engines,
    reach,
    journal,
    signal,
    onProgress: (p) => seen.push(p),
  });
  return { outcome, trips, seen, path };
}

const ids = (list: { step: Step }[]): string[] => list.map(({ step }) => step.id);

describe('apply', () => {
  it('sends everything that a host can do in a row as one script', async () => {
    const { outcome, trips } = await run([
      script('a', 'true'),
      script('b', 'true', ['a']),
      script('c', 'true', ['b']),
      script('d', 'true', [], 'h2'),
    ]);
    expect(outcome.done.map((step) => step.id).sort()).toEqual(['a', 'b', 'c', 'd']);
    expect(trips.sort()).toEqual(['h1', 'h2']);
  });

  it('a failed step stops what needs it, here and on other hosts, and nothing else', async () => {
    const { outcome } = await run([
      script('bad', 'echo the disk is full >&2; exit 3'),
      script('same host', 'true', ['bad']),
      script('other host', 'true', ['same host'], 'h2'),
      script('alone', 'true', [], 'h2'),
    ]);
    expect(outcome.failed).toMatchObject([{ step: { id: 'bad' }, why: 'the disk is full' }]);
    expect(ids(outcome.skipped).sort()).toEqual(['other host', 'same host']);
    expect(outcome.done.map((step) => step.id)).toEqual(['alone']);
  });

  it('gives up an order that goes in a circle, and does all of it', { timeout: 10_000 }, async () => {
    const { outcome } = await run([
      script('a', 'true', [], 'h1', ['d']),
      script('b', 'true', ['a']),
      script('c', 'true', [], 'h2', ['b']),
      script('d', 'true', ['c'], 'h2'),
    ]);
    expect(ids(outcome.failed)).toEqual([]);
    expect(outcome.done.map((step) => step.id)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('says so when steps need each other, and does the rest', { timeout: 10_000 }, async () => {
    const { outcome } = await run([
      script('a', 'true', ['b']),
      script('b', 'true', ['a']),
      script('c', 'true', ['a'], 'h2'),
      script('d', 'true', [], 'h2'),
    ]);
    expect(outcome.done.map((step) => step.id)).toEqual(['d']);
    expect(outcome.failed).toMatchObject([
      { step: { id: 'a' }, why: expect.stringContaining('waits for itself (a <- b <- a)') },
    ]);
    expect(ids(outcome.skipped).sort()).toEqual(['b', 'c']);
    expect(outcome.stopped).toBe(false);
  });

  it('what only comes after a failed step is done all the same', async () => {
    const { outcome } = await run([script('bad', 'exit 1'), script('next', 'true', [], 'h2', ['bad'])]);
    expect(outcome.done.map((step) => step.id)).toEqual(['next']);
  });

  it('order across hosts is kept', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'order-'));
    const { outcome } = await run([
      script('second', `[ -e ${folder}/first ]`, ['first'], 'h2'),
      script('first', `touch ${folder}/first`, [], 'h1'),
    ]);
    expect(outcome.failed).toEqual([]);
    expect(outcome.done.map((step) => step.id)).toEqual(['first', 'second']);
  });

  it('a script that dies in the middle fails its steps rather than losing them', async () => {
    const { outcome } = await run([script('a', 'kill -9 $$'), script('b', 'true', ['a'])]);
    expect(outcome.done).toEqual([]);
    expect([...ids(outcome.failed), ...ids(outcome.skipped)].sort()).toEqual(['a', 'b']);
  });

  it('a stop lets what runs end and begins nothing new', async () => {
    const stop = new AbortController();
    const steps = [script('a', 'true'), script('b', 'true', ['a'], 'h2')];
    stop.abort();
    const { outcome } = await run(steps, stop.signal);
    expect(outcome).toMatchObject({ done: [], stopped: true });
  });

  it('a stop while a member is waited for is a stop, also where that was the last step', async () => {
    const stop = new AbortController();
    const check = { kind: 'script', command: 'exit 1', intervalMs: 50, timeoutMs: 1_000, rise: 1, fall: 1 };
    const ready = {
      ...{ id: 'ready web@h1', verb: 'ready', target: 'web@h1', service: 'web', why: 'test', needs: [] },
      do: { kind: 'ready', member: 'web@h1', address: '10.9.0.1', port: 80, check, timeoutMs: 30_000 },
    } as unknown as Step;
    setTimeout(() => stop.abort(), 50);
    const { outcome } = await run([ready], stop.signal);
    expect(outcome).toMatchObject({ stopped: true, failed: [], held: [{ why: 'stopped before it served' }] });
  });

  it('a journal that cannot be written is told of once, and every step is done', async () => {
    const told: string[] = [];
    const { outcome } = await run([script('a', 'true'), script('b', 'true', ['a'])], undefined, {
      // A folder: nobody can append to it, not even root.
      path: mkdtempSync(join(tmpdir(), 'apply-')),
      tell: (sentence) => told.push(sentence),
    });
    expect(ids(outcome.done.map((step) => ({ step })))).toEqual(['a', 'b']);
    expect(told).toEqual([expect.stringMatching(/^the journal cannot be written, .*EISDIR/)]);
  });

  it("nobody else reads the journal, which quotes members' logs; nor one from before", async () => {
    const { path } = await run([script('a', 'true')]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    chmodSync(path, 0o644);
    new Journal(path).write({ event: 'end', outcome: 'done' });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('a journal without an end tells of the interrupted run', async () => {
    const { path } = await run([script('a', 'true'), script('b', 'exit 1')]);
    expect(interrupted(path)).toMatchObject({ command: 'up', done: 1, of: 2 });
    const journal = new Journal(path);
    journal.write({ event: 'begin', command: 'up', steps: [] });
    journal.write({ event: 'end', outcome: 'done' });
    expect(interrupted(path)).toBeUndefined();
  });
});
