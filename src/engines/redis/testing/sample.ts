import type { Cluster } from '../../../file/cluster.ts';
import type { BasePlan, MemberState } from '../../engine.ts';
import { directives } from '../directives.ts';
import { at, type LiveMember, type LiveSentinel, type RedisLive } from '../live.ts';
import { redisMembers } from '../members.ts';
import { parseNodes } from '../nodes.ts';
import { redisSchema } from '../schema.ts';
import { quorumOf, type RedisService, seatsOf, sentinelSeatsOf } from '../seats.ts';
import { showRanges } from '../slots.ts';
import { downAfterOf, timingOf } from '../timing.ts';
import { users } from '../users.ts';

/** Values for tests: a cluster of hosts d1, d2, ... with one service `cart`, and what would be observed of it. */
export function sample(
  spec: Record<string, unknown>,
  hosts = 3,
): { service: RedisService; cluster: Cluster } {
  const names = Array.from({ length: hosts }, (_, i) => `d${i + 1}`);
  const service: RedisService = {
    name: 'cart',
    type: 'redis',
    hosts: names,
    uses: [],
    spec: redisSchema.parse(spec),
  };
  const cluster = {
    name: 'shop',
    file: '/shop.yaml',
    folder: '/',
    home: '/var/lib/phalanx/shop',
    network: { cidr: '10.1.0.0/24', prefix: 24, machine: '10.1.0.254' },
    hosts: Object.fromEntries(
      names.map((name, i) => [
        name,
        { name, kind: 'lab', address: `10.1.0.${i + 11}`, root: `/hosts/${name}` },
      ]),
    ),
    services: { cart: service },
    secrets: Object.fromEntries(
      ['password', 'admin', 'replica', 'sentinel', 'tls', 'user-reports'].map((name) => [
        `cart/${name}`,
        `secret-${name}`,
      ]),
    ),
    releases: {},
  } as Cluster;
  return { service, cluster };
}

type Sample = ReturnType<typeof sample>;

/** A member that answers: a master with 10 keys unless told otherwise. */
export function up({ service, cluster }: Sample, name: string, more: Partial<LiveMember> = {}): LiveMember {
  const seat = seatsOf(service, cluster).find((one) => one.name === name)!;
  const { live, secret } = directives(service, cluster, seat);
  return {
    ...{ name, host: seat.host, address: seat.address, port: seat.port, up: true, role: 'master' },
    ...{ replid: 'a', replid2: '0', offset: 1000, secondOffset: -1, followers: [], keys: 10, loading: false },
    config: { ...live, ...secret },
    users: Object.entries(users(service, cluster)).map(([user, rules]) => `user ${user} ${rules.join(' ')}`),
    ...more,
  };
}

export const down = (of: Sample, name: string): LiveMember => {
  const { host, address, port } = up(of, name);
  return { name, host, address, port, up: false, why: 'nothing listens' };
};

/** Replicas of `master`, with the same history, linked. */
export function following(
  of: Sample,
  name: string,
  master: LiveMember,
  more: Partial<LiveMember> = {},
): LiveMember {
  const { address, port } = master;
  const replica = up(of, name, { role: 'replica', upstream: { address, port }, linkUp: true, ...more });
  master.followers!.push({ address: replica.address, port: replica.port, offset: 1000, online: true });
  return replica;
}

/** Sentinels that all watch the same master. */
export const watching = (
  { service, cluster }: Sample,
  master: LiveMember,
  members: LiveMember[],
): LiveSentinel[] => {
  const seats = sentinelSeatsOf(service, cluster);
  return seats.map((seat, i) => ({
    ...{ name: seat.name, host: seat.host, address: seat.address, port: seat.port, up: true },
    master: {
      ...{ address: master.address, port: master.port, flags: 'master', epoch: 3 },
      quorum: quorumOf(service),
      downAfter: downAfterOf(service.spec, i),
      failoverTimeout: timingOf(service.spec).failoverTimeout,
    },
    sentinels: seats
      .filter((other) => other !== seat)
      .map((other) => ({ ...other, flags: 'sentinel', id: other.name })),
    replicas: members
      .filter((one) => one !== master)
      .map((one) => ({ address: one.address, port: one.port, flags: 'slave' })),
  }));
};

