import type { Redis } from 'ioredis';
import type { Cluster } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import { answerMs, type Dial, dialer, using } from './client.ts';
import { damageScript, parseDamages } from './damage.ts';
import { fromInfo, pairs, parseInfo } from './info.ts';
import { at, type LiveMember, type LiveSentinel, type RedisLive } from './live.ts';
import { parseNodes } from './nodes.ts';
import { entryOf, type RedisService, type Seat, seatAt, seatsOf, sentinelSeatsOf } from './seats.ts';

/**
 * Asks every member and sentinel of the service, all at once, and then those members that only the others know of: ones
 * that the file no longer has. Takes two rounds of at most 3 s each, however many are dead or frozen.
 */
export async function observeRedis(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
): Promise<RedisLive> {
  const dial = dialer(service, cluster, reach);
  const seats = seatsOf(service, cluster);
  const [members, sentinels] = await Promise.all([
    Promise.all(seats.map((seat) => observeMember(dial, seat))),
    Promise.all(sentinelSeatsOf(service, cluster).map((seat) => observeSentinel(dial, seat, service.name))),
  ]);
  await addFromHosts(cluster, reach, members);
  const known = new Set(seats.map(at));
  const others = new Map<string, Seat>();
  for (const place of mentioned(members)) {
    const seat = known.has(at(place)) ? undefined : seatAt(service, cluster, place.address, place.port);
    if (seat) others.set(seat.name, seat);
  }
  const leaving = await Promise.all([...others.values()].map((seat) => observeMember(dial, seat)));
  return { members: [...members, ...leaving.map((member) => ({ ...member, leaving: true }))], sentinels };
}

/** Members where nothing listens may be waiting for a repair, or listen where the file said before: their hosts know. A host that does not answer has no say. */
async function addFromHosts(cluster: Cluster, reach: Reach, members: LiveMember[]): Promise<void> {
  const silent = members.filter((member) => !member.up && member.why === refused);
  await Promise.all(
    [...Map.groupBy(silent, ({ host }) => host)].map(async ([host, here]) => {
      const names = here.map(({ name }) => name);
      const { root } = entryOf(cluster, host);
      const script = `${names.map((name) => listensScript(root, name)).join('\n')}\n${damageScript(root, names)}`;
      const { text } = await reach
        .host(host)
        .run(script, { timeoutMs: 2 * answerMs })
        .catch(() => ({ text: '' }));
      const found = parseDamages(text);
      for (const member of here) {
        const damage = found.get(member.name);
        if (damage) member.damage = damage;
        const listens = listensOf(text, member.name);
        if (listens !== undefined) member.listens = listens;
      }
    }),
  );
}

const refused = 'nothing listens';

/** Prints the port in a member's redis.conf, for `listensOf`. */
export const listensScript = (root: string, member: string): string =>
  `sed -En 's/^(tls-)?port ([1-9][0-9]*)$/listens ${member} \\2/p' '${root}/members/${member}/redis.conf' 2>/dev/null`;

export function listensOf(text: string, member: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`listens ${member} `));
  return line === undefined ? undefined : Number(line.split(' ')[2]);
}

/** Every address that a member names as one of its kind. */
function mentioned(members: LiveMember[]): { address: string; port: number }[] {
  return members.flatMap((member) => [
    ...(member.nodes ?? []),
    ...(member.followers ?? []),
    ...(member.upstream ? [member.upstream] : []),
  ]);
}

async function observeMember(dial: Dial, seat: Seat): Promise<LiveMember> {
  const found: LiveMember = {
    name: seat.name,
    host: seat.host,
    address: seat.address,
    port: seat.port,
    up: false,
  };
  try {
    return { ...found, ...(await within(using(dial, seat, facts), 2 * answerMs)), up: true };
  } catch (error) {
    const why = reason(error);
    return { ...found, why, ...(why.startsWith('LOADING') ? { loading: true } : {}) };
  }
}

async function facts(redis: Redis): Promise<Partial<LiveMember>> {
  // One flight: the answers belong to one moment, and it costs one round trip.
  const [info, config, users, nodes, state] = await Promise.all([
    redis.info('all'),
    redis.config('GET', '*'),
    redis.call('ACL', 'LIST') as Promise<string[]>,
    redis.call('CLUSTER', 'NODES').catch(ignoreDisabled) as Promise<string | undefined>,
    redis.call('CLUSTER', 'INFO').catch(ignoreDisabled) as Promise<string | undefined>,
  ]);
  return {
    ...fromInfo(parseInfo(info)),
    config: pairs(config),
    users,
    ...(nodes === undefined ? {} : { nodes: parseNodes(nodes) }),
    ...(state === undefined ? {} : { clusterState: parseInfo(state)['cluster_state'] ?? '' }),
  };
}

function ignoreDisabled(error: Error): undefined {
  if (/cluster support disabled/i.test(error.message)) return undefined;
  throw error;
}

async function observeSentinel(dial: Dial, seat: Seat, name: string): Promise<LiveSentinel> {
  const found: LiveSentinel = {
    name: seat.name,
    host: seat.host,
    address: seat.address,
    port: seat.port,
    up: false,
  };
  try {
    const seen = await within(
      using(dial, seat, (redis) => sentinelFacts(redis, name)),
      2 * answerMs,
    );
    return { ...found, ...seen, up: true };
  } catch (error) {
    return { ...found, why: reason(error) };
  }
}

async function sentinelFacts(redis: Redis, name: string): Promise<Partial<LiveSentinel>> {
  const ask = (what: string) => redis.call('SENTINEL', what, name);
  try {
    const [master, sentinels, replicas] = await Promise.all([
      ask('MASTER'),
      ask('SENTINELS'),
      ask('REPLICAS'),
    ]);
    const of = pairs(master);
    const peers = (list: unknown) =>
      (list as unknown[]).map(pairs).map((one) => ({
        address: one['ip'] ?? '',
        port: Number(one['port']),
        flags: one['flags'] ?? '',
        id: one['runid'] ?? '',
      }));
    return {
      master: {
        address: of['ip'] ?? '',
        port: Number(of['port']),
        flags: of['flags'] ?? '',
        epoch: Number(of['config-epoch']),
        quorum: Number(of['quorum']),
        downAfter: Number(of['down-after-milliseconds']),
        failoverTimeout: Number(of['failover-timeout']),
      },
      sentinels: peers(sentinels),
      replicas: peers(replicas),
    };
  } catch (error) {
    if (/No such master/i.test((error as Error).message)) return {};
    throw error;
  }
}

function reason(error: unknown): string {
  const { message, code } = error as Error & { code?: string };
  if (code === 'ECONNREFUSED') return refused;
  if (/timed out|ETIMEDOUT|no answer/i.test(message)) return `no answer within ${answerMs} ms`;
  return message || String(error);
}
