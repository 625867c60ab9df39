import { expect, it } from 'vitest';
import { sample, up } from '../testing/sample.ts';
import { stub } from '../testing/world.ts';
import { applyConfig } from './config.ts';

/** What is done to a member of `from` so that it runs as `to` says. */
async function changed(from: string, to: string): Promise<string[]> {
  const now = sample({ persistence: to }, 1);
  const running = up(sample({ persistence: from }, 1), 'cart@d1');
  const world = stub(
    now,
    () => ({ members: [running], sentinels: [] }),
    (_, command) =>
      command === 'ROLE'
        ? ['master', 0, []]
        : command.startsWith('CONFIG GET')
          ? Object.entries(running.config!).flat()
          : 'OK',
  );
  await applyConfig(world, 'cart@d1');
  return world.done;
}

it('a log that is no longer written is marked before: a start does not take it for the newest', async () => {
  expect(await changed('aof', 'rdb')).toEqual([
    'cd /hosts/d1/members/cart@d1 && echo rdb >data/.unlogged',
    'cart@d1 CONFIG SET save 3600 1 300 100 60 10000 appendonly no',
  ]);
  expect((await changed('aof', 'none'))[0]).toContain('echo none >data/.unlogged');
});

it('one that is written again counts from then on', async () => {
  expect(await changed('rdb', 'aof')).toEqual([
    'cart@d1 CONFIG SET save  appendonly yes',
    'cd /hosts/d1/members/cart@d1 && rm -f data/.unlogged',
  ]);
  expect(await changed('aof', 'mixed')).toEqual(['cart@d1 CONFIG SET aof-use-rdb-preamble yes']);
});

it('without a log as well a start knows by the mark whether anything was saved', async () => {
  // Not before it is so: a member that holds nothing would be taken for whole.
  expect(await changed('none', 'rdb')).toEqual([
    'cart@d1 CONFIG SET save 3600 1 300 100 60 10000',
    'cd /hosts/d1/members/cart@d1 && echo rdb >data/.unlogged',
  ]);
  expect(await changed('rdb', 'none')).toEqual([
    'cd /hosts/d1/members/cart@d1 && echo none >data/.unlogged',
    'cart@d1 CONFIG SET save ',
  ]);
  expect(await changed('none', 'aof')).toEqual([
    'cart@d1 CONFIG SET appendonly yes',
    'cd /hosts/d1/members/cart@d1 && rm -f data/.unlogged',
  ]);
});
