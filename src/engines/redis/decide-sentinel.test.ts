import { describe, expect, it } from 'vitest';
import { decideSentinel } from './decide-sentinel.ts';
import type { LiveSentinel, RedisLive } from './live.ts';
import { down, following, sample, up, watching } from './testing/sample.ts';

const of = sample({ mode: 'sentinel' });
const decide = (live: RedisLive): string[] =>
  decideSentinel(of.service, of.cluster, live, new Set()).map(
    (one) => `${one.verb} ${one.target}: ${one.why}`,
  );

/** d2 leads after a failover from d1, the first of the file. */
function failedOver(): RedisLive {
  const master = up(of, 'cart@d2');
  const members = [following(of, 'cart@d1', master), master, following(of, 'cart@d3', master)];
  return { members, sentinels: watching(of, master, members) };
}
const silent = (one: LiveSentinel): LiveSentinel => ({
  name: one.name,
  host: one.host,
  address: one.address,
  port: one.port,
  up: false,
});

describe('fail over, up again: nothing moves', () => {
  it('when the old master has come back', () => expect(decide(failedOver())).toEqual([]));

  it('while the old master is down', () => {
    const live = failedOver();
    live.members[0] = down(of, 'cart@d1');
    expect(decide(live)).toEqual([]);
  });

  it('with a replica down', () => {
    const live = failedOver();
    live.members[2] = down(of, 'cart@d3');
    expect(decide(live)).toEqual([]);
  });

  it('with a sentinel down', () => {
    const live = failedOver();
    live.sentinels[0] = silent(live.sentinels[0]!);
    expect(decide(live)).toEqual([]);
  });

  it('with a sentinel that still names the old master: the newer configuration counts', () => {
    const live = failedOver();
    live.sentinels[0]!.master = { ...live.sentinels[0]!.master!, address: '10.1.0.11', epoch: 1 };
    expect(decide(live)).toEqual([]);
  });
});

it('waits for a failover that is under way, and never decides instead of the sentinels', () => {
  const live = failedOver();
  live.members[1] = down(of, 'cart@d2');
  expect(decide(live)).toEqual([expect.stringMatching(/^wait for cart: the master cart@d2 does not answer/)]);
});

it('says what a person can do where the master lost its disk, and with it what most sentinels knew', () => {
  const live = failedOver();
  live.members[1] = up(of, 'cart@d2', {
    ...{ role: 'replica', keys: 0, linkUp: false },
    upstream: { address: '10.1.0.11', port: 6379 },
  });
  live.members[0] = { ...live.members[0]!, linkUp: false };
  live.members[2] = down(of, 'cart@d3');
  expect(decide(live)).toEqual(['wait for cart: cart@d2 is named by the sentinels and not yet a master']);
  const { master: _, ...forgetful } = live.sentinels[1]!;
  live.sentinels[1] = forgetful;
  live.sentinels[2] = silent(live.sentinels[2]!);
  expect(decide(live)).toEqual([
    expect.stringMatching(
      /Only 1 of 3 .* SENTINEL REMOVE cart on cart\.sentinel@d1 .*: redis-cli -h 10\.1\.0\.11 -p 26379 --user phalanx,/,
    ),
  ]);
  const spec = { ...of.service.spec, tls: true };
  expect(decideSentinel({ ...of.service, spec }, of.cluster, live, new Set())[0]!.why).toContain(
    '--user phalanx --tls --cacert ca.crt, its password',
  );
  // Which leaves the roles to the data.
  const { master: __, ...removed } = live.sentinels[0]!;
  live.sentinels[0] = removed;
  const { master: ___, ...back } = { ...live.sentinels[2]!, up: true };
  live.sentinels[2] = back;
  expect(decide(live)[0]).toBe('promote cart@d1: it has the newest data, and there is no master');
});

it('changes nothing while an old master that is back and the promoted one both lead', () => {
  const live = failedOver();
  live.members[0] = up(of, 'cart@d1', { keys: 10 });
  for (const one of live.sentinels) one.master = { ...one.master!, address: '10.1.0.11' };
  expect(decide(live)).toEqual([
    expect.stringMatching(/^wait for cart: cart@d2 and cart@d1 are both masters/),
  ]);
});

it('changes nothing on the word of a minority of sentinels', () => {
  const live = failedOver();
  live.sentinels = [live.sentinels[0]!, silent(live.sentinels[1]!), silent(live.sentinels[2]!)];
  live.members[2] = up(of, 'cart@d3', { keys: 0 });
  expect(decide(live)).toEqual([expect.stringMatching(/^wait for cart: only 1 of 3 sentinels name cart@d2/)]);
});

it('a sentinel that watches nothing is told the master of this moment', () => {
  const live = failedOver();
  delete live.sentinels[1]!.master;
  expect(decide(live)).toEqual(['watch cart.sentinel@d2: watches nothing yet: cart@d2 is the master']);
});

it('does not guess a master while sentinels that may know it are silent', () => {
  const live = failedOver();
  delete live.sentinels[1]!.master;
  for (const at of [0, 2]) live.sentinels[at] = silent(live.sentinels[at]!);
  expect(decide(live)).toEqual([
    expect.stringMatching(/^wait for cart: cart.sentinel@d1, cart.sentinel@d3 may know the master/),
  ]);
});

it('forgets a dead stranger one sentinel after the other, and not while anybody is missing', () => {
  const live = failedOver();
  for (const one of live.sentinels)
    one.replicas!.push({ address: '10.1.0.99', port: 6379, flags: 'slave,s_down' });
  const moves = decideSentinel(of.service, of.cluster, live, new Set());
  expect(moves.map((one) => one.id)).toEqual([1, 2, 3].map((n) => `forget on cart.sentinel@d${n}`));
  expect(moves[1]!.needs).toEqual([moves[0]!.id]);
  live.members[2] = down(of, 'cart@d3');
  expect(decide(live)).toEqual([]);
});

it('a quorum that was changed in the file is set live', () => {
  const live = failedOver();
  for (const one of live.sentinels) one.master!.quorum = 3;
  expect(decide(live).map((text) => text.split(':')[1])).toEqual(Array(3).fill(' quorum 3 -> 2'));
});

it('the last replica does not leave while the one that is to come does not answer', () => {
  const before = sample({ mode: 'sentinel' });
  const now = { ...before, service: { ...before.service, spec: { ...before.service.spec, replicas: 1 } } };
  const master = up(before, 'cart@d1');
  const old = { ...following(before, 'cart@d3', master), leaving: true };
  const members = [master, down(before, 'cart@d2'), old];
  const live = { members, sentinels: watching(now, master, members) };
  expect(decideSentinel(now.service, now.cluster, live, new Set()).map((one) => one.id)).toEqual([
    'hold cart@d3',
  ]);
});
