import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import type { Drills, DrillTarget } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { connections, groupsOf, RedisDrillClient } from './drill-client.ts';
import { at, mastersOf, type RedisLive } from './live.ts';
import { type RedisService, seatsOf, shardsOf } from './seats.ts';
import { silenceOf, timingOf } from './timing.ts';
import { topology } from './topology.ts';

/** Bytes that a replica may lag while clients write; it reports its offset once a second. */
const littleBehind = 2 ** 20;

/** Drills of Redis: unique keys and counters, written by a stock client, and read in the end from every member. */
export async function redisDrills(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  live: RedisLive | undefined,
): Promise<Drills<RedisLive>> {
  if (live === undefined) throw new StepFailed(`${service.name} does not answer on any host`);
  const { mode } = service.spec;
  const groups = groupsOf(service, live);
  const models = groups.names[0] === '' ? {} : { groups: groups.names };
  const timing = timingOf(service.spec).name;
  const version = live.members.find((member) => member.up)?.info?.['redis_version'];
  return {
    client: `ioredis 6.0.0, ${connections} connections, mode ${mode}`,
    // A master that was deposed answers reads until it knows: Redis promises no more.
    models: { set: { ...models, tolerates: ['stale'] }, counter: { ...models, tolerates: ['stale'] } },
    replicas: seatsOf(service, cluster).map((seat) => seat.name),
    load: {
      rate: Math.min(1_200, 300 + 300 * groups.names.length),
      clients: 8,
      mix: { add: 17, has: 1, incr: 2 },
    },
    roles: ['master', 'replica', ...(mode === 'sentinel' ? ['sentinel'] : [])],
    standard: [
      'kill-master',
      'freeze-master',
      ...(mode === 'replication' ? [] : ['partition-master']),
      'power-off-master',
    ],
    forMs: Math.max(6_000, 3 * silenceOf(service.spec)),
    timing,
    versions: version === undefined ? {} : { redis: version },
    aim: (role, now, pick) => aim(service, role, now, pick),
    unserved: (now) => unserved(service, now),
    unfinished,
    async open(run) {
      const client = new RedisDrillClient(service, cluster, reach, live, groups, run);
      try {
        await client.ready();
      } catch (error) {
        await client.close().catch(() => {});
        throw error;
      }
      return client;
    },
  };
}

function aim(
  service: RedisService,
  role: string,
  live: RedisLive,
  pick: (below: number) => number,
): DrillTarget {
  const found =
    role === 'sentinel'
      ? live.sentinels.filter((one) => one.up)
      : role === 'master'
        ? mastersOf(live)
        : live.members.filter((one) => one.up && one.role === 'replica');
  if (found.length === 0) throw new StepFailed(`${service.name} has no ${role} that answers`);
  const { host, name } = found[pick(found.length)]!;
  return { host, member: name };
}

/** Every slot, or the one data set, has a master that answers. */
function unserved(service: RedisService, live: RedisLive | undefined): string[] {
  if (!live) return [`${service.name} does not answer on any host`];
  const masters = mastersOf(live);
  if (service.spec.mode !== 'cluster') return masters.length > 0 ? [] : [`${service.name} has no master`];
  const owners = topology(live).owners.filter(({ member }) => member?.up && member.role === 'master');
  const missing = shardsOf(service.spec) - owners.length;
  return missing > 0 ? [`${missing} of the shards of ${service.name} have no master`] : [];
}

function unfinished(live: RedisLive | undefined): string[] {
  return (live?.members ?? []).flatMap((member) => {
    if (!member.up) return [`${member.name}: ${member.why ?? 'does not answer'}`];
    const master = member.upstream && live!.members.find((one) => at(one) === at(member.upstream!));
    if (member.role !== 'replica' || !master?.up) return [];
    const behind = (master.offset ?? 0) - (member.offset ?? 0);
    return member.linkUp && behind < littleBehind ? [] : [`${member.name} is ${behind} bytes behind`];
  });
}
