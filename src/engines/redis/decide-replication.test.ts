import { describe, expect, it } from 'vitest';
import { decideReplication } from './decide-replication.ts';
import type { LiveMember } from './live.ts';
import { down, following, sample, up } from './testing/sample.ts';

const of = sample({});
const decide = (members: LiveMember[], fresh: string[] = [], who = of): string[] =>
  decideReplication(who.service, who.cluster, { members, sentinels: [] }, new Set(fresh)).map((one) =>
    ['hold', 'wait for'].includes(one.verb)
      ? `${one.verb}: ${one.why}`
      : `${one.verb} ${one.target}: ${one.why}`,
  );

describe('nothing moves', () => {
  it.each(['cart@d1', 'cart@d2', 'cart@d3'])('whoever is master: %s', (leader) => {
    const master = up(of, leader);
    const others = ['cart@d1', 'cart@d2', 'cart@d3'].filter((name) => name !== leader);
    expect(decide([master, ...others.map((name) => following(of, name, master))])).toEqual([]);
  });

  it('with a replica down', () => {
    const master = up(of, 'cart@d2');
    expect(decide([master, following(of, 'cart@d1', master), down(of, 'cart@d3')])).toEqual([]);
  });

  it('in a chain after a switchover along it', () => {
    const chain = sample({ depth: 2 });
    const master = up(chain, 'cart@d2');
    const old = following(chain, 'cart@d1', master);
    expect(decide([master, old, following(chain, 'cart@d3', old)], [], chain)).toEqual([]);
  });
});

it('new members: the first of the file leads, the others copy it, chains from the top', () => {
  const empty = { keys: 0, offset: 0 };
  const names = ['cart@d1', 'cart@d2', 'cart@d3'];
  const blank = (who: typeof of) => names.map((name, i) => up(who, name, { ...empty, replid: String(i) }));
  expect(decide(blank(of))).toEqual([
    'replicate cart@d2: empty: copies cart@d1',
    'replicate cart@d3: empty: copies cart@d1',
  ]);
  const chain = sample({ depth: 2 });
  expect(decide(blank(chain), [], chain)).toEqual([
    'replicate cart@d2: empty: copies cart@d1',
    'replicate cart@d3: empty: copies cart@d2',
  ]);
});

it('a member that came back empty becomes a replica, wherever it stands in the file', () => {
  const master = up(of, 'cart@d2');
  const members = [
    up(of, 'cart@d1', { keys: 0, replid: 'x', offset: 0 }),
    master,
    following(of, 'cart@d3', master),
  ];
  expect(decide(members)).toEqual(['replicate cart@d1: empty: copies cart@d2']);
});

it('an empty master does not lead a replica that has the data', () => {
  const master = up(of, 'cart@d1', { keys: 0, replid: 'x', offset: 0 });
  const replica = up(of, 'cart@d2', {
    role: 'replica',
    upstream: { address: master.address, port: master.port },
    linkUp: false,
  });
  expect(decide([master, replica, down(of, 'cart@d3')])[0]).toMatch(/^promote cart@d2/);
});

it('of members that lost their master together the one with the highest offset leads', () => {
  const upstream = { address: '10.1.0.11', port: 6379 };
  const replica = (name: string, offset: number) =>
    up(of, name, { role: 'replica', upstream, linkUp: false, offset });
  // The old master restarted without its data: it follows its own replica, and is never to be promoted (start.ts).
  const restarted = up(of, 'cart@d1', {
    ...{
      role: 'replica' as const,
      upstream: { address: '10.1.0.12', port: 6379 },
      linkUp: false,
      keys: 99,
      replid: 'z',
      offset: 0,
    },
    config: { 'replica-priority': '0' },
  });
  const moves = decide([restarted, replica('cart@d2', 500), replica('cart@d3', 700)]);
  expect(moves[0]).toMatch(/^promote cart@d3/);
  expect(moves).toContain('replicate cart@d2: copies 10.1.0.11:6379, is to copy cart@d3');
});

it('a former master whose every write the new one has becomes its replica', () => {
  const master = up(of, 'cart@d2', { replid: 'b', replid2: 'a', secondOffset: 1001, offset: 5000 });
  const old = up(of, 'cart@d1', { replid: 'a', offset: 1000 });
  expect(decide([old, master, following(of, 'cart@d3', master, { replid: 'b' })])).toEqual([
    'replicate cart@d1: was master before; all it holds is in cart@d2',
  ]);
});

it('a former master with writes of its own is held, never wiped', () => {
  const master = up(of, 'cart@d2', { replid: 'b', replid2: 'a', secondOffset: 900, offset: 5000 });
  const old = up(of, 'cart@d1', { replid: 'a', offset: 1000 });
  const moves = decide([old, master, following(of, 'cart@d3', master, { replid: 'b' })]);
  expect(moves.length).toBe(1);
  expect(moves[0]).toMatch(/^hold: .*each hold writes that another lacks/);
});

