import { parseInfo } from '../info.ts';
import { at } from '../live.ts';
import { switchWith } from '../switchover.ts';
import { applyConfig } from './config.ts';
import { gate, on, type World } from './world.ts';

/**
 * Makes it safe to stop a member: every other copy of its data is in sync, and if it leads anybody it first hands over to a replica. Judged by what
 * it is at this moment, whatever it was when the plan was made.
 */
export async function yieldPlace(world: World, name: string): Promise<void> {
  await gate(
    async () => {
      const live = await world.observe();
      const down = live.members.find((one) => !one.up && !one.leaving && one.name !== name);
      if (down)
        return `${down.name} does not answer (${down.why}): ${name} is not stopped while a copy is missing`;
      const apart = live.members.find((one) => one.name !== name && one.role === 'replica' && !one.linkUp);
      if (apart) return `${apart.name}: its link to ${at(apart.upstream!)} is down`;
      const broken = live.members.find((one) => one.clusterState !== undefined && one.clusterState !== 'ok');
      return broken ? `${broken.name} finds the cluster ${broken.clusterState}` : undefined;
    },
    60_000,
    100,
  );
  const info = await on(world, name, async (redis) => parseInfo(await redis.info('replication')));
  if (info['role'] === 'master' && Number(info['connected_slaves']) > 0)
    await switchWith(world, { from: name });
}

/** Waits until a member that was started again serves, and follows its upstream without a gap; what it was started with otherwise is then as the file says. */
export async function synced(world: World, name: string): Promise<void> {
  await gate(
    async () => {
      const live = await world.observe();
      const found = live.members.find((one) => one.name === name);
      if (!found?.up) return `${name} does not answer (${found?.why ?? 'unknown'})`;
      if (found.loading) return `${name} reads its data: ${found.info?.['loading_loaded_perc'] ?? '?'}%`;
      if (found.role === 'replica' && !found.linkUp) {
        // A full copy may take long, but must make progress.
        const copied = Number(found.info?.['master_sync_read_bytes'] ?? 0);
        return `${name}: its link to ${at(found.upstream!)} is down${copied > 0 ? `, ${copied} bytes copied` : ''}`;
      }
      if (found.clusterState !== undefined && found.clusterState !== 'ok')
        return `${name} finds the cluster ${found.clusterState}`;
      if (found.role !== 'replica') return undefined;
      const master = live.members.find((one) => at(one) === at(found.upstream!));
      const lag = (master?.offset ?? 0) - (found.offset ?? 0);
      return lag > 1024 ** 2 ? `${name} is ${lag} bytes behind ${master!.name}` : undefined;
    },
    60_000,
    100,
  );
  await applyConfig(world, name);
}
