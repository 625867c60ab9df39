import type { Cluster } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import type { StatusRow } from '../engine.ts';
import { explained } from './explain.ts';
import { isGuarded } from './guard.ts';
import { at, type LiveMember, type LiveSentinel, namedMaster, type RedisLive } from './live.ts';
import { type RedisService, seatsOf, sentinelSeatsOf } from './seats.ts';
import { showRanges } from './slots.ts';

/** A row for each member and sentinel, with the role that Redis says it has. */
export function redisStatus(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive | undefined,
): StatusRow[] {
  if (!live)
    return [...seatsOf(service, cluster), ...sentinelSeatsOf(service, cluster)].map((seat) => ({
      service: service.name,
      name: seat.name,
      host: seat.host,
      role: 'unknown',
      health: 'unknown',
      facts: {},
      why: 'its host does not answer',
    }));
  return [
    ...live.members.map((member) => memberRow(service, member, live)),
    ...live.sentinels.map((sentinel) => sentinelRow(service.name, sentinel, live)),
  ];
}

function memberRow(service: RedisService, member: LiveMember, live: RedisLive): StatusRow {
  const row = { service: service.name, name: member.name, host: member.host };
  if (member.damage)
    return { ...row, role: 'unknown', health: 'down', facts: {}, why: explained(service, live, member) };
  if (!member.up)
    return { ...row, role: 'unknown', health: 'down', facts: {}, why: member.why ?? 'does not answer' };
  const upstream = member.upstream && live.members.find((one) => at(one) === at(member.upstream!));
  const mine = member.nodes?.find((node) => node.flags.has('myself'));
  const info = member.info ?? {};
  const limit = Number(info['maxmemory'] ?? 0);
  const used = Number(info['used_memory'] ?? 0);
  const facts: Record<string, string> = {
    ...(member.role === 'replica' ? { of: upstream?.name ?? at(member.upstream!) } : {}),
    ...(member.role === 'replica' && upstream?.offset !== undefined
      ? { lag: `${Math.max(0, upstream.offset - (member.offset ?? 0))} B` }
      : {}),
    ...(mine && mine.slots.length > 0 ? { slots: showRanges(mine.slots) } : {}),
    keys: String(member.keys ?? 0),
    memory:
      limit > 0 ? `${short(used)} of ${sizeText(limit)} (${Math.round((100 * used) / limit)}%)` : short(used),
    clients: `${info['connected_clients'] ?? '?'} of ${member.config?.['maxclients'] ?? '?'}`,
  };
  const why = trouble(member) ?? unpromotable(service, member) ?? replaced(member, live);
  return {
    ...row,
    role: member.role ?? 'unknown',
    health: why ? 'degraded' : 'ok',
    facts,
    ...(why ? { why } : {}),
  };
}

/** A replica that nobody may promote, though its link is up: in the second after it has copied its master, or because its guard (guard.ts) is not there. */
function unpromotable({ spec }: RedisService, { role, config }: LiveMember): string | undefined {
  return role === 'replica' && isGuarded(spec, config)
    ? 'cannot be promoted: it has not been seen to have copied its master'
    : undefined;
}

/** A master that the sentinels have replaced, and not yet told so: what clients still write to it is thrown away. */
function replaced(member: LiveMember, live: RedisLive): string | undefined {
  const named = namedMaster(live);
  if (member.role !== 'master' || named === undefined || named === at(member)) return undefined;
  const successor = live.members.find((one) => at(one) === named)?.name ?? named;
  return `still a master, and the sentinels have made ${successor} one in its place: they tell it within ten seconds`;
}

function trouble(member: LiveMember): string | undefined {
  if (member.leaving) return 'the file no longer has it';
  if (member.loading) return `reading its data: ${member.info?.['loading_loaded_perc'] ?? '?'}%`;
  if (member.role === 'replica' && !member.linkUp) return `its link to ${at(member.upstream!)} is down`;
  if (member.clusterState !== undefined && member.clusterState !== 'ok')
    return `finds the cluster ${member.clusterState}`;
  const needed = Number(member.config?.['min-replicas-to-write'] ?? 0);
  const online = member.followers?.filter((one) => one.online).length ?? 0;
  if (member.role === 'master' && online < needed)
    return `refuses writes: ${online} of ${needed} replicas in touch`;
  if (member.info?.['aof_last_write_status'] === 'err') return 'cannot write its log: is the disk full?';
  return undefined;
}

function sentinelRow(service: string, sentinel: LiveSentinel, live: RedisLive): StatusRow {
  const row = { service, name: sentinel.name, host: sentinel.host, role: 'sentinel' };
  if (!sentinel.up) return { ...row, health: 'down', facts: {}, why: sentinel.why ?? 'does not answer' };
  if (!sentinel.master) return { ...row, health: 'degraded', facts: {}, why: 'watches nothing yet' };
  const master = live.members.find((member) => at(member) === at(sentinel.master!));
  const down = /[so]_down/.exec(sentinel.master.flags)?.[0];
  const named = namedMaster(live);
  const behind = named !== undefined && named !== at(sentinel.master);
  return {
    ...row,
    health: down || behind ? 'degraded' : 'ok',
    facts: {
      master: master?.name ?? at(sentinel.master),
      quorum: `${sentinel.master.quorum} of ${(sentinel.sentinels?.length ?? 0) + 1}`,
      replicas: String(sentinel.replicas?.length ?? 0),
    },
    ...(down
      ? { why: `finds the master ${down}` }
      : behind
        ? { why: 'has not heard of the new master yet, and sends clients to the old one' }
        : {}),
  };
}

/** 1234567 -> 1.2mb */
function short(bytes: number): string {
  const [unit, size] =
    bytes >= 2 ** 30 ? ['gb', 2 ** 30] : bytes >= 2 ** 20 ? ['mb', 2 ** 20] : ['kb', 2 ** 10];
  return `${(bytes / size).toFixed(1)}${unit}`;
}
