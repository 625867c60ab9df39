import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as secure } from 'node:tls';
import type { Cluster } from '../../../file/cluster.ts';
import type { Reach } from '../../../hosts/host.ts';
import { type BackupDone, StepFailed } from '../../engine.ts';
import { caOf } from '../../tls.ts';
import { parseInfo } from '../info.ts';
import { gate, on, type World, worldOf } from '../perform/world.ts';
import type { RedisService } from '../seats.ts';
import { showRanges } from '../slots.ts';
import { checkDump } from './check-dump.ts';
import { dump } from './dump.ts';
import { type ManifestShard, manifestName, sealed } from './manifest.ts';
import { type Source, sourcesOf } from './sources.ts';

/**
 * Copies the service's data into a new folder in `to`: a dump of each shard, all begun at once, each the data of one moment and with
 * every write that was acknowledged before the command began; and a manifest. The folder appears whole, under its name, or not at all.
 * Throws StepHeld when the data cannot be had whole now, StepFailed when copying failed.
 */
export async function backupRedis(
  service: RedisService,
  cluster: Cluster,
  reach: Reach,
  { to, say }: { to: string; say: (line: string) => void },
): Promise<BackupDone> {
  const world = worldOf(service, cluster, reach, say);
  const sources = sourcesOf(service, await world.observe());
  for (const { from, role } of sources)
    if (role === 'master')
      say(`${from.name} is copied from although it is a master: it has no replica in touch`);
  const taken = new Date();
  const name = `${cluster.name}-${service.name}-${stamp(taken)}`;
  await mkdir(to, { recursive: true, mode: 0o700 });
  await sweep(to);
  const draft = join(to, `.${name}.${process.pid}.partial`);
  await mkdir(draft, { mode: 0o700 });
  try {
    const shards = await Promise.all(
      sources.map((source, i) => copy(world, source, draft, `shard-${i + 1}.rdb`)),
    );
    const after = sourcesOf(service, await world.observe());
    const owners = (list: Source[]): string =>
      list.map(({ master, slots }) => `${master.name} ${showRanges(slots)}`).join('; ');
    if (owners(after) !== owners(sources))
      throw new StepFailed(
        `the masters or their slots changed while they were copied (${owners(sources)}, then ${owners(after)}): run it again`,
      );
    const content = {
      backup: 1 as const,
      cluster: cluster.name,
      service: service.name,
      mode: service.spec.mode,
      redis: sources[0]!.from.info?.['redis_version'] ?? '',
      taken: taken.toISOString(),
      shards,
    };
    await writeFile(join(draft, manifestName), sealed(content), { mode: 0o600, flush: true });
    await synced(draft);
    const path = await named(draft, join(to, name));
    await synced(to);
    return {
      path,
      rows: shards.map(({ file, slots, from, role, keys, bytes }) => ({
        file,
        ...(slots.length > 0 ? { slots: showRanges(slots) } : {}),
        from,
        role,
        keys,
        bytes,
      })),
    };
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

async function copy(world: World, source: Source, folder: string, file: string): Promise<ManifestShard> {
  const { master, from, role, slots } = source;
  await caughtUp(world, source);
  const path = join(folder, file);
  let written: { bytes: number; sha256: string };
  try {
    const password = world.cluster.secrets[`${world.service.name}/admin`] ?? '';
    written = await dump(await streamTo(world, from), password, path);
  } catch (error) {
    throw new StepFailed(`${from.name}: ${(error as Error).message}`);
  }
  const found = await checkDump(path);
  if ('wrong' in found) throw new StepFailed(`${from.name} gave a copy that cannot be read: ${found.wrong}`);
  if (found.replid === master.replid && found.offset < (master.offset ?? 0))
    throw new StepFailed(`${from.name} gave a copy older than the command: run it again`);
  world.say(`${file}: ${found.keys} keys from ${from.name}`);
  const { keys, databases, replid, offset, memory } = found;
  return {
    file,
    slots,
    from: from.name,
    role,
    master: master.name,
    replid,
    offset,
    ...written,
    keys,
    databases,
    memory,
  };
}

/** A gate: the replica has every write that its master had when the command began. */
export async function caughtUp(world: World, { master, from, role }: Source): Promise<void> {
  if (role === 'master') return;
  await gate(async () => {
    const info = await on(world, from.name, async (redis) => parseInfo(await redis.info('replication')));
    if (info['master_link_status'] !== 'up') return `${from.name}: its link to ${master.name} is down`;
    const behind = (master.offset ?? 0) - Number(info['slave_repl_offset']);
    return behind > 0 ? `${from.name} is ${behind} bytes behind ${master.name}` : undefined;
  }, 30_000);
}

async function streamTo(world: World, { name, host, port }: { name: string; host: string; port: number }) {
  const plain = await world.reach.connect(host, port, 3_000);
  const ca = caOf(world.service, world.cluster);
  return ca ? secure({ socket: plain, ca, servername: name.replaceAll('@', '.') }) : plain;
}

/** Gives a whole backup its path, or, where another of the same millisecond has that, the next: PATH-2. Gives what it became. */
export async function named(draft: string, path: string): Promise<string> {
  for (let n = 1; ; n++) {
    const own = n === 1 ? path : `${path}-${n}`;
    try {
      await rename(draft, own);
      return own;
    } catch (error) {
      // Never empty: a folder is only replaced by another where there is nothing in it (rename(2)).
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

/** 20261123T174604.123Z */
const stamp = (time: Date): string => time.toISOString().replace(/[-:]/g, '');

/** Removes what a backup left that was killed. */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, pid] = /^\..+\.(\d+)\.partial$/.exec(name) ?? [];
    if (pid !== undefined && !runs(Number(pid))) await rm(join(folder, name), { recursive: true });
  }
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Makes a folder's entries survive a power cut. */
async function synced(folder: string): Promise<void> {
  const handle = await open(folder);
  await handle.sync();
  await handle.close();
}
