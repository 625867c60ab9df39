import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { StepFailed, StepHeld } from '../engine.ts';
import { pairs, parseInfo } from './info.ts';
import { at, type LiveMember, type RedisLive } from './live.ts';
import { newest } from './newest.ts';
import { promote, remember } from './perform/follow.ts';
import { tune } from './perform/sentinels.ts';
import { gate, on, seatNamed, type World, worldOf } from './perform/world.ts';
import type { RedisService } from './seats.ts';
import { upstreams } from './tree.ts';

export interface SwitchoverOptions {
  /** The member that is to become master; default: the replica that is furthest. */
  to?: string;
  /** The shard's present master, when `to` is not given, in a cluster. */
  from?: string;
  /** The master does not answer and is known to be dead: take the newest replica without asking it. */
  force?: boolean;
  /** Give up writes that only other members hold. */
  allowDataLoss?: boolean;
  say?: (line: string) => void;
}

export interface SwitchoverResult {
  from: string;
  to: string;
  /** Milliseconds from when writes stopped until the new master took them. */
  ms: number;
}

/**
 * A planned change of master that loses no write: writes stop, the replica catches up to the last byte, roles change. Throws StepHeld when a
 * replica is too far behind or its link is down; then nothing has changed.
 */
export async function switchover(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  options: SwitchoverOptions = {},
): Promise<SwitchoverResult> {
  return switchWith(worldOf(service, cluster, reach, options.say ?? (() => {})), options);
}

export async function switchWith(world: World, options: SwitchoverOptions): Promise<SwitchoverResult> {
  const live = await world.observe();
  const heir = chosen(world, live, options);
  const master = masterOf(world, live, heir);
  if (!master) return forced(world, live, heir, options);
  if (master.name === heir.name) return { from: master.name, to: heir.name, ms: 0 };
  if (!heir.linkUp)
    throw new StepHeld(`${heir.name}: its link to ${master.name} is down, so it does not hold every write`);
  await inStep(world, master, heir);
  world.say(`${heir.name} takes over from ${master.name}`);
  const mode = world.service.spec.mode;
  if (mode === 'sentinel')
    return { from: master.name, ...(await bySentinel(world, live, master, heir, options.to !== undefined)) };
  const ms = mode === 'cluster' ? await inCluster(world, heir) : await inReplication(world, master, heir);
  return { from: master.name, to: heir.name, ms };
}

function chosen(world: World, live: RedisLive, options: SwitchoverOptions): LiveMember {
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
      one.up &&
      !one.leaving &&
      one.role === 'replica' &&
      (!old || (at(one.upstream!) === at(old) && one.linkUp)),
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

const becomesMaster = (world: World, heir: string, ms: number): Promise<void> =>
  gate(
    async () => {
      const info = await on(world, heir, async (redis) => parseInfo(await redis.info('replication')));
      return info['role'] === 'master'
        ? undefined
        : `${heir} is still a replica of ${info['master_host']}:${info['master_port']}`;
    },
    ms,
    10,
  );

/** CLUSTER FAILOVER: the master itself holds clients until the replica has everything. */
async function inCluster(world: World, heir: LiveMember): Promise<number> {
  const began = performance.now();
  await on(world, heir.name, (redis) => redis.call('CLUSTER', 'FAILOVER'));
  await becomesMaster(world, heir.name, 10_000);
  const ms = performance.now() - began;
  const id = heir.nodes!.find((node) => node.flags.has('myself'))!.id;
  await gate(async () => {
    const live = await world.observe();
    const unaware = live.members.find(
      (one) => one.up && one.nodes?.some((node) => node.id === id && node.flags.has('slave')),
    );
    return unaware ? `${unaware.name} does not know the new master ${heir.name} yet` : undefined;
  }, 10_000);
  return ms;
}

/**
 * Redis's own FAILOVER (6.2 and later): the master holds writes until the replica has the same offset, then they change roles; it takes back what it
 * began if the replica does not follow in time. It asks for a direct replica.
 */
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
  const ms = await failover(world, master, heir);
  await remember(world, heir.name, 'master');
  await remember(world, master.name, at(heir));
  await hang(world, heir.name);
  return ms;
}

