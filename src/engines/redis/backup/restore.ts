import { join } from 'node:path';
import type { Redis } from 'ioredis';
import type { Cluster } from '../../../file/cluster.ts';
import { sizeText } from '../../../file/units.ts';
import type { Reach } from '../../../hosts/host.ts';
import { type RestoreDone, type RestoreOptions, StepFailed, StepHeld } from '../../engine.ts';
import { hashSlot } from '../hash-slot.ts';
import { parseInfo } from '../info.ts';
import { isReplicaOf, type LiveMember, type RedisLive } from '../live.ts';
import { gate, type World, worldOf } from '../perform/world.ts';
import type { RedisService } from '../seats.ts';
import { slotsIn } from '../slots.ts';
import { type Copied, copyKeys } from './copy-keys.ts';
import { type Manifest, type ManifestShard, readBackup } from './manifest.ts';
import { onDump } from './private-server.ts';
import { type Source, sourcesOf } from './sources.ts';

/**
 * Puts the data of a backup into the service: into any number of shards, in any mode. The backup is proven and the service found to be empty,
 * whole and large enough before anything is written. What was cut off is done again from its beginning by the same call, if the backup is
 * the same. Throws BadBackup, StepHeld (the service may not be written to) or StepFailed.
 */
export async function restoreRedis(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  options: RestoreOptions,
): Promise<RestoreDone> {
  const { from, say } = options;
  const world = worldOf(service, cluster, reach, say);
  const backup = await readBackup(from);
  const own = backup.cluster === cluster.name && backup.service === service.name;
  if (!own && !options.foreign)
    throw new StepHeld(
      `it is a backup of ${backup.service} of cluster ${backup.cluster}, not of ${service.name} of ${cluster.name}: --foreign takes it nevertheless`,
    );
  say(
    `the backup of ${backup.taken} is whole: ${backup.shards.reduce((sum, { keys }) => sum + keys, 0)} keys`,
  );
  const again = options.unfinished === backup.seal;
  const live = await world.observe();
  const targets = sourcesOf(service, live);
  await fits(world, live, targets, backup, again, options.unfinished !== undefined);
  options.begin(backup.seal);

  const total: Copied = { keys: 0, mortal: 0 };
  const evicted = await counters(world, targets);
  for (const shard of backup.shards) {
    const copied = await copyShard(world, targets, join(from, shard.file), shard);
    total.keys += copied.keys;
    total.mortal += copied.mortal;
  }
  await allThere(world, targets, total, evicted);
  const taken = backup.shards.reduce((sum, { keys }) => sum + keys, 0);
  return { keys: total.keys, expired: taken - total.keys, taken: backup.taken };
}

/** Throws StepHeld with the reason when the service may not take the backup. Changes nothing. */
async function fits(
  world: World,
  live: RedisLive,
  targets: Source[],
  backup: Manifest,
  again: boolean,
  unfinished: boolean,
): Promise<void> {
  const { service } = world;
  const silent = live.members.find((member) => !member.up);
  if (silent)
    throw new StepHeld(
      `${silent.name} does not answer (${silent.why}) and may hold data: restore is for a service that is whole and empty`,
    );
  const full = live.members.find((member) => (member.keys ?? 0) > 0);
  if (full && !again)
    throw new StepHeld(
      `${full.name} holds ${full.keys} keys${unfinished ? ', of a restore of another backup that was cut off' : ''}: restore is for an empty service and replaces nothing (phalanx down --purge, phalanx up empties it)`,
    );
  const older = live.members.find((one) => newer(backup.redis, one.info?.['redis_version'] ?? ''));
  if (older)
    throw new StepHeld(
      `the backup is of Redis ${backup.redis}, and ${older.name} runs ${older.info!['redis_version']}, which cannot read it`,
    );
  const databases = new Set(backup.shards.flatMap((shard) => shard.databases));
  const highest = Math.max(0, ...databases);
  if (service.spec.mode === 'cluster' && highest > 0)
    throw new StepHeld(
      `the backup holds keys in database ${highest}, and a Redis Cluster has only database 0`,
    );
  const small = targets.find(({ master }) => highest >= Number(master.config?.['databases'] ?? 16));
  if (small)
    throw new StepHeld(
      `the backup holds keys in database ${highest}; set config: { databases: ${highest + 1} }`,
    );
  const room = targets.reduce((sum, { master }) => sum + limitOf(master), 0);
  const needed = backup.shards.reduce((sum, { memory }) => sum + memory, 0);
  if (needed > room)
    throw new StepHeld(
      `the backup took ${megabytes(needed)} of memory where it was made, and the masters together may use ${sizeText(room)}: raise maxmemory`,
    );
  await each(world, targets, async (redis, { master }) => {
    const libraries = (await redis.call('FUNCTION', 'LIST')) as unknown[];
    if (libraries.length > 0 && !again)
      throw new StepHeld(`${master.name} holds functions: restore is for an empty service`);
  });
}

