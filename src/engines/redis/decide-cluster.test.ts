import { describe, expect, it } from 'vitest';
import { decideCluster } from './decide-cluster.ts';
import type { LiveMember, RedisLive } from './live.ts';
import { parseNodes } from './nodes.ts';
import type { Range } from './slots.ts';
import { deal } from './slots.ts';
import { down, id, type Shard, sample, shards, up } from './testing/sample.ts';

const of = sample({ mode: 'cluster' });
const movesOf = (live: RedisLive, who = of, fresh: string[] = []) =>
  decideCluster(who.service, who.cluster, live, new Set(fresh));
const decide = (live: RedisLive, who = of, fresh: string[] = []): string[] =>
  movesOf(live, who, fresh).map((one) => `${one.id}: ${one.why}`);

const three = deal(3);
const range = (i: number): Range[] => [three[i]!];
const formed: Shard[] = [
  { master: 'cart@d1', slots: range(0), replicas: ['cart.2@d2'] },
  { master: 'cart@d2', slots: range(1), replicas: ['cart.2@d3'] },
  { master: 'cart@d3', slots: range(2), replicas: ['cart.2@d1'] },
];
/** d1 died, its replica leads, and d1 came back. */
const failedOver: Shard[] = [
  { master: 'cart.2@d2', slots: range(0), replicas: ['cart@d1'] },
  ...formed.slice(1),
];

describe('fail over, up again: nothing moves', () => {
  it('as it was formed', () => expect(decide(shards(of, formed))).toEqual([]));
  it('when the old master has come back', () => expect(decide(shards(of, failedOver))).toEqual([]));
  it('while the old master is down', () =>
    expect(decide(shards(of, failedOver, { silent: ['cart@d1'] }))).toEqual([]));
  it('with a replica down', () => expect(decide(shards(of, formed, { silent: ['cart.2@d1'] }))).toEqual([]));
  it('after two failovers, two masters on one host', () => {
    const twice = [
      failedOver[0]!,
      { master: 'cart.2@d3', slots: range(1), replicas: ['cart@d2'] },
      formed[2]!,
    ];
    expect(decide(shards(of, twice))).toEqual([]);
  });
  it('with slots that somebody moved by hand, within 2%', () => {
    const [a, b, c] = formed;
    const slots: Shard[] = [{ ...a!, slots: [[0, 5400]] }, { ...b!, slots: [[5401, 10_921]] }, c!];
    expect(decide(shards(of, slots))).toEqual([]);
  });
});

it('forms: all meet, all slots are given, no replica beside its master', () => {
  const names = formed.flatMap((shard) => [shard.master, ...shard.replicas]);
  const moves = movesOf(shards(of, [], { blank: names }));
  expect(moves.map((one) => one.verb)).toEqual(['join', 'slots', 'replicate', 'replicate', 'replicate']);
  const given = Object.values(moves[1]!.action.args['slots'] as Record<string, Range[]>).flat();
  expect(given.reduce((sum, [from, to]) => sum + to - from + 1, 0)).toBe(16_384);
  for (const { action } of moves.slice(2)) {
    const { member, master } = action.args as { member: string; master: string };
    expect(member.split('@')[1]).not.toBe(master.split('@')[1]);
  }
});

it('does not form around a member that does not answer: it may own the slots', () => {
  const names = formed.flatMap((shard) => [shard.master, ...shard.replicas]);
  const live = shards(of, [], { blank: names.slice(1) });
  expect(decide(live)).toEqual([expect.stringMatching(/^wait for cart: cart@d1 do not answer/)]);
});

it('waits for an election, and does nothing else meanwhile', () => {
  expect(decide(shards(of, formed, { silent: ['cart@d1'] }))).toEqual([
    expect.stringMatching(/has not been elected yet/),
  ]);
});

it('slots whose master is gone with no replica are never given away silently', () => {
  const bare: Shard[] = [{ ...formed[0]!, replicas: [] }, ...formed.slice(1)];
  expect(decide(shards(of, bare, { silent: ['cart@d1'] }))).toEqual([
    expect.stringMatching(/^hold slots 0-5460: they are on cart@d1, which does not answer/),
  ]);
});