async function failover(world: World, master: LiveMember, heir: LiveMember): Promise<number> {
  const began = performance.now();
  await on(world, master.name, (redis) =>
    redis.call('FAILOVER', 'TO', heir.address, String(heir.port), 'TIMEOUT', '5000'),
  );
  await becomesMaster(world, heir.name, 7_000);
  const ms = performance.now() - began;
  await gate(async () => {
    const info = await on(world, master.name, async (redis) => parseInfo(await redis.info('replication')));
    return info['role'] === 'slave' && info['master_link_status'] === 'up'
      ? undefined
      : `${master.name} does not follow ${heir.name} yet`;
  }, 20_000);
  return ms;
}

/** Hangs the others up at their place in the tree below the new master. */
async function hang(world: World, master: string): Promise<void> {
  const live = await world.observe();
  const ups = new Map(live.members.filter((one) => one.up).map((one) => [one.name, one]));
  for (const [name, parent] of upstreams(world.service, world.cluster, master, (one) => ups.has(one))) {
    const member = ups.get(name);
    const seat = seatNamed(world, parent);
    if (!member || (member.role === 'replica' && at(member.upstream!) === at(seat))) continue;
    await on(world, name, (redis) => redis.call('REPLICAOF', seat.address, String(seat.port)));
    await remember(world, name, at(seat));
  }
}

/**
 * SENTINEL FAILOVER alone loses writes: it takes the master for dead, does not wait for the replica, and the old master goes on acknowledging until a
 * sentinel has made it a replica, seconds later. So the master holds writes (CLIENT PAUSE WRITE) until every replica that may be
 * chosen has its offset, and it is a replica of the new master before it is let go. Gives the new master.
 */
async function bySentinel(
  world: World,
  live: RedisLive,
  master: LiveMember,
  heir: LiveMember,
  named: boolean,
): Promise<{ to: string; ms: number }> {
  const sentinel = live.sentinels.find((one) => one.up && one.master && at(one.master) === at(master));
  if (!sentinel) throw new StepHeld(`no sentinel that watches ${master.name} answers`);
  await gate(
    async () => {
      const busy = (await world.observe()).sentinels.find((one) => /failover/.test(one.master?.flags ?? ''));
      return busy ? `${busy.name} is still ending the failover before` : undefined;
    },
    60_000,
    200,
  );
  const replicas = live.members.filter((one) => one.up && one.role === 'replica');
  const rivals = replicas.filter((one) => one.name !== heir.name);
  const everywhere = (list: LiveMember[], name: string, value: string): Promise<unknown> =>
    Promise.all(list.map((one) => on(world, one.name, (redis) => redis.config('SET', name, value))));
  const minReplicas = heir.config?.['min-replicas-to-write'] ?? '0';
  // Priority 0 is "never promote". Nobody needs to be kept out when any replica will do.
  if (named) await everywhere(rivals, 'replica-priority', '0');
  try {
    await sentinelKnows(world, sentinel.name, named ? [heir] : replicas, named ? rivals : []);
    // The new master has no replica in touch at first: it would refuse writes for a second or more.
    await everywhere(replicas, 'min-replicas-to-write', '0');
    // A sentinel that gives up between promoting and telling the others leaves two masters: here it has time.
    await on(world, sentinel.name, (redis) =>
      redis.call('SENTINEL', 'SET', world.service.name, 'failover-timeout', '60000'),
    );
    return await held(world, sentinel.name, master, named ? [heir] : replicas);
  } finally {
    await tune(world, sentinel.name);
    if (named) await everywhere(rivals, 'replica-priority', '100');
    await gate(
      async () => {
        const now = await world.observe();
        const apart = now.members.find((one) => one.up && one.role === 'replica' && !one.linkUp);
        return apart ? `${apart.name}: its link to ${at(apart.upstream!)} is down` : undefined;
      },
      60_000,
      100,
    ).finally(() => everywhere(replicas, 'min-replicas-to-write', minReplicas));
  }
}

