import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { StepFailed, StepHeld, type Switchover, type SwitchoverOptions } from '../engine.ts';
import { isGuarded } from './guard.ts';
import { parseInfo } from './info.ts';
import { at, isReplicaOf, type LiveMember, type RedisLive } from './live.ts';
import { contains, newest } from './newest.ts';
import { applyConfig } from './perform/config.ts';
import { promote, remember, toLead } from './perform/follow.ts';
import { gate, on, seatNamed, seen, type World, worldOf } from './perform/world.ts';
import type { RedisService } from './seats.ts';
import { becomesMaster, failover, follows, handOver } from './switchover-handover.ts';
import { bySentinel } from './switchover-sentinel.ts';
import { idOf } from './topology.ts';
import { upstreams } from './tree.ts';

export interface RedisSwitchover extends SwitchoverOptions {
  /** The shard's present master, when `to` is not given, in a cluster. */
  from?: string;
}

/**
 * A planned change of master that loses no write: writes stop, the replica catches up to the last byte, roles change. Throws StepHeld when a
 * replica is too far behind or its link is down; then nothing has changed.
 */
export async function switchover(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  options: RedisSwitchover = {},
): Promise<Switchover> {
  return switchWith(worldOf(service, cluster, reach, options.say ?? (() => {})), options);
}

export async function switchWith(world: World, options: RedisSwitchover): Promise<Switchover> {
  const live = await world.observe();
  const heir = chosen(world, live, options);
  const rivals = rivalsOf(world, live, heir, options);
  if (rivals.length > 0) return givenUp(world, heir, rivals, options);
  const master = masterOf(world, live, heir);
  if (!master) return forced(world, live, heir, options);
  if (master.name === heir.name) return { from: master.name, to: heir.name, ms: 0 };
  if (!heir.linkUp)
    throw new StepHeld(`${heir.name}: its link to ${master.name} is down, so it does not hold every write`);
  await inStep(world, master, heir);
  world.say(`${heir.name} takes over from ${master.name}`);
  const done = await handedOver(world, live, master, heir);
  await inReserve(world, master.name);
  return { from: master.name, ...done };
}

async function handedOver(
  world: World,
  live: RedisLive,
  master: LiveMember,
  heir: LiveMember,
): Promise<{ to: string; ms: number }> {
  const { mode } = world.service.spec;
  if (mode === 'sentinel') return bySentinel(world, live, master, heir);
  const by = mode === 'cluster' ? inCluster : inReplication;
  return { to: heir.name, ms: await by(world, master, heir) };
}

/** The old master, once it has copied the new one, may take over again (guard.ts): not a second later, when its own loop looks. */
async function inReserve(world: World, name: string): Promise<void> {
  let linked = false;
  await gate(async () => {
    const member = await seen(world, name);
    linked = member?.linkUp === true;
    return member?.up && !linked ? `${name} has not copied the new master yet` : undefined;
  }, 10_000).catch((error: Error) => world.say(error.message));
  if (linked) await applyConfig(world, name);
}

function chosen(world: World, live: RedisLive, options: RedisSwitchover): LiveMember {
  const { service } = world;
  if (options.to !== undefined) {
    const member = live.members.find((one) => one.name === options.to);
    if (!member)
      throw new StepFailed(
        `${options.to} is no member of ${service.name}: ${live.members.map((one) => one.name).join(', ')}`,
      );
    if (!member.up) throw new StepFailed(`${options.to} does not answer: ${member.why}`);
    return member;
  }
  const masters = live.members.filter(
    (one) => one.up && one.role === 'master' && (one.followers?.length ?? 0) > 0,
  );
  if (service.spec.mode === 'cluster' && options.from === undefined && masters.length > 1)
    throw new StepFailed(
      `${service.name} has ${masters.length} masters: say which replica is to lead with --to`,
    );
  const from = options.from ?? masters[0]?.name;
  const old = live.members.find((one) => one.name === from);
  const heirs = live.members.filter(
    (one) =>
      one.up && !one.leaving && one.role === 'replica' && (!old || (isReplicaOf(one, old) && one.linkUp)),
  );
  const best = heirs.sort((a, b) => (b.offset ?? 0) - (a.offset ?? 0))[0];
  if (!best) throw new StepHeld(`${from ?? service.name} has no replica in sync that could take over`);
  return best;
}

