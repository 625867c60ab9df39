import type { Redis } from 'ioredis';
import { StepHeld } from '../engine.ts';
import type { Place } from './client.ts';
import { pairs } from './info.ts';
import { at, type LiveMember, type LiveSentinel, type RedisLive } from './live.ts';
import { gate, on, type World } from './perform/world.ts';
import { quorumOf, sentinelSeatsOf } from './seats.ts';
import { failover, follows, handOver } from './switchover-handover.ts';

/**
 * A planned change of master under sentinels.
 *
 * SENTINEL FAILOVER does not do: it takes the master for dead, does not wait for the replica, and the old master goes on acknowledging until a
 * sentinel has made it a replica, seconds later (redis/redis#6062); and it names the new master only when the sentinel's next INFO has
 * found it promoted, up to a second later. So the members change roles by themselves, as in mode replication, and the sentinels are
 * told of the new configuration as they tell each other: with a hello message (Sentinel documentation, "Configuration propagation").
 * Its epoch is one that a majority has voted in, each for itself: no failover can have or get the same one.
 */
export async function bySentinel(
  world: World,
  live: RedisLive,
  master: LiveMember,
  heir: LiveMember,
): Promise<{ to: string; ms: number }> {
  const rivals = live.members.filter((one) => one.up && one.role === 'replica' && one.name !== heir.name);
  const sentinels = await agreed(world, master);
  const epoch = await claimEpoch(world, sentinels, master);
  const users = ['default', ...Object.keys(world.service.spec.users)];
  // Connecting takes longer than all that is said: it is done before writes are held.
  const [peers, others] = await Promise.all([connected(world, sentinels), connected(world, rivals)]);
  try {
    const ms = await handOver(world, master, heir, {
      ...failover(heir),
      before: async (old) => {
        await Promise.all([announce(world, sentinels, peers, heir, epoch), rehang(others, heir)]);
        await hangUp(old, users);
      },
    });
    await follows(world, master.name, heir);
    await settled(world, heir);
    return { to: heir.name, ms };
  } finally {
    for (const { redis } of [...peers, ...others]) redis.disconnect();
  }
}

/** Closes the application's connections only: what they wait for was not carried out, and they come back to where the sentinels send them. */
export async function hangUp(old: Redis, users: string[]): Promise<void> {
  const gone = users.map((user) =>
    // The file may have one more than the server yet: nobody is connected as that.
    old.call('CLIENT', 'KILL', 'USER', user).catch((error: Error) => {
      if (!/No such user/i.test(error.message)) throw error;
    }),
  );
  await Promise.all(gone);
}

