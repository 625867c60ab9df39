import { readdirSync, readFileSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { busily, falseMoves } from './sweep.ts';

/** The holders of the role at one look after the other, the last for ever; undefined: nobody can say. */
function watched(looks: (string[] | undefined)[], blind?: number): Promise<number | null> {
  let n = 0;
  return falseMoves(
    'master',
    200 * looks.length - 100,
    async () => {
      const holders = looks[Math.min(n++, looks.length - 1)];
      if (holders === undefined) throw new Error('nobody answers');
      return {
        drills: { aim: (_role, _live, pick) => ({ host: holders[pick(holders.length)]! }) },
        live: {},
      };
    },
    new AbortController().signal,
    blind,
  );
}

test('a role that changes hands has moved, one that another plays beside its holder too', async () => {
  const [quiet, moved, beside] = await Promise.all([
    watched([['a'], ['a'], ['a']]),
    watched([['a'], undefined, ['b'], ['a']]),
    watched([['a'], ['a', 'b'], ['a']]),
  ]);
  expect([quiet, moved, beside]).toEqual([0, 2, 2]);
});

test('what nobody saw is not known, and never none', async () => {
  expect(await watched([undefined, undefined])).toBeNull();
  expect(await watched([['a'], undefined, undefined, undefined, ['a']], 300)).toBeNull();
});

test('a count that cannot be begun is not known, and takes nothing of the sweep with it', async () => {
  const { signal } = new AbortController();
  const failovers = () => Promise.reject(new Error('lb2 does not answer'));
  const one = { drills: { aim: () => ({ host: 'a' }), failovers }, live: {} };
  expect(await busily({ signal }, 'owner', 10, async () => one)).toBeNull();
  const over = busily({ signal: AbortSignal.abort(new Error('interrupted')) }, 'owner', 10, async () => one);
  await expect(over).rejects.toThrow('interrupted');
});

test('the cores are let go, however soon the watching ends', { timeout: 30_000 }, async () => {
  const loops = (): number =>
    readdirSync('/proc').filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('while kill -0 $PPID; do :; done');
      } catch {
        return false;
      }
    }).length;
  const one = { drills: { aim: () => ({ host: 'a' }), failovers: async () => async () => 0 }, live: {} };
  for (let n = 0; n < 10; n++) {
    const ending = new AbortController();
    const watching = busily({ signal: ending.signal }, 'owner', 10_000, async () => one);
    setTimeout(() => ending.abort(new Error('interrupted')), n);
    await expect(watching).rejects.toThrow('interrupted');
  }
  await vi.waitFor(() => expect(loops()).toBe(0), { timeout: 5_000 });
});
