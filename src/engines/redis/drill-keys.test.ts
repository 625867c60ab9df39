import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import type { Dial } from './client.ts';
import { groupsOf, masterless } from './drill-client.ts';
import { type Removal, removeKeys } from './drill-keys.ts';
import type { RedisLive } from './live.ts';
import { down, sample, shards, up } from './testing/sample.ts';

const two = sample({ mode: 'replication' }, 2);
const [first, second] = ['cart@d1', 'cart@d2'] as [string, string];

/** Masters that answer an UNLINK so; gives what each was asked to remove. */
function masters(answers: Record<string, () => Error | null>): {
  dial: Dial;
  asked: Record<string, string[]>;
} {
  const asked: Record<string, string[]> = {};
  const dial = async ({ name }: { name: string }) =>
    ({
      scan: async () => ['0', ['run:1', 'run:2']],
      pipeline: (commands: [string, string][]) => ({
        exec: async () =>
          commands.map(([, key]) => {
            asked[name] = [...(asked[name] ?? []), key];
            const error = answers[name]!();
            return [error, error ? undefined : 1];
          }),
      }),
      disconnect: () => {},
    }) as unknown as Redis;
  return { dial, asked };
}

const removal = (members: RedisLive['members'], dial: Dial, masterless: string[] = []): Removal => ({
  prefix: 'run:',
  observe: async () => ({ members, sentinels: [] }),
  masterless: () => masterless,
  dial,
});

test('a master that refuses is told, after the others have been emptied', async () => {
  const { dial, asked } = masters({ [first]: () => new Error('NOREPLICAS'), [second]: () => null });
  const members = [up(two, first), up(two, second)];
  await expect(removeKeys(removal(members, dial), 0)).rejects.toThrow(`${first}: NOREPLICAS`);
  expect(asked[second]).toContain('run:2');
});

test('one that refuses for a moment is asked again', async () => {
  let times = 0;
  const { dial } = masters({ [first]: () => (++times < 3 ? new Error('LOADING') : null) });
  await removeKeys(removal([up(two, first)], dial), 5_000);
  expect(times).toBeGreaterThan(2);
});

test('a shard without a master is told: whoever answers may not hold its keys', async () => {
  const { dial } = masters({});
  const waits = removal([down(two, first)], dial, ['shard 2 has no master that answers']);
  await expect(removeKeys(waits, 0)).rejects.toThrow('shard 2 has no master');

  const three = sample({ mode: 'cluster', shards: 3 });
  const names = ['cart@d1', 'cart@d2', 'cart@d3'];
  const list = names.map((master, i) => ({
    master,
    slots: [[i * 5_000, i === 2 ? 16_383 : i * 5_000 + 4_999]] as [number, number][],
    replicas: [],
  }));
  const { service } = three;
  const groups = groupsOf(service, shards(three, list));
  expect(masterless(service, shards(three, list), groups)).toEqual([]);
  expect(masterless(service, shards(three, list, { silent: [names[1]!] }), groups)).toEqual([
    'shard 2 has no master that answers',
  ]);
  const one = { members: [down(two, first), up(two, second, { role: 'replica' })], sentinels: [] };
  expect(masterless(two.service, one, { names: [''], ofKey: () => '', sample: new Map() })).toEqual([
    'cart has no master that answers',
  ]);
});
