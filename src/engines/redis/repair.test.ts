import { expect, it } from 'vitest';
import type { Damage } from './damage.ts';
import type { LiveMember, RedisLive } from './live.ts';
import { parseNodes } from './nodes.ts';
import { remedy, type Way } from './repair.ts';
import { down, following, id, sample, shards, up, watching } from './testing/sample.ts';

const now = new Date('2026-11-23T18:00:00Z');
const seconds = now.getTime() / 1000;
const cut: Damage = {
  ...{ kind: 'aof', file: 'appendonlydir/appendonly.aof.1.incr.aof', why: 'cut', size: 100, sound: 90 },
  ...{ writes: 1, last: true, writtenAt: seconds - 60 },
};
const snapshot: Damage = { ...cut, kind: 'rdb', file: 'dump.rdb', last: false };

/** cart@d1 is damaged; cart@d2 copied it until so many seconds ago. */
function pair(mode: string, damage: Damage, lostTouch?: number) {
  const of = sample({ mode }, mode === 'replication' ? 2 : 3);
  const damaged: LiveMember = { ...down(of, 'cart@d1'), damage };
  const master = up(of, 'cart@d1');
  const replica = following(of, 'cart@d2', master, {
    linkUp: false,
    info: {
      server_time_usec: String(seconds * 1e6),
      master_link_down_since_seconds: String(lostTouch),
    },
  });
  const live: RedisLive = {
    members: lostTouch === undefined ? [damaged] : [damaged, replica],
    sentinels: [],
  };
  return (way?: Way) => remedy(of.service, of.cluster, live, damaged, way, now);
}

const titles = (found: ReturnType<typeof remedy>): string[] => found.steps.map(({ id: name }) => name);

it('a log that nobody else has is shortened', () => {
  const found = pair('replication', cut)();
  expect(titles(found)).toEqual(['repair cart@d1', 'ready cart@d1']);
  expect(found.steps.every(({ destroys }) => destroys === undefined)).toBe(true);
});

it('a log is not shortened by itself while a member that may have the whole of it cannot be asked', () => {
  const of = sample({}, 2);
  const damaged: LiveMember = { ...down(of, 'cart@d1'), damage: cut };
  const loading = up(of, 'cart@d2', { loading: true, keys: 3 });
  for (const other of [down(of, 'cart@d2'), loading, { ...down(of, 'cart@d2'), loading: true }]) {
    const live: RedisLive = { members: [damaged, other], sentinels: [] };
    const found = (way?: Way) => remedy(of.service, of.cluster, live, damaged, way, now);
    expect(found().steps).toEqual([]);
    expect(found().found.join('\n')).toMatch(
      /cart@d2 (does not|is still).*may have all of it\n.*\n.*once cart@d2/,
    );
    expect(found('shorten').steps[0]!.destroys).toBe('cart');
  }
});

it('an empty master that nobody follows is no copy: the log is mended, not set aside for it', () => {
  const of = sample({}, 2);
  const damaged: LiveMember = { ...down(of, 'cart@d1'), damage: cut };
  const blank = up(of, 'cart@d2', { keys: 0, offset: 0, replid: 'x' });
  const live: RedisLive = { members: [damaged, blank], sentinels: [] };
  const found = remedy(of.service, of.cluster, live, damaged, undefined, now);
  expect(found.found.join()).toContain('no other member that answers has its data');
  expect(titles(found)).toEqual(['repair cart@d1', 'ready cart@d1']);
  expect(remedy(of.service, of.cluster, live, damaged, 'copy', now).steps).toEqual([]);
});

it('an empty master that the sentinels name is copied only where a person says so', () => {
  const of = sample({ mode: 'sentinel' });
  const damaged: LiveMember = { ...down(of, 'cart@d1'), damage: cut };
  const blank = up(of, 'cart@d2', { keys: 0, offset: 0, replid: 'x' });
  const members = [damaged, blank];
  const live: RedisLive = { members, sentinels: watching(of, blank, members) };
  const found = (way?: Way) => remedy(of.service, of.cluster, live, damaged, way, now);
  expect(found().steps).toEqual([]);
  expect(found().found.join()).toContain('the sentinels name cart@d2 as master, and it is empty');
  for (const way of ['copy', 'shorten'] as const)
    expect(found(way).steps.some(({ destroys }) => destroys === 'cart')).toBe(true);
});