/** Changes master while the old one holds writes. */
async function held(
  world: World,
  sentinel: string,
  master: LiveMember,
  heirs: LiveMember[],
): Promise<{ to: string; ms: number }> {
  const result = await on(world, master.name, async (redis) => {
    const began = performance.now();
    await redis.call('CLIENT', 'PAUSE', '10000', 'WRITE');
    let next: LiveMember | undefined;
    try {
      for (const heir of heirs) await sameOffset(redis, world, heir);
      await on(world, sentinel, (one) => one.call('SENTINEL', 'FAILOVER', world.service.name));
      await gate(
        async () => {
          const roles = await Promise.all(
            heirs.map((one) =>
              on(world, one.name, async (heir) => parseInfo(await heir.info('replication'))['role']),
            ),
          );
          next = heirs[roles.indexOf('master')];
          return next ? undefined : `${heirs.map((one) => one.name).join(', ')}: none is master yet`;
        },
        6_000,
        5,
      );
      await redis.call('REPLICAOF', next!.address, String(next!.port));
      // Clients are let go when a sentinel can tell them where to: until then they would only be refused.
      await gate(
        async () => {
          const named = await on(world, sentinel, (one) =>
            one.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', world.service.name),
          );
          return String(named) === `${next!.address},${next!.port}`
            ? undefined
            : `${sentinel} does not name ${next!.name} yet`;
        },
        3_000,
        5,
      ).catch(() => {});
      // Only the application's: a sentinel that must connect again now would not reach the new master for a second.
      for (const user of ['default', ...Object.keys(world.service.spec.users)])
        await redis.call('CLIENT', 'KILL', 'USER', user);
      return { to: next!.name, ms: performance.now() - began };
    } finally {
      await redis.call('CLIENT', 'UNPAUSE').catch(() => {});
    }
  });
  await gate(
    async () => {
      const { sentinels, members } = await world.observe();
      const next = members.find((one) => one.name === result.to)!;
      const behind = sentinels.find((one) => one.up && one.master && at(one.master) !== at(next));
      return behind ? `${behind.name} does not name ${next.name} as master yet` : undefined;
    },
    60_000,
    100,
  );
  return result;
}

/**
 * Waits until the sentinel would choose an heir and nobody else. It asks replicas for their INFO every 10 s and chooses by what it heard last; with
 * a replica that it last heard of while its link was down, it refuses (NOGOODSLAVE).
 */
async function sentinelKnows(
  world: World,
  sentinel: string,
  heirs: LiveMember[],
  rivals: LiveMember[],
): Promise<void> {
  await gate(
    async () => {
      const list = await on(world, sentinel, (redis) =>
        redis.call('SENTINEL', 'REPLICAS', world.service.name),
      );
      const known = new Map(
        (list as unknown[]).map(pairs).map((one) => [`${one['ip']}:${one['port']}`, one]),
      );
      const rival = rivals.find((one) => known.get(at(one))?.['slave-priority'] !== '0');
      if (rival) return `${sentinel} has not seen yet that ${rival.name} is not to lead`;
      const good = heirs.filter((one) => {
        const seen = known.get(at(one));
        return (
          seen?.['flags'] === 'slave' && seen['master-link-status'] === 'ok' && seen['slave-priority'] !== '0'
        );
      });
      return good.length > 0
        ? undefined
        : `${sentinel} has not seen yet that ${heirs.map((one) => one.name).join(' or ')} is in sync`;
    },
    25_000,
    100,
  );
}

async function sameOffset(master: Redis, world: World, heir: LiveMember): Promise<void> {
  const wanted = Number(parseInfo(await master.info('replication'))['master_repl_offset']);
  await on(world, heir.name, async (redis) => {
    const until = performance.now() + 2_000;
    for (;;) {
      const info = parseInfo(await redis.info('replication'));
      if (Number(info['slave_repl_offset']) >= wanted) return;
      if (performance.now() > until)
        throw new StepHeld(
          `${heir.name} did not catch up within 2 s while writes were held; nothing changed`,
        );
      await sleep(2);
    }
  });
}

/** The master does not answer: its replica is promoted only on the word of a person that it is dead, and only the newest. */
async function forced(
  world: World,
  live: RedisLive,
  heir: LiveMember,
  options: SwitchoverOptions,
): Promise<SwitchoverResult> {
  const { service } = world;
  if (!options.force)
    throw new StepHeld(
      `the master of ${heir.name} does not answer. If it is really dead: phalanx switchover ${service.name} --to ${heir.name} --force`,
    );
  const began = performance.now();
  if (service.spec.mode === 'cluster') {
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
      `${'newest' in found ? found.newest.name : 'another member'} holds newer data than ${heir.name}; --allow-data-loss ${service.name} gives it up`,
    );
  await promote(world, best.name);
  await hang(world, best.name);
  return { from: 'nobody', to: best.name, ms: performance.now() - began };
}
