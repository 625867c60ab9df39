import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RedisLive } from './live.ts';
import { listensOf, listensScript } from './observe.ts';
import { redisPlan } from './plan.ts';
import { deal } from './slots.ts';
import { base, down, following, sample, shards, up } from './testing/sample.ts';

const of = sample({});
const healthy = () => {
  const master = up(of, 'cart@d2');
  return {
    members: [following(of, 'cart@d1', master), master, following(of, 'cart@d3', master)],
    sentinels: [],
  };
};

it('as the file says: nothing to do', () => {
  expect(redisPlan(of.service, of.cluster, healthy(), base(of))).toEqual([]);
});

it('a changed setting that Redis takes live is set live, in every member, without a restart', () => {
  const now = sample({ maxmemory: '512mb' });
  const steps = redisPlan(now.service, now.cluster, healthy(), base(now));
  expect(steps.map((step) => step.id)).toEqual(['set cart@d1', 'set cart@d2', 'set cart@d3']);
  expect(steps[0]!.why).toContain('maxmemory 0 -> 536870912');
});

it('drift in one running member is shown and set back', () => {
  const live = healthy();
  live.members[2]!.config!['maxmemory-policy'] = 'allkeys-random';
  const steps = redisPlan(of.service, of.cluster, live, base(of));
  expect(steps.map((step) => `${step.id}: ${step.why}`)).toEqual([
    'set cart@d3: running otherwise than the file says: maxmemory-policy allkeys-random -> noeviction',
  ]);
});

it('what the file says no longer is taken back in what runs', () => {
  const live = healthy();
  for (const one of live.members) one.info = { redis_version: '7.0.15' };
  live.members[2]!.config!['appendfsync'] = 'no';
  expect(redisPlan(of.service, of.cluster, live, base(of)).map((step) => `${step.id}: ${step.why}`)).toEqual([
    'set cart@d3: running otherwise than the file says: appendfsync no -> everysec',
  ]);
});

it('a secret is never in a plan', () => {
  const live = healthy();
  live.members[0]!.config!['masterauth'] = 'something-else';
  const steps = redisPlan(of.service, of.cluster, live, base(of));
  expect(steps[0]!.why).toContain('masterauth');
  expect(JSON.stringify(steps)).not.toMatch(/secret-|something-else/);
});

it('a user that somebody added or whose password differs is shown', () => {
  const live = healthy();
  live.members[0]!.users!.push('user intruder on nopass ~* +@all');
  expect(redisPlan(of.service, of.cluster, live, base(of)).map((step) => `${step.id}: ${step.why}`)).toEqual([
    'users cart@d1: intruder differs from the file',
  ]);
});

it('a right that the file takes away is taken from the running member, also where its file was written and no more was done', () => {
  const live = healthy();
  const before = sample({ allow: ['keys'] });
  live.members[0]!.users = up(before, 'cart@d1').users!;
  const given = base(of);
  const file = given.members[0]!.files.find(({ path }) => path === 'users.acl')!;
  given.observed.get('cart@d1')!.files['users.acl'] = createHash('sha256').update(file.content).digest('hex');
  expect(redisPlan(of.service, of.cluster, live, given).map((step) => `${step.id}: ${step.why}`)).toEqual([
    'users cart@d1: their rules changed',
  ]);
});

describe('rolling restart', () => {
  const steps = redisPlan(
    of.service,
    of.cluster,
    healthy(),
    base(of, { restart: ['cart@d1', 'cart@d2', 'cart@d3'] }),
  );
  const ids = steps.map((step) => step.id);

  it('replicas first, then the master hands over, then it restarts', () => {
    expect(ids.filter((id) => /^(gate|hand over|restart|sync)/.test(id))).toEqual([
      ...['gate cart@d1', 'restart cart@d1', 'sync cart@d1'],
      ...['gate cart@d3', 'restart cart@d3', 'sync cart@d3'],
      ...['hand over cart@d2', 'restart cart@d2', 'sync cart@d2'],
    ]);
  });

  it('each turn needs the one before it whole', () => {
    const needs = (id: string): string[] => steps.find((step) => step.id === id)!.needs;
    expect(needs('write cart@d3')).toContain('sync cart@d1');
    expect(needs('restart cart@d3')).toContain('gate cart@d3');
    expect(needs('write cart@d2')).toContain('sync cart@d3');
    expect(needs('restart cart@d2')).toContain('hand over cart@d2');
  });
});

it('a member found dead is started, and then the live roles decide', () => {
  const live = healthy();
  live.members[0] = { ...live.members[0]!, up: false };
  const steps = redisPlan(of.service, of.cluster, live, base(of, { stopped: ['cart@d1'] }));
  expect(steps.map((step) => step.id)).toEqual([
    'write cart@d1',
    'start cart@d1',
    'ready cart@d1',
    'settle cart',
  ]);
  expect(steps.at(-1)!.after).toContain('ready cart@d1');
});

it('new members of a running cluster are started before they join', () => {
  const four = sample({ mode: 'cluster', shards: 4 });
  const three = deal(3);
  const live = shards(four, [
    { master: 'cart@d1', slots: [three[0]!], replicas: ['cart.2@d2'] },
    { master: 'cart@d2', slots: [three[1]!], replicas: ['cart.2@d3'] },
    { master: 'cart@d3', slots: [three[2]!], replicas: ['cart.2@d1'] },
  ]);
  const steps = redisPlan(
    four.service,
    four.cluster,
    live,
    base(four, { absent: ['cart.3@d1', 'cart.3@d2'] }),
  );
  const join = steps.find((step) => step.id === 'join cart')!;
  expect(join.needs).toEqual(expect.arrayContaining(['ready cart.3@d1', 'ready cart.3@d2']));
});