it('in a cluster that is one of the same shard', () => {
  const of = sample({ mode: 'cluster' });
  const list = [
    { master: 'cart@d1', slots: [[0, 5460]] as [number, number][], replicas: ['cart.2@d2'] },
    { master: 'cart@d2', slots: [[5461, 10_922]] as [number, number][], replicas: ['cart.2@d3'] },
    { master: 'cart@d3', slots: [[10_923, 16_383]] as [number, number][], replicas: ['cart.2@d1'] },
  ];
  const steps = (silent: string[]) => {
    const live = shards(of, list, { silent: ['cart@d1', ...silent] });
    const damaged = live.members.find((one) => one.name === 'cart@d1')!;
    const [self] = parseNodes(`${id('cart@d1')} 10.1.0.11:6379@16379 myself,master - 0 0 1 connected 0-5460`);
    damaged.damage = { ...cut, self: self! };
    const mine = live.members.find((one) => one.name === 'cart.2@d2')!;
    // Its own replica has nothing yet.
    if (mine.up) Object.assign(mine, { keys: 0, linkUp: false });
    return titles(remedy(of.service, of.cluster, live, damaged, undefined, now));
  };
  expect(steps(['cart.2@d3'])).toEqual(['repair cart@d1', 'ready cart@d1']);
  expect(steps(['cart.2@d2'])).toEqual([]);
});

it('a replica that was in touch after the last write is taken instead, and leads', () => {
  expect(titles(pair('replication', cut, 50)())).toEqual([
    'promote cart@d2',
    'set aside cart@d1',
    'ready cart@d1',
  ]);
});

it('a replica that lost touch before the last write is not taken unless a person says so', () => {
  const found = pair('replication', cut, 600);
  expect(found().steps).toEqual([]);
  expect(found().found.join('\n')).toMatch(/--way copy --allow-data-loss cart.*\n.*--way shorten/);
  expect(found('copy').steps.map(({ destroys }) => destroys)).toEqual([undefined, 'cart', undefined]);
  // The word that was given for the loss is enough for the one that is to lead, too.
  expect(found('copy').steps[0]!.do).toMatchObject({ action: { args: { allowDataLoss: true } } });
  expect(found('shorten').steps[0]!.destroys).toBe('cart');
});

it('a snapshot that nobody else has is held', () => {
  const found = pair('replication', snapshot);
  expect(found().steps).toEqual([]);
  expect(found('shorten').steps).toEqual([]);
  expect(found('empty').steps[0]!.destroys).toBe('cart');
});

it('the member that took over the slots is copied, without a word about promoting', () => {
  const of = sample({ mode: 'cluster' });
  const live = shards(
    of,
    [
      { master: 'cart.2@d2', slots: [[0, 5460]], replicas: ['cart@d1'] },
      { master: 'cart@d2', slots: [[5461, 10_922]], replicas: ['cart.2@d3'] },
      { master: 'cart@d3', slots: [[10_923, 16_383]], replicas: ['cart.2@d1'] },
    ],
    { silent: ['cart@d1'] },
  );
  const damaged = live.members.find((one) => one.name === 'cart@d1')!;
  // As its own nodes.conf has it: from before the failover.
  const [self] = parseNodes(`${id('cart@d1')} 10.1.0.11:6379@16379 myself,master - 0 0 1 connected 0-5460`);
  damaged.damage = { ...snapshot, self: self! };
  const found = remedy(of.service, of.cluster, live, damaged, undefined, now);
  expect(found.found.join()).toContain('cart.2@d2 is master of its data, with 10 keys');
  expect(titles(found)).toEqual(['set aside cart@d1', 'ready cart@d1']);
});