it('a replica that came back with an empty disk joins again, and its old self is forgotten', () => {
  const live = shards(of, formed, { silent: ['cart.2@d1'] });
  const [again] = shards(of, [], { blank: ['cart.2@d1'] }).members as [LiveMember];
  const own = {
    ...again,
    nodes: parseNodes(`${id('another')} ${again.address}:${again.port}@1 myself,master - 0 0 0 connected`),
  };
  const members = live.members.map((one) => (one.name === 'cart.2@d1' ? own : one));
  expect(decide({ members, sentinels: [] }).map((text) => text.split(':')[0])).toEqual([
    'join cart',
    'forget cart',
    'replicate cart.2@d1',
  ]);
});

describe('grow', () => {
  const four = sample({ mode: 'cluster', shards: 4 });
  const moves = movesOf(shards(four, formed, { blank: ['cart.3@d1', 'cart.3@d2'] }), four);

  it('a new master gets a quarter of the slots, and a replica on another host first', () => {
    expect(moves.map((one) => one.id)).toEqual([
      'join cart',
      'replicate cart.3@d2',
      'move slots cart@d3 to cart.3@d1',
      'move slots cart@d1 to cart.3@d1',
      'move slots cart@d2 to cart.3@d1',
    ]);
    const moved = moves.flatMap((one) => (one.action.args['slots'] as Range[] | undefined) ?? []);
    expect(moved.reduce((sum, [from, to]) => sum + to - from + 1, 0)).toBe(4096);
    expect(moves[2]!.needs).toContain('replicate cart.3@d2');
  });

  it('members that are yet to be started are planned for by name', () => {
    expect(movesOf(shards(four, formed), four, ['cart.3@d1', 'cart.3@d2']).map((one) => one.id)).toEqual(
      moves.map((one) => one.id),
    );
  });

  it('what was interrupted goes on where it stood', () => {
    const begun: Shard[] = [...formed, { master: 'cart.3@d1', slots: [], replicas: ['cart.3@d2'] }];
    const open = { 'cart@d3': `[10922->-${id('cart.3@d1')}]`, 'cart.3@d1': `[10922-<-${id('cart@d3')}]` };
    const again = movesOf(shards(four, begun, { open }), four);
    expect(again[0]!.id).toBe('finish cart@d3 to cart.3@d1');
    expect(again[0]!.action.args).toEqual({ from: 'cart@d3', to: 'cart.3@d1', slots: [[10_922, 10_922]] });
    expect(again.some((one) => one.verb === 'replicate')).toBe(false);
  });
});

describe('an open slot is finished', () => {
  const target = id('cart@d2');
  const source = id('cart@d1');
  const finish = (list: Shard[], open: Record<string, string>) =>
    movesOf(shards(of, list, { open }))[0]!.action.args;

  it('when only the destination was told', () => {
    expect(finish(formed, { 'cart@d2': `[7-<-${source}]` })).toEqual({
      from: 'cart@d1',
      to: 'cart@d2',
      slots: [[7, 7]],
    });
  });
  it('when the source failed over: its successor, which knows nothing of it, has the rest of the keys', () => {
    expect(finish(failedOver, { 'cart@d2': `[7-<-${source}]` })).toEqual({
      from: 'cart.2@d2',
      to: 'cart@d2',
      slots: [[7, 7]],
    });
  });
  it('when the destination failed over: its successor has the keys that were moved', () => {
    const other: Shard[] = [
      formed[0]!,
      { master: 'cart.2@d3', slots: range(1), replicas: ['cart@d2'] },
      formed[2]!,
    ];
    expect(finish(other, { 'cart@d1': `[7->-${target}]` })).toEqual({
      from: 'cart@d1',
      to: 'cart.2@d3',
      slots: [[7, 7]],
    });
  });
  it('when the destination owns it and the source was not told', () => {
    const told: Shard[] = [
      {
        ...formed[0]!,
        slots: [
          [0, 6],
          [8, 5460],
        ],
      },
      { ...formed[1]!, slots: [[7, 7], ...range(1)] },
      formed[2]!,
    ];
    expect(finish(told, { 'cart@d1': `[7->-${target}]` })).toEqual({
      from: 'cart@d1',
      to: 'cart@d2',
      slots: [[7, 7]],
    });
  });
});