/** The master of the heir's shard, when it answers. */
function masterOf(world: World, live: RedisLive, heir: LiveMember): LiveMember | undefined {
  let one: LiveMember | undefined = heir;
  for (let hops = 0; one?.role === 'replica' && hops < 20; hops++) {
    const up: LiveMember = one;
    one = live.members.find((other) => at(other) === at(up.upstream!));
  }
  if (one?.up && one.role === 'master') return one;
  return world.service.spec.mode === 'cluster'
    ? undefined
    : live.members.find((other) => other.up && other.role === 'master');
}

/** A gate: the heir is close enough that the last bytes take no time. */
async function inStep(world: World, master: LiveMember, heir: LiveMember): Promise<void> {
  const behind = 1024 ** 2;
  await gate(async () => {
    const [a, b] = await Promise.all(
      [master, heir].map((one) =>
        on(world, one.name, async (redis) => parseInfo(await redis.info('replication'))),
      ),
    );
    if (b!['master_link_status'] !== 'up') return `${heir.name}: its link to ${master.name} is down`;
    const lag = Number(a!['master_repl_offset']) - Number(b!['slave_repl_offset']);
    return lag > behind ? `${heir.name} is ${lag} bytes behind ${master.name}` : undefined;
  }, 30_000);
}

/**
 * CLUSTER FAILOVER. The master holds clients by itself while its replica catches up, but looks only every 100 ms whether it has; so writes are
 * held, and the offsets compared, before it is asked.
 *
 * It asks the other masters for votes, and these are not given twice within moments: twice cluster-node-timeout for the same shard, and a replica that
 * was elected asks again only after 4 s (cluster.c, clusterSendFailoverAuthIfNeeded and auth_retry_time). Then, with writes held, the same
 * bytes on both and the cluster whole, it takes over without votes (TAKEOVER).
 */
async function inCluster(world: World, master: LiveMember, heir: LiveMember): Promise<number> {
  const ms = await handOver(world, master, heir, {
    ask: (_, next) => next.call('CLUSTER', 'FAILOVER'),
    insist: async (next) => {
      const state = parseInfo((await next.call('CLUSTER', 'INFO')) as string)['cluster_state'];
      if (state === 'ok') await next.call('CLUSTER', 'FAILOVER', 'TAKEOVER');
    },
  });
  const id = idOf(heir);
  await gate(async () => {
    const live = await world.observe();
    const unaware = live.members.find(
      (one) => one.up && one.nodes?.some((node) => node.id === id && node.flags.has('slave')),
    );
    return unaware ? `${unaware.name} does not know the new master ${heir.name} yet` : undefined;
  }, 10_000);
  return ms;
}

/** Only a direct replica can take over; one further down a chain is hung up below the master first. */
async function inReplication(world: World, master: LiveMember, heir: LiveMember): Promise<number> {
  if (at(heir.upstream!) !== at(master)) {
    await on(world, heir.name, (redis) => redis.call('REPLICAOF', master.address, String(master.port)));
    await gate(async () => {
      const info = await on(world, master.name, async (redis) => parseInfo(await redis.info('replication')));
      const online = Object.values(info).some((value) =>
        value.includes(`ip=${heir.address},port=${heir.port},state=online`),
      );
      return online ? undefined : `${heir.name} does not follow ${master.name} directly yet`;
    }, 60_000);
  }
  const said = ({ message }: Error): void => world.say(message);
  const ms = await toLead(world, heir.name, () => handOver(world, master, heir, failover(heir))).catch(
    async (error: Error) => {
      // The old master can be gone before it says that it handed over: the others are not to follow it on that account.
      const now = await seen(world, heir.name).catch(() => undefined);
      if (now?.role === 'master') {
        await remember(world, master.name, at(heir)).catch(said);
        await hang(world, heir.name).catch(said);
      }
      throw error;
    },
  );
  // It may be shut down this moment, and never be seen to follow: what it starts as is said first.
  await remember(world, master.name, at(heir)).catch(said);
  const apart = await follows(world, master.name, heir).catch((error: Error) => error);
  await hang(world, heir.name);
  if (apart) throw apart;
  return ms;
}

/** Hangs the others up at their place in the tree below the new master. */
async function hang(world: World, master: string): Promise<void> {
  const live = await world.observe();
  const ups = new Map(live.members.filter((one) => one.up).map((one) => [one.name, one]));
  for (const [name, parent] of upstreams(world.service, world.cluster, master, (one) => ups.has(one))) {
    const member = ups.get(name);
    const seat = seatNamed(world, parent);
    if (!member || isReplicaOf(member, seat)) continue;
    await on(world, name, (redis) => redis.call('REPLICAOF', seat.address, String(seat.port)));
    await remember(world, name, at(seat));
  }
}

