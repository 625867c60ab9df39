import { StepHeld } from '../../engine.ts';
import { at } from '../live.ts';
import { quorumOf, sentinelSeatsOf } from '../seats.ts';
import { downAfterOf, timingOf } from '../timing.ts';
import { sentinelUser } from '../users.ts';
import { gate, on, seatNamed, type World } from './world.ts';

/** Makes a sentinel watch the master; it finds the replicas and the other sentinels through it. */
export async function monitor(world: World, sentinel: string, master: string): Promise<void> {
  const seat = seatNamed(world, master);
  const name = world.service.name;
  // A sentinel asks a replica for its INFO when it finds it and then every 10 s. What it hears first must be good:
  // it promotes no replica whose link it takes for down.
  await gate(async () => {
    const { members } = await world.observe();
    const apart = members.find((one) => one.role === 'replica' && !one.linkUp);
    return apart ? `${apart.name}: its link to ${at(apart.upstream!)} is down` : undefined;
  }, 60_000);
  await on(world, sentinel, async (redis) => {
    try {
      await redis.call(
        'SENTINEL',
        'MONITOR',
        name,
        seat.address,
        String(seat.port),
        String(quorumOf(world.service)),
      );
    } catch (error) {
      if (!/Duplicated? master name/i.test((error as Error).message)) throw error;
    }
  });
  await tune(world, sentinel);
  await acquainted(world, sentinel);
}

/** Waits until a sentinel that was started again watches the master and knows the others; one that lost its memory is told the master anew. */
export async function syncSentinel(world: World, sentinel: string): Promise<void> {
  await gate(
    async () => {
      const own = (await world.observe()).sentinels.find((one) => one.name === sentinel);
      return own?.up ? undefined : `${sentinel} does not answer (${own?.why ?? 'unknown'})`;
    },
    20_000,
    100,
  );
  const live = await world.observe();
  if (live.sentinels.find((one) => one.name === sentinel)!.master) return acquainted(world, sentinel);
  const named = live.sentinels.find((one) => one.master)?.master;
  const master = live.members.find((one) => (named ? at(one) === at(named) : one.role === 'master'));
  if (!master) throw new StepHeld(`${sentinel} watches nothing, and nobody can say who is master`);
  await monitor(world, sentinel, master.name);
}

const acquainted = (world: World, sentinel: string): Promise<void> =>
  gate(
    async () => {
      const found = (await world.observe()).sentinels;
      const own = found.find((one) => one.name === sentinel);
      const others = found.filter((one) => one.name !== sentinel && one.up && one.master).map(at);
      const unknown = others.filter((other) => !own?.sentinels?.some((one) => at(one) === other));
      return unknown.length > 0
        ? `${sentinel} does not know the sentinels ${unknown.join(', ')} yet`
        : undefined;
    },
    20_000,
    200,
  );

/** Gives a sentinel the service's password, quorum and timing. */
export async function tune(world: World, sentinel: string): Promise<void> {
  const { service, cluster } = world;
  const timing = timingOf(service.spec);
  const nth = sentinelSeatsOf(service, cluster).findIndex((seat) => seat.name === sentinel);
  const set = {
    'auth-user': sentinelUser,
    'auth-pass': cluster.secrets[`${service.name}/sentinel`] ?? '',
    quorum: String(quorumOf(service)),
    'down-after-milliseconds': String(downAfterOf(service.spec, nth)),
    'failover-timeout': String(timing.failoverTimeout),
    'parallel-syncs': '1',
  };
  await on(world, sentinel, async (redis) => {
    // Sentinels talk to each other as Phalanx's user: the application's may only look.
    await redis.call('SENTINEL', 'CONFIG', 'SET', 'sentinel-user', 'phalanx');
    await redis.call(
      'SENTINEL',
      'CONFIG',
      'SET',
      'sentinel-pass',
      cluster.secrets[`${service.name}/admin`] ?? '',
    );
    await redis.call('SENTINEL', 'SET', service.name, ...Object.entries(set).flat());
  });
}

/**
 * Makes one sentinel forget what the file no longer has. Its memory is emptied for a moment (SENTINEL RESET), so first all others must agree on the master,
 * and afterwards it must know all of them and every replica again before this ends.
 */
export async function forgetStrangers(world: World, sentinel: string): Promise<void> {
  const before = await world.observe();
  const others = before.sentinels.filter((one) => one.name !== sentinel);
  const blind = others.find((one) => !one.up || !one.master);
  if (blind)
    throw new StepHeld(
      `${blind.name} does not answer (${blind.why ?? 'watches nothing'}): no sentinel forgets anything while one is missing`,
    );
  const masters = new Set(before.sentinels.map((one) => at(one.master ?? one)));
  if (masters.size !== 1)
    throw new StepHeld(`the sentinels do not agree on the master: ${[...masters].join(', ')}`);
  await on(world, sentinel, (redis) => redis.call('SENTINEL', 'RESET', world.service.name));
  await gate(
    async () => {
      const own = (await world.observe()).sentinels.find((one) => one.name === sentinel);
      const missing = others.map(at).filter((other) => !own?.sentinels?.some((one) => at(one) === other));
      if (missing.length > 0)
        return `${sentinel} does not know the sentinels ${missing.join(', ')} again yet`;
      const replicas = before.members.filter((one) => one.up && one.role === 'replica').map(at);
      const lost = replicas.filter((other) => !own?.replicas?.some((one) => at(one) === other));
      return lost.length > 0
        ? `${sentinel} does not know the replicas ${lost.join(', ')} again yet`
        : undefined;
    },
    60_000,
    200,
  );
}