describe('shrink', () => {
  const four = sample({ mode: 'cluster', shards: 4 });
  const quarter = deal(4);
  const list: Shard[] = [
    { master: 'cart@d1', slots: [quarter[0]!], replicas: ['cart.2@d2'] },
    { master: 'cart@d2', slots: [quarter[1]!], replicas: ['cart.2@d3'] },
    { master: 'cart@d3', slots: [quarter[2]!], replicas: ['cart.2@d1'] },
    { master: 'cart.3@d1', slots: [quarter[3]!], replicas: ['cart.3@d2'] },
  ];
  const leaving = (live: RedisLive): RedisLive => ({
    ...live,
    members: live.members.map((one) => (one.name.startsWith('cart.3') ? { ...one, leaving: true } : one)),
  });

  it('slots move away first, then all forget the members that leave', () => {
    const moves = movesOf(leaving(shards(four, list)), of);
    const ids = moves.map((one) => one.id);
    expect(ids.filter((one) => one.startsWith('move slots'))).toEqual([
      'move slots cart.3@d1 to cart@d1',
      'move slots cart.3@d1 to cart@d2',
      'move slots cart.3@d1 to cart@d3',
    ]);
    const release = moves.find((one) => one.id === 'release cart.3@d1')!;
    expect(release.needs).toEqual(expect.arrayContaining(ids.filter((one) => one.startsWith('move slots'))));
    expect(ids).toContain('release cart.3@d2');
    expect(ids.some((one) => one.startsWith('replicate'))).toBe(false);
  });

  it('a leaving member that leads a shard that stays gives its place to one that stays', () => {
    // Two failovers: the members that leave are one of two different shards.
    const mixed: Shard[] = [
      { master: 'cart.3@d1', slots: [quarter[0]!], replicas: ['cart.2@d2'] },
      { master: 'cart@d2', slots: [quarter[1]!], replicas: ['cart.2@d3'] },
      { master: 'cart@d3', slots: [quarter[2]!], replicas: ['cart.2@d1'] },
      { master: 'cart.3@d2', slots: [quarter[3]!], replicas: ['cart@d1'] },
    ];
    const moves = movesOf(leaving(shards(four, mixed)), of);
    const handed = moves.filter((one) => one.verb === 'hand over');
    expect(handed.length).toBe(1);
    const release = moves.find((one) => one.id === `release ${handed[0]!.target}`)!;
    expect(release.needs).toContain(handed[0]!.id);
    expect(moves.some((one) => one.destroys)).toBe(false);
  });
});