const limitOf = (master: LiveMember): number => {
  const limit = Number(master.config?.['maxmemory'] ?? 0);
  return limit === 0 ? Number.POSITIVE_INFINITY : limit;
};

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)}mb`;

/** Whether version a (major.minor) is newer than b. */
function newer(a: string, b: string): boolean {
  const [one, two] = [a, b].map((text) => text.split('.').map(Number));
  return (one![0] ?? 0) > (two![0] ?? 0) || (one![0] === two![0] && (one![1] ?? 0) > (two![1] ?? 0));
}

/** Runs `work` side by side with a connection to each master. */
async function each<T>(
  world: World,
  targets: Source[],
  work: (redis: Redis, target: Source) => Promise<T>,
): Promise<T[]> {
  return withMasters(world, targets, (masters) =>
    Promise.all(targets.map((target, i) => work(masters[i]!, target))),
  );
}

async function withMasters<T>(
  world: World,
  targets: Source[],
  work: (masters: Redis[]) => Promise<T>,
): Promise<T> {
  const masters: Redis[] = [];
  try {
    for (const { master } of targets) masters.push(await world.dial(master, { answerMs: 30_000 }));
    return await work(masters);
  } finally {
    for (const redis of masters) redis.disconnect();
  }
}

async function copyShard(
  world: World,
  targets: Source[],
  path: string,
  shard: ManifestShard,
): Promise<Copied> {
  const total: Copied = { keys: 0, mortal: 0 };
  let said = performance.now();
  await onDump(path, (dump) =>
    withMasters(world, targets, async (masters) => {
      const libraries = (await dump.call('FUNCTION', 'LIST')) as unknown[];
      if (libraries.length > 0) {
        const functions = (await dump.callBuffer('FUNCTION', 'DUMP')) as Buffer;
        for (const master of masters) await master.call('FUNCTION', 'RESTORE', functions, 'REPLACE');
      }
      const [only] = masters;
      const owner: Redis[] = [];
      targets.forEach(({ slots }, i) => {
        for (const slot of slotsIn(slots)) owner[slot] = masters[i]!;
      });
      const route = (key: Buffer): Redis => (owner.length > 0 ? owner[hashSlot(key)]! : only!);
      for (const database of shard.databases) {
        await dump.select(database);
        if (owner.length === 0) await only!.select(database);
        const before = total.keys;
        const copied = await copyKeys(dump, route, (keys) => {
          total.keys += keys;
          if (performance.now() - said < 1_000) return;
          said = performance.now();
          world.say(`${shard.file}: ${total.keys} of ${shard.keys} keys`);
        });
        total.keys = before + copied.keys;
        total.mortal += copied.mortal;
      }
    }),
  );
  world.say(`${shard.file}: ${total.keys} keys are there`);
  return total;
}

interface Counters {
  evicted: number;
  keys: number;
}

async function counters(world: World, targets: Source[]): Promise<Counters> {
  const found = await each(world, targets, async (redis) => {
    const info = parseInfo(await redis.info('all'));
    const keys = Object.entries(info)
      .filter(([name]) => /^db\d+$/.test(name))
      .reduce((sum, [, value]) => sum + Number(/keys=(\d+)/.exec(value)?.[1] ?? 0), 0);
    return { evicted: Number(info['evicted_keys'] ?? 0), keys };
  });
  return {
    evicted: found.reduce((sum, one) => sum + one.evicted, 0),
    keys: found.reduce((sum, one) => sum + one.keys, 0),
  };
}

/** The masters hold every key that was copied, but those whose time came meanwhile, and the replicas have them too. */
async function allThere(world: World, targets: Source[], total: Copied, before: Counters): Promise<void> {
  const now = await counters(world, targets);
  if (now.evicted > before.evicted)
    throw new StepFailed(
      `${now.evicted - before.evicted} keys were evicted while they were restored: raise maxmemory, empty the service and run restore again`,
    );
  if (now.keys < total.keys - total.mortal)
    throw new StepFailed(
      `${total.keys} keys were written and ${now.keys} are there: somebody else deletes keys. Run restore again`,
    );
  if (now.keys > total.keys)
    world.say(`${now.keys - total.keys} keys are not of the backup: somebody else writes already`);
  await gate(async () => {
    const live = await world.observe();
    for (const { master } of targets) {
      const head = live.members.find((one) => one.name === master.name);
      const late = live.members.find(
        (one) => isReplicaOf(one, master) && (!one.linkUp || (one.offset ?? 0) + 1024 < (head?.offset ?? 0)),
      );
      if (late) return `${late.name} does not have all of it yet: offset ${late.offset} of ${head?.offset}`;
    }
    return undefined;
  }, 60_000);
}
