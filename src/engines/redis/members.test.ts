import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { directives, drift, owned } from './directives.ts';
import { defaults, mutable } from './known.ts';
import { redisMembers } from './members.ts';
import { seatsOf } from './seats.ts';
import { sample } from './testing/sample.ts';

const membersOf = (spec: Record<string, unknown>, hosts = 3) => {
  const { service, cluster } = sample(spec, hosts);
  return redisMembers(service, cluster);
};
const fileOf = (member: ReturnType<typeof membersOf>[number], path: string): string =>
  member.files.find((file) => file.path === path)!.content;

it('no file says who is master', () => {
  for (const mode of ['replication', 'sentinel', 'cluster'])
    for (const member of membersOf({ mode })) {
      const text = member.files
        .filter((file) => file.path !== 'start')
        .map((file) => file.content)
        .join('\n');
      expect(text).not.toMatch(/^(replicaof|slaveof|sentinel monitor)/m);
    }
});

it('secrets are in files that only root reads, and in no command, environment or other file', () => {
  for (const mode of ['replication', 'sentinel', 'cluster'])
    for (const member of membersOf({ mode, tls: true, users: { reports: {} } })) {
      const open = member.files.filter((file) => (file.mode & 0o077) !== 0).map((file) => file.content);
      expect([member.command, JSON.stringify(member.env), ...open].join('\n')).not.toContain('secret-');
    }
});

it('more members add to those that there are: none is renamed and none moves', () => {
  const names = (spec: Record<string, unknown>) =>
    membersOf(spec).map((member) => `${member.name} ${member.ports[0]!.port}`);
  const few = names({ mode: 'cluster', replicas: 0 });
  const more = names({ mode: 'cluster', replicas: 1 });
  const most = names({ mode: 'cluster', shards: 5, replicas: 1 });
  expect(few).toEqual(['cart@d1 6379', 'cart@d2 6379', 'cart@d3 6379']);
  expect(more.slice(0, 3)).toEqual(few);
  expect(most.slice(0, 6)).toEqual(more);
  expect(more.slice(3)).toEqual(['cart.2@d1 6380', 'cart.2@d2 6380', 'cart.2@d3 6380']);
});

it('listens on its host’s address of the cluster only', () => {
  const [member] = membersOf({});
  expect(fileOf(member!, 'redis.conf')).toContain('bind 10.1.0.11\n');
  expect(fileOf(member!, 'redis.conf')).toContain('protected-mode yes\n');
});

it('with TLS there is no plain port', () => {
  const [member] = membersOf({ tls: true, mode: 'cluster' });
  const text = fileOf(member!, 'redis.conf');
  expect(text).toContain('port 0\ntls-port 6379\n'.split('\n')[0]);
  expect(text).toContain('tls-port 6379\n');
  expect(text).toContain('tls-cluster yes\n');
  expect(text).toContain('tls-replication yes\n');
});

it('the application may not run dangerous commands unless the file allows them', () => {
  const [member] = membersOf({ allow: ['keys'] });
  const rules = /^user default (.*)$/m.exec(fileOf(member!, 'users.acl'))![1]!;
  expect(rules).toContain('-@dangerous');
  expect(rules.endsWith('+keys')).toBe(true);
  expect(rules).not.toContain('nopass');
});

it('what can be changed live is not in the file that takes a restart', () => {
  const [member] = membersOf({
    maxmemory: '256mb',
    eviction: 'allkeys-lfu',
    config: { 'io-threads': 2, hz: 20 },
  });
  expect(fileOf(member!, 'redis.conf')).not.toMatch(/maxmemory|hz/);
  expect(fileOf(member!, 'redis.conf')).toContain('io-threads 2\n');
  expect(fileOf(member!, 'live.conf')).toContain('maxmemory 268435456\nmaxmemory-policy allkeys-lfu\n');
  expect(fileOf(member!, 'live.conf')).toContain('hz 20\n');
  expect(member!.files.find((file) => file.path === 'redis.conf')!.onChange).toBe('restart');
  expect(member!.files.find((file) => file.path === 'live.conf')!.onChange).toBe('engine');
});

it('drift is what the running member holds otherwise, in words of CONFIG GET', () => {
  const { service, cluster } = sample({ maxmemory: '256mb', persistence: 'rdb' });
  const wanted = directives(service, cluster, seatsOf(service, cluster)[0]!);
  const running = { ...wanted.live, ...wanted.secret };
  expect(drift(wanted, running, '7.0.15')).toEqual([]);
  expect(drift(wanted, { ...running, maxmemory: '0', save: '' }, '7.0.15')).toEqual([
    { name: 'maxmemory', from: '0', to: '268435456' },
    { name: 'save', from: '', to: '3600 1 300 100 60 10000' },
  ]);
});

describe('what the file says no longer', () => {
  const wantedOf = (config: Record<string, string>) => {
    const { service, cluster } = sample({ config });
    return directives(service, cluster, seatsOf(service, cluster)[0]!);
  };
  const seen = (config: Record<string, string>, more: Record<string, string> = {}, version = '7.0.15') => {
    const wanted = wantedOf(config);
    return drift(wanted, { ...defaults, ...wanted.live, ...wanted.secret, ...more }, version).map(
      ({ name, from, to }) => `${name} ${from} -> ${to}`,
    );
  };

  it('is what Redis does without it', () => {
    expect(seen({})).toEqual([]);
    expect(seen({}, { appendfsync: 'no' })).toEqual(['appendfsync no -> everysec']);
    expect(seen({ appendfsync: 'no' })).toEqual([]);
  });

  it('in a version whose defaults are known', () => {
    expect(seen({}, { appendfsync: 'no' }, '7.2.4')).toEqual([]);
  });

  it('also where the file says it by an older name', () => {
    expect(seen({ 'slave-serve-stale-data': 'no' }, { 'replica-serve-stale-data': 'no' })).toEqual([]);
    expect(seen({ 'lua-time-limit': '100' }, { 'busy-reply-threshold': '100' })).toEqual([]);
    expect(seen({ 'hash-max-ziplist-entries': '9' }, { 'hash-max-listpack-entries': '9' })).toEqual([]);
  });

  it('and is not set by Phalanx otherwise', () => {
    for (const name of Object.keys(defaults)) {
      expect(mutable.has(name)).toBe(true);
      expect(owned[name]).toBeUndefined();
    }
  });

  it.each([
    ['KEA', 'AKE', true],
    ['KEAmn', 'AKEm', true],
    ['g$lshzxetdK', 'AK', true],
    ['tnKm$', '$tnKm', true],
    ['Kx', 'Ex', false],
    ['KEx', '', false],
  ])('events %s are what Redis calls "%s": %s', (said, found, same) => {
    const config = { 'notify-keyspace-events': said };
    expect(seen(config, { 'notify-keyspace-events': found })).toEqual(
      same ? [] : [`notify-keyspace-events ${found} -> ${said}`],
    );
  });
});

it('start scripts are sh', { tags: ['long'] }, () => {
  for (const mode of ['replication', 'sentinel', 'cluster'])
    for (const member of membersOf({ mode, tls: true }))
      execFileSync('sh', ['-n'], { input: fileOf(member, 'start') });
});
