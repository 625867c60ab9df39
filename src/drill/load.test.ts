import { expect, test } from 'vitest';
import type { DrillClient, DrillOutcome } from '../engines/drill.ts';
import { Load } from './load.ts';
import type { Recorder } from './recorder.ts';

const begun = performance.now();

/** A load whose operations come to what `invoke` gives, and what was recorded of them. */
function load(invoke: () => Promise<DrillOutcome>, full = false): { load: Load; recorded: string[] } {
  const recorded: string[] = [];
  let i = 0;
  const done = (type: string) => (): void => {
    recorded.push(type);
    if (full) throw new Error('ENOSPC: no space left on device');
  };
  const recorder = {
    now: () => (performance.now() - begun) * 1_000,
    invoke: () => i++,
    ...{ ok: done('ok'), fail: done('fail'), info: done('info') },
  };
  const client = { invoke, groupOf: () => undefined };
  return {
    load: new Load(client as unknown as DrillClient, recorder as unknown as Recorder, {
      ...{ seed: 1, rate: 500, clients: 1, mix: { add: 1 } },
    }),
    recorded,
  };
}

test('a client that throws is one whose outcome is not known', async () => {
  const { load: one, recorded } = load(() => {
    throw new Error('odd');
  });
  one.start();
  await expect.poll(() => one.unanswered).toBeGreaterThan(0);
  await one.stop();
  expect(one.lastError).toBe('odd');
  expect(new Set(recorded)).toEqual(new Set(['info']));
});

test('an operation that never ends is left without an outcome, and its late one is not written into a closed history', async () => {
  const last = Promise.withResolvers<DrillOutcome>();
  const { load: one, recorded } = load(() => last.promise);
  one.start();
  await expect.poll(() => one.invoked).toBeGreaterThan(0);
  await one.stop(20);
  last.resolve({ type: 'ok' });
  await last.promise;
  expect(recorded).toEqual([]);
});

test('what cannot be written does not keep the load from ending', async () => {
  const thrown: string[] = [];
  const listener = (error: Error): void => void thrown.push(error.message);
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', listener);
  try {
    const last = Promise.withResolvers<DrillOutcome>();
    const { load: one } = load(() => last.promise, true);
    one.start();
    await expect.poll(() => one.invoked).toBeGreaterThan(0);
    const stopped = one.stop();
    last.resolve({ type: 'ok' });
    await stopped;
    await expect.poll(() => thrown[0]).toContain('ENOSPC');
  } finally {
    process.removeAllListeners('unhandledRejection');
    for (const other of others) process.on('unhandledRejection', other);
  }
});