/** Connections to these; one that cannot be had is left out. */
async function connected<T extends Place>(world: World, places: T[]): Promise<(T & { redis: Redis })[]> {
  const dialled = await Promise.allSettled(
    places.map(async (place) => ({ ...place, redis: await world.dial(place) })),
  );
  return dialled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

/** A sentinel that answers, with the identity by which the others know it. */
interface Voter extends LiveSentinel {
  id: string;
}

/** The sentinels, once all that answer name this master and none is failing over. They must be enough to elect. */
async function agreed(world: World, master: LiveMember): Promise<Voter[]> {
  let live: RedisLive | undefined;
  await gate(
    async () => {
      live = await world.observe();
      const ups = live.sentinels.filter((one) => one.up && one.master);
      if (ups.length < majority(world))
        return `only ${ups.length} of ${sentinelSeatsOf(world.service, world.cluster).length} sentinels answer: too few to name another master`;
      const busy = ups.find((one) => /failover|[so]_down/.test(one.master!.flags));
      if (busy) return `${busy.name} finds the master ${busy.master!.flags}`;
      const other = ups.find((one) => at(one.master!) !== at(master));
      return other ? `${other.name} names ${at(other.master!)} as master, not ${master.name}` : undefined;
    },
    20_000,
    100,
  );
  return Promise.all(
    live!.sentinels
      .filter((one) => one.up && one.master)
      .map(async (one) => ({
        ...one,
        id: String(await on(world, one.name, (redis) => redis.call('SENTINEL', 'MYID'))),
      })),
  );
}

const majority = (world: World): number =>
  Math.max(quorumOf(world.service), Math.floor(sentinelSeatsOf(world.service, world.cluster).length / 2) + 1);

/**
 * An epoch in which a majority of the sentinels has voted, each for itself. Nobody can win an election in it any more, and a sentinel that voted for
 * itself may still fail over at once (one that votes for another waits twice its failover-timeout).
 */
async function claimEpoch(world: World, sentinels: Voter[], master: LiveMember): Promise<number> {
  let epoch = Math.max(...sentinels.map((one) => one.master!.epoch));
  // Elections that nobody won have used up epochs that no master has; a sentinel does not say which.
  for (let step = 1; step <= 1 << 16; step *= 2) {
    epoch += step;
    const votes = await Promise.all(
      sentinels.map((one) =>
        on(world, one.name, (redis) =>
          redis.call(
            'SENTINEL',
            'IS-MASTER-DOWN-BY-ADDR',
            master.address,
            String(master.port),
            String(epoch),
            one.id,
          ),
        ),
      ),
    );
    const own = (votes as unknown[][]).filter(
      ([, leader, of], i) => leader === sentinels[i]!.id && Number(of) === epoch,
    );
    if (own.length >= majority(world)) return epoch;
  }
  throw new StepHeld(`the sentinels of ${world.service.name} did not vote; nothing changed`);
}

/** Tells every sentinel who is master now, each in the name of another one: a sentinel listens to its peers only. */
async function announce(
  world: World,
  sentinels: Voter[],
  reached: (Voter & { redis: Redis })[],
  heir: LiveMember,
  epoch: number,
): Promise<void> {
  const told = await Promise.allSettled(
    reached.map(async ({ name, redis }) => {
      const peer = sentinels.find((one) => one.name !== name)!;
      const hello = [
        ...[peer.address, peer.port, peer.id, epoch],
        ...[world.service.name, heir.address, heir.port, epoch],
      ];
      await redis.call('PUBLISH', '__sentinel__:hello', hello.join(','));
      const named = await redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', world.service.name);
      if (String(named) !== `${heir.address},${heir.port}`) throw new StepHeld(`${name} does not name it`);
    }),
  );
  // The others hear of it from their peers within two seconds.
  const heard = told.filter((one) => one.status === 'fulfilled').length;
  if (heard < sentinels.length)
    world.say(`${heard} of ${sentinels.length} sentinels have heard of ${heir.name} so far`);
}

/** The other replicas copy from the new master; one that does not answer now is brought round by the sentinels. */
const rehang = (rivals: { redis: Redis }[], heir: LiveMember): Promise<unknown> =>
  Promise.allSettled(rivals.map(({ redis }) => redis.call('REPLICAOF', heir.address, String(heir.port))));

/** Waits until every sentinel that answers names the new master and has every replica in sight again, and every link is up. */
const settled = (world: World, heir: LiveMember): Promise<void> =>
  gate(
    async () => {
      const { sentinels, members } = await world.observe();
      const behind = sentinels.find((one) => one.up && one.master && at(one.master) !== at(heir));
      if (behind) return `${behind.name} does not name ${heir.name} as master yet`;
      const apart = members.find((one) => one.up && one.role === 'replica' && !one.linkUp);
      if (apart) return `${apart.name}: its link to ${at(apart.upstream!)} is down`;
      for (const one of sentinels.filter((sentinel) => sentinel.up && sentinel.master)) {
        const known = await on(world, one.name, (redis) =>
          redis.call('SENTINEL', 'REPLICAS', world.service.name),
        );
        const stale = (known as unknown[])
          .map(pairs)
          .find((replica) => replica['flags'] !== 'slave' || replica['master-link-status'] !== 'ok');
        const ours =
          stale && members.find((member) => member.up && at(member) === `${stale['ip']}:${stale['port']}`);
        if (ours) return `${one.name} has not seen ${ours.name} in sync yet`;
      }
      return undefined;
    },
    60_000,
    100,
  );