it('a master that does not answer is not replaced without a word', () => {
  const gone = down(of, 'cart@d1');
  const upstream = { address: gone.address, port: gone.port };
  const members = [
    gone,
    ...['cart@d2', 'cart@d3'].map((name) => up(of, name, { role: 'replica', upstream, linkUp: false })),
  ];
  expect(decide(members)).toEqual([
    expect.stringMatching(/^hold: its master cart@d1 does not answer .*--force/),
  ]);
});

it('empty members do not choose a master while one is silent that may have the data', () => {
  const members = [up(of, 'cart@d1', { keys: 0 }), up(of, 'cart@d2', { keys: 0 }), down(of, 'cart@d3')];
  expect(decide(members)).toEqual([
    expect.stringMatching(/^wait for: cart@d3 does not answer, and may hold the data/),
  ]);
});

describe('a member leaves', () => {
  const before = sample({}, 4);
  const now = {
    ...before,
    service: { ...before.service, hosts: ['d1', 'd2'] },
  };
  const leaves = (member: LiveMember): LiveMember => ({ ...member, leaving: true });
  const lacks = /^hold: it stays while cart lacks a member: cart@d2 does not answer/;

  it('the last replica waits for one that does not come up', () => {
    const master = up(before, 'cart@d1');
    const members = [master, down(now, 'cart@d2'), leaves(following(before, 'cart@d3', master))];
    expect(decide(members, [], now)).toEqual([expect.stringMatching(lacks)]);
  });

  it('it waits until the other has copied', () => {
    const master = up(before, 'cart@d1');
    const other = following(now, 'cart@d2', master, { linkUp: false });
    const old = leaves(following(before, 'cart@d3', master));
    expect(decide([master, other, old], [], now)).toEqual([
      'sync cart@d2: until it has its data: others leave',
    ]);
    expect(decide([master, { ...other, linkUp: true }, old], [], now)).toEqual([]);
    expect(decide([master, old], ['cart@d2'], now)).toEqual(['replicate cart@d2: new: copies cart@d1']);
  });

  it('a master hands over, and waits likewise', () => {
    const master = leaves(up(before, 'cart@d3'));
    const heir = following(now, 'cart@d1', master);
    const handed = 'hand over cart@d3: the file no longer has it; cart@d1 becomes master';
    expect(decide([heir, down(now, 'cart@d2'), master], [], now)).toEqual([
      handed,
      expect.stringMatching(lacks),
    ]);
    const live = { members: [heir, master], sentinels: [] };
    const moves = decideReplication(now.service, now.cluster, live, new Set(['cart@d2']));
    expect(moves.map((one) => one.id)).toEqual(['hand over cart@d3', 'replicate cart@d2']);
    expect(moves[1]!.needs).toEqual(['hand over cart@d3']);
    // It was started, and has copied nobody: the run before was cut short.
    const begun = { ...live, members: [heir, up(now, 'cart@d2', { keys: 0 }), master] };
    const rest = decideReplication(now.service, now.cluster, begun, new Set());
    expect(rest.map((one) => one.id)).toEqual(['hand over cart@d3', 'replicate cart@d2']);
    expect(rest[1]!.needs).toEqual(['hand over cart@d3']);
  });

  it('what is dead and out of the file as well keeps nobody', () => {
    const one = {
      ...before,
      service: { ...before.service, hosts: ['d1'], spec: { ...of.service.spec, replicas: 0 } },
    };
    const master = up(before, 'cart@d1');
    const members = [master, leaves(following(before, 'cart@d3', master)), leaves(down(before, 'cart@d2'))];
    expect(decide(members, [], one)).toEqual([]);
  });
});

describe('a master lost its disk', () => {
  const empty = { keys: 0, offset: 0, replid: 'new' };
  const copying = (host: number) => ({
    role: 'replica' as const,
    upstream: { address: `10.1.0.${host}`, port: 6379 },
    linkUp: false,
  });

  it('it waits as a copy of a replica, and the newest of those leads', () => {
    const config = { 'replica-priority': '0' };
    const master = up(of, 'cart@d1', { ...empty, ...copying(12), config });
    const others = [up(of, 'cart@d2', copying(11)), up(of, 'cart@d3', { ...copying(11), offset: 1010 })];
    expect(decide([master, ...others])).toEqual([
      'promote cart@d3: it has the newest data, and there is no master',
      'replicate cart@d1: copies 10.1.0.12:6379, is to copy cart@d3',
      'replicate cart@d2: copies 10.1.0.11:6379, is to copy cart@d3',
    ]);
  });

  it('it came back before its replica, which leads', () => {
    const pair = sample({}, 2);
    const members = [up(pair, 'cart@d1', empty), up(pair, 'cart@d2')];
    expect(decide(members, [], pair)).toEqual(['replicate cart@d1: empty: copies cart@d2']);
  });
});