/**
 * Mode replication: masters with writes that the heir lacks, where the heir copies none of them now. Nobody but a person can say whose writes are kept.
 * The master that the heir follows is one only on that word: whose link is down for a moment is not to give up what it is about to copy.
 */
function rivalsOf(
  { service }: World,
  { members }: RedisLive,
  heir: LiveMember,
  { allowDataLoss }: RedisSwitchover,
): LiveMember[] {
  if (service.spec.mode !== 'replication' || (heir.role === 'replica' && heir.linkUp)) return [];
  const follows = (one: LiveMember): boolean => isReplicaOf(heir, one);
  return members.filter(
    (one) =>
      one.up &&
      one.name !== heir.name &&
      one.role === 'master' &&
      !contains(heir, one) &&
      (allowDataLoss || !follows(one)),
  );
}

/** A person has said whose writes are kept: the others become copies of it. */
async function givenUp(
  world: World,
  heir: LiveMember,
  rivals: LiveMember[],
  options: RedisSwitchover,
): Promise<Switchover> {
  const names = rivals.map(({ name }) => name).join(', ');
  if (!options.allowDataLoss || options.to === undefined)
    throw new StepHeld(
      `${names} ${rivals.length > 1 ? 'hold' : 'holds'} writes that ${heir.name} lacks. To give them up: phalanx switchover ${world.service.name} --to ${heir.name} --allow-data-loss`,
    );
  const began = performance.now();
  world.say(`what only ${names} ${rivals.length > 1 ? 'hold' : 'holds'} is given up`);
  if (heir.role === 'replica') await promote(world, heir.name);
  await hang(world, heir.name);
  for (const { name } of rivals) await inReserve(world, name);
  return { from: names, to: heir.name, ms: performance.now() - began };
}

/** The master does not answer: its replica is promoted only on the word of a person that it is dead, and only the newest. */
async function forced(
  world: World,
  live: RedisLive,
  heir: LiveMember,
  options: RedisSwitchover,
): Promise<Switchover> {
  const { service } = world;
  if (!options.force)
    throw new StepHeld(
      `the master of ${heir.name} does not answer. If it is really dead: phalanx switchover ${service.name} --to ${heir.name} --force`,
    );
  const began = performance.now();
  if (service.spec.mode === 'cluster') {
    if (!options.allowDataLoss) staysBehind(world, live, heir);
    await on(world, heir.name, (redis) => redis.call('CLUSTER', 'FAILOVER', 'TAKEOVER'));
    await becomesMaster(world, heir.name, 10_000);
    return { from: 'nobody', to: heir.name, ms: performance.now() - began };
  }
  if (service.spec.mode === 'sentinel')
    throw new StepHeld(
      `${service.name}: with a dead master the sentinels elect. If they do not, a majority of them is missing: phalanx status ${service.name}`,
    );
  const found = newest(live.members.filter((one) => one.up));
  const best = options.to ? heir : found && 'newest' in found ? found.newest : undefined;
  if (!best)
    throw new StepHeld('several members hold writes that the others lack: say with --to whose are kept');
  if (
    options.to &&
    found &&
    (!('newest' in found) || found.newest.name !== heir.name) &&
    !options.allowDataLoss
  )
    throw new StepHeld(
      `${'newest' in found ? found.newest.name : 'another member'} holds newer data than ${heir.name}; --allow-data-loss gives it up`,
    );
  await promote(world, best.name);
  await hang(world, best.name);
  return { from: 'nobody', to: best.name, ms: performance.now() - began };
}

/**
 * A replica that takes over without votes makes every other of its shard its copy, whatever those hold. Throws StepHeld where that is more than
 * it has. One that may not be promoted (guard.ts) has not copied the dead master: its offset says nothing.
 */
function staysBehind({ service }: World, { members }: RedisLive, heir: LiveMember): void {
  const { name } = service;
  const ahead = members.find(
    (one) =>
      one.up &&
      one.name !== heir.name &&
      isReplicaOf(one, heir.upstream!) &&
      !isGuarded(service.spec, one.config) &&
      (isGuarded(service.spec, heir.config) || !contains(heir, one)),
  );
  if (ahead)
    throw new StepHeld(
      `${ahead.name} holds writes that ${heir.name} lacks: phalanx switchover ${name} --to ${ahead.name} --force, or --allow-data-loss to give them up`,
    );
  if (isGuarded(service.spec, heir.config))
    throw new StepHeld(
      `${heir.name} has not copied its master ${at(heir.upstream!)}: what that one held is not in it. Bring it back, or --allow-data-loss gives it up`,
    );
}