/** A shard as a test writes it: master, its slots, its replicas. */
export interface Shard {
  master: string;
  slots: [number, number][];
  replicas: string[];
}

/** The node id that a member has in these values. */
export const id = (name: string): string => Buffer.from(name).toString('hex').padEnd(40, '0');

/**
 * A Redis Cluster in which all agree. `silent` members are still in the others' tables, marked as failed. `open` are words such as
 * `[5->-ID]` on a member's own line.
 */
export function shards(
  of: Sample,
  list: Shard[],
  options: { silent?: string[]; open?: Record<string, string>; blank?: string[]; extra?: LiveMember[] } = {},
): RedisLive {
  const { silent = [], open = {}, blank = [], extra = [] } = options;
  const wanted = seatsOf(of.service, of.cluster);
  const placeOf = (name: string) =>
    extra.find((one) => one.name === name) ?? wanted.find((one) => one.name === name)!;
  const names = list.flatMap((shard) => [shard.master, ...shard.replicas]);
  const line = (name: string, self: string): string => {
    const shard = list.find((one) => one.master === name || one.replicas.includes(name))!;
    const flags = [
      name === self ? 'myself' : '',
      shard.master === name ? 'master' : 'slave',
      silent.includes(name) ? 'fail' : '',
    ]
      .filter((flag) => flag !== '')
      .join(',');
    const { address, port } = placeOf(name);
    const master = shard.master === name ? '-' : id(shard.master);
    const slots = shard.master === name ? showRanges(shard.slots).replaceAll(',', '') : '';
    const opened = name === self ? (open[name] ?? '') : '';
    return `${id(name)} ${address}:${port}@${port + 10_000} ${flags} ${master} 0 0 ${names.indexOf(name) + 1} connected ${slots} ${opened}`.trim();
  };
  const member = (name: string): LiveMember => {
    const shard = list.find((one) => one.master === name || one.replicas.includes(name));
    const place = placeOf(name);
    if (silent.includes(name)) return { ...place, up: false, why: 'nothing listens' };
    const base = extra.find((one) => one.name === name) ?? up(of, name);
    const clean = { ...base, clusterState: 'ok' };
    if (!shard) {
      const { address, port } = place;
      const alone = `${id(name)} ${address}:${port}@${port + 10_000} myself,master - 0 0 0 connected`;
      return { ...clean, keys: 0, nodes: parseNodes(alone) };
    }
    const master = placeOf(shard.master);
    return {
      ...clean,
      ...(shard.master === name
        ? {}
        : {
            role: 'replica' as const,
            upstream: { address: master.address, port: master.port },
            linkUp: true,
          }),
      keys: 10,
      nodes: parseNodes(names.map((other) => line(other, name)).join('\n')),
    };
  };
  const all = new Set([...names, ...blank]);
  return { members: [...all].map(member), sentinels: [] };
}

/** What the spine would hand to plan: everything as rendered, except for these members. */
export function base(
  { service, cluster }: Sample,
  options: { absent?: string[]; stopped?: string[]; restart?: string[] } = {},
): BasePlan {
  const { absent = [], stopped = [], restart = [] } = options;
  const members = redisMembers(service, cluster);
  const step = (verb: string, name: string) => ({
    ...{ id: `${verb} ${name}`, verb, target: name, service: 'cart', why: '', needs: [] as string[] },
    do: { kind: 'script' as const, script: 'true', timeoutMs: 1 },
  });
  const verbsOf = (name: string): string[] => {
    if (absent.includes(name) || stopped.includes(name)) return ['write', 'start', 'ready'];
    return restart.includes(name) ? ['write', 'restart', 'ready'] : [];
  };
  const state = (name: string, host: string): MemberState => ({
    ...{ name, host, reachable: true, present: !absent.includes(name) },
    running: !absent.includes(name) && !stopped.includes(name),
    files: {},
  });
  return {
    members,
    observed: new Map(members.map((member) => [member.name, state(member.name, member.host)])),
    byMember: new Map(members.map(({ name }) => [name, verbsOf(name).map((verb) => step(verb, name))])),
    ready: () => undefined,
    around: () => ({ before: [], after: [] }),
    dismiss: () => [],
    leaving: new Map(),
  };
}

export { at };
