import { expect, it } from 'vitest';
import { down, following, id, sample, shards, up, watching } from '../testing/sample.ts';
import { sourcesOf } from './sources.ts';

const three = [
  { master: 'cart@d1', slots: [[0, 5460]] as [number, number][], replicas: ['cart.2@d2'] },
  { master: 'cart@d2', slots: [[5461, 10_922]] as [number, number][], replicas: ['cart.2@d3'] },
  { master: 'cart@d3', slots: [[10_923, 16_383]] as [number, number][], replicas: ['cart.2@d1'] },
];

it('each shard is copied from its replica', () => {
  const of = sample({ mode: 'cluster' });
  const found = sourcesOf(of.service, shards(of, three));
  expect(found.map(({ from, role }) => [from.name, role])).toEqual([
    ['cart.2@d2', 'replica'],
    ['cart.2@d3', 'replica'],
    ['cart.2@d1', 'replica'],
  ]);
});

it('a master is copied from only when it has no replica in touch', () => {
  const of = sample({ mode: 'cluster' });
  const [first, ...rest] = sourcesOf(of.service, shards(of, three, { silent: ['cart.2@d2'] }));
  expect([first!.from.name, first!.role]).toEqual(['cart@d1', 'master']);
  expect(rest.map(({ role }) => role)).toEqual(['replica', 'replica']);
});

it('while an owner is silent nothing is copied', () => {
  const of = sample({ mode: 'cluster' });
  expect(() => sourcesOf(of.service, shards(of, three, { silent: ['cart@d2'] }))).toThrow(
    'cart@d2 owns slots and does not answer',
  );
});

it('while slots move nothing is copied', () => {
  const of = sample({ mode: 'cluster' });
  const open = { 'cart@d1': `[5->-${id('cart@d2')}]` };
  expect(() => sourcesOf(of.service, shards(of, three, { open }))).toThrow('are on the move');
});

it('the furthest replica in touch of the master that the sentinels name', () => {
  const of = sample({ mode: 'sentinel' });
  const master = up(of, 'cart@d2');
  const members = [
    following(of, 'cart@d1', master, { offset: 900 }),
    master,
    following(of, 'cart@d3', master, { offset: 950 }),
  ];
  const live = { members, sentinels: watching(of, master, members) };
  expect(sourcesOf(of.service, live)[0]!.from.name).toBe('cart@d3');
  members[2]!.linkUp = false;
  expect(sourcesOf(of.service, live)[0]!.from.name).toBe('cart@d1');
});

it('without a master that answers nothing is copied', () => {
  const of = sample({ mode: 'replication' });
  expect(() => sourcesOf(of.service, { members: [down(of, 'cart@d1')], sentinels: [] })).toThrow(
    'cart has no master that answers',
  );
});