it('a member out of the file is stopped only when its slots are somewhere else', () => {
  const four = deal(4);
  const list = [
    { master: 'cart@d1', slots: [four[0]!], replicas: ['cart.2@d2'] },
    { master: 'cart@d2', slots: [four[1]!], replicas: ['cart.2@d3'] },
    { master: 'cart@d3', slots: [four[2]!], replicas: ['cart.2@d1'] },
    { master: 'cart.3@d1', slots: [four[3]!], replicas: ['cart.3@d2'] },
  ];
  const wide = shards(sample({ mode: 'cluster', shards: 4 }), list);
  const live = {
    ...wide,
    members: wide.members.map((one) => ({ ...one, leaving: one.name.startsWith('cart.3') })),
  };
  const now = sample({ mode: 'cluster' });
  const stop = { id: 'stop cart.3@d1', verb: 'stop', target: 'cart.3@d1', why: '', needs: [] };
  const leaving = new Map([
    ['cart.3@d1', [{ ...stop, do: { kind: 'script' as const, script: '', timeoutMs: 1 } }]],
  ]);
  const steps = redisPlan(now.service, now.cluster, live, { ...base(now), leaving });
  expect(steps.find((step) => step.id === 'stop cart.3@d1')!.needs).toEqual(['release cart.3@d1']);
});

describe('what cannot change while members run refuses the whole plan', () => {
  const restarts = { restart: ['cart@d1', 'cart@d2', 'cart@d3'] };
  const refusal = (now: typeof of, live: RedisLive, given = base(now, restarts)): string[] =>
    redisPlan(now.service, now.cluster, live, given).map(
      ({ verb, why, refuses }) => `${verb} ${refuses}: ${why}`,
    );

  it('tls', () => {
    const now = sample({ mode: 'sentinel', tls: true });
    const members = restarts.restart.map((name) => down(now, name));
    expect(refusal(now, { members, sentinels: [] })).toEqual([
      expect.stringMatching(
        /^refuse true: cart@d1 runs with tls false, not true: .* phalanx down, then phalanx up$/,
      ),
    ]);
    const plain = sample({ mode: 'sentinel' });
    const given = base(plain, restarts);
    given.observed.get('cart@d2')!.files['tls.crt'] = 'hash';
    expect(refusal(plain, healthy(), given)).toEqual([
      expect.stringContaining('cart@d2 runs with tls true, not false'),
    ]);
  });

  it('the port', () => {
    const now = sample({ port: 7000 });
    const members = restarts.restart.map((name) => ({ ...down(now, name), listens: 6379 }));
    expect(refusal(now, { members, sentinels: [] })).toEqual([
      expect.stringMatching(/port 6379, not 7000: .* phalanx down, then phalanx up$/),
    ]);
  });

  it('the port in a cluster, whose nodes know each other by theirs', () => {
    const now = sample({ mode: 'cluster', port: 7000 });
    const members = restarts.restart.map((name) => ({ ...down(now, name), listens: 6379 }));
    expect(refusal(now, { members, sentinels: [] })).toEqual([
      expect.stringMatching(
        /port 6379, not 7000: its data does not go over\. .* restore NAME FOLDER --foreign$/,
      ),
    ]);
  });

  it('the mode, into a cluster and out of one', () => {
    const live = (config: string): RedisLive => ({
      members: healthy().members.map((one) => ({
        ...one,
        config: { ...one.config, 'cluster-enabled': config },
      })),
      sentinels: [],
    });
    expect(refusal(sample({ mode: 'cluster' }), live('no'))).toEqual([
      expect.stringContaining('another mode, not cluster'),
    ]);
    expect(refusal(of, live('yes'))).toEqual([expect.stringContaining('mode cluster, not replication')]);
  });

  it('but not once they are stopped, nor while something else changes', () => {
    const now = sample({ mode: 'sentinel', tls: true, port: 7000 });
    const members = restarts.restart.map((name) => down(now, name));
    const stopped = base(now, { stopped: base(now).members.map(({ name }) => name) });
    expect(
      redisPlan(now.service, now.cluster, { members, sentinels: [] }, stopped).some(({ refuses }) => refuses),
    ).toBe(false);
    expect(
      redisPlan(of.service, of.cluster, healthy(), base(of, restarts)).some(({ refuses }) => refuses),
    ).toBe(false);
  });

  it('and nobody leaves meanwhile', () => {
    const stop = { id: 'stop cart@d4', verb: 'stop', target: 'cart@d4', why: '', needs: [] };
    const leaving = new Map([
      ['cart@d4', [{ ...stop, do: { kind: 'script' as const, script: '', timeoutMs: 1 } }]],
    ]);
    const now = sample({ tls: true });
    const steps = redisPlan(now.service, now.cluster, healthy(), { ...base(now, restarts), leaving });
    expect(steps.map(({ id, needs }) => [id, needs])).toEqual([
      ['refuse cart', []],
      ['stop cart@d4', ['refuse cart']],
    ]);
  });
});

it('the port that a member was started with is read from its file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-listens-'));
  const put = (member: string, conf: string): void => {
    mkdirSync(join(folder, 'members', member), { recursive: true });
    writeFileSync(join(folder, 'members', member, 'redis.conf'), conf);
  };
  put('cart@d1', 'include live.conf\nport 6379\nbind 10.1.0.11\ntcp-backlog 300\n');
  put('cart.2@d1', 'port 0\ntls-port 6380\n');
  const names = ['cart@d1', 'cart.2@d1', 'cart.3@d1'];
  const text = execFileSync(
    'sh',
    ['-c', `${names.map((name) => listensScript(folder, name)).join('\n')}\n:`],
    { encoding: 'utf8' },
  );
  expect(names.map((name) => listensOf(text, name))).toEqual([6379, 6380, undefined]);
});