describe('a member leaves, and another is to come', () => {
  const before = sample({ mode: 'cluster' }, 5);
  before.service.hosts = ['d1', 'd2', 'd3'];
  const now = { ...before, service: { ...before.service, hosts: ['d1', 'd2', 'd5'] } };
  const extra = ['cart@d3', 'cart.2@d3'].map((name) => ({ ...up(before, name), leaving: true }));
  const ids = (list: Shard[], more: { blank?: string[]; dead?: string[]; apart?: string } = {}) => {
    const { members } = shards(now, list, { extra, blank: more.blank ?? [] });
    members.push(...(more.dead ?? []).map((name) => down(now, name)));
    for (const one of members) if (one.name === more.apart) one.linkUp = false;
    return movesOf({ members, sentinels: [] }, now);
  };

  it('the last replica waits for one that does not come up', () => {
    const moves = ids(formed, { dead: ['cart@d5', 'cart.2@d5'] });
    expect(moves.map((one) => `${one.id}: ${one.why}`)).toEqual(
      ['cart.2@d3', 'cart@d3'].map((name) =>
        expect.stringMatching(
          new RegExp(`^hold ${name}: it stays while its shard lacks a member: cart@d5, cart.2@d5 do not`),
        ),
      ),
    );
  });

  it('it waits as well for one that is counted and does not answer', () => {
    const list = [formed[0]!, { ...formed[1]!, replicas: ['cart.2@d3', 'cart.2@d5'] }, formed[2]!];
    const { members } = shards(now, list, { extra, silent: ['cart.2@d5'] });
    members.push(down(now, 'cart@d5'));
    const moves = movesOf({ members, sentinels: [] }, now);
    expect(moves.map((one) => one.id).sort()).toEqual(['hold cart.2@d3', 'hold cart@d3']);
  });

  it('it leaves once the other copies', () => {
    const moves = ids(formed, { blank: ['cart@d5', 'cart.2@d5'] });
    const release = moves.find((one) => one.id === 'release cart.2@d3')!;
    const copying = moves.find((one) => one.verb === 'replicate' && one.action.args['master'] === 'cart@d2')!;
    expect(release.needs).toContain(copying.id);
    expect(moves.some((one) => one.verb === 'hold')).toBe(false);
  });

  it('a copy that was begun and cut short is ended first', () => {
    const list = [formed[0]!, { ...formed[1]!, replicas: ['cart.2@d3', 'cart.2@d5'] }, formed[2]!];
    const moves = ids(list, { blank: ['cart@d5'], apart: 'cart.2@d5' });
    expect(moves.find((one) => one.id === 'release cart.2@d3')!.needs).toContain('copied cart.2@d5');
  });

  it('what the file wants no more leaves, although nobody takes its place', () => {
    const one = { ...before, service: { ...before.service, spec: { ...before.service.spec, replicas: 0 } } };
    const { members } = shards(before, formed);
    for (const member of members) if (member.name.startsWith('cart.2')) member.leaving = true;
    expect(movesOf({ members, sentinels: [] }, one).map(({ id: name }) => name)).toEqual([
      'release cart.2@d2',
      'release cart.2@d3',
      'release cart.2@d1',
    ]);
  });
});

it('another replica each: the new members are given out, nobody is moved', () => {
  const more = sample({ mode: 'cluster', replicas: 2 });
  const moves = movesOf(shards(more, formed, { blank: ['cart.3@d1', 'cart.3@d2', 'cart.3@d3'] }), more);
  const given = moves
    .filter((one) => one.verb === 'replicate')
    .map((one) => one.action.args as { member: string; master: string });
  expect(moves.length).toBe(4);
  expect(given.map((one) => one.member).sort()).toEqual(['cart.3@d1', 'cart.3@d2', 'cart.3@d3']);
  for (const { member, master } of given) {
    const shard = formed.find((one) => one.master === master)!;
    const hosts = [master, ...shard.replicas, member].map((name) => name.split('@')[1]);
    expect(new Set(hosts).size).toBe(3);
  }
});

it('a member with data of its own is not joined', () => {
  const live = shards(of, formed, { silent: ['cart.2@d1'] });
  const [stranger] = shards(of, [], { blank: ['cart.2@d1'] }).members as [LiveMember];
  const members = live.members.map((one) =>
    one.name === 'cart.2@d1'
      ? {
          ...stranger,
          keys: 5,
          nodes: parseNodes(`${id('x')} 10.1.0.11:6380@1 myself,master - 0 0 0 connected`),
        }
      : one,
  );
  expect(decide({ members, sentinels: [] })).toEqual([
    expect.stringMatching(/^hold cart.2@d1: it holds 5 keys/),
  ]);
});

it('a member that the others have forgotten, and that still knows them, is joined again', () => {
  const live = shards(of, formed);
  const last = live.members.find((one) => one.name === 'cart.2@d1')!;
  for (const one of live.members) {
    if (one === last) continue;
    one.nodes = one.nodes!.filter((node) => node.id !== id('cart.2@d1'));
  }
  for (const node of last.nodes!) node.epoch += 100;
  expect(decide(live).map((text) => text.split(':')[0])).toEqual(['join cart', 'replicate cart.2@d1']);
});
