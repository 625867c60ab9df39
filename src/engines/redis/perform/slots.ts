import { StepHeld } from '../../engine.ts';
import { parseInfo } from '../info.ts';
import type { RedisLive } from '../live.ts';
import { parseNodes } from '../nodes.ts';
import type { Range } from '../slots.ts';
import { showRanges, slotsIn } from '../slots.ts';
import { idOf } from '../topology.ts';
import { forget, meet } from './meet.ts';
import { gate, on, seatNamed, type World } from './world.ts';

/** Gives slots that nobody owns to members, and waits until the cluster serves. */
export async function giveSlots(
  world: World,
  slots: Record<string, Range[]>,
  joins: string[] = [],
  dead: string[] = [],
): Promise<void> {
  if (joins.length > 0) await meet(world, joins);
  if (dead.length > 0) await forget(world, dead);
  await Promise.all(
    Object.entries(slots).map(([name, list]) =>
      on(world, name, async (redis) => {
        const nodes = parseNodes((await redis.call('CLUSTER', 'NODES')) as string);
        const owned = new Set(nodes.flatMap((node) => slotsIn(node.slots)));
        const free = list.filter(([from, to]) => slotsIn([[from, to]]).every((slot) => !owned.has(slot)));
        if (free.length === 0) return;
        await redis.call('CLUSTER', 'ADDSLOTSRANGE', ...free.flat().map(String));
      }),
    ),
  );
  await covered(world);
}

/** Waits until every member that answers finds every slot owned and the cluster ok. */
export async function covered(world: World): Promise<void> {
  await gate(async () => {
    const live = await world.observe();
    for (const member of live.members.filter((one) => one.up && one.nodes && !one.leaving)) {
      const count = member.nodes!.flatMap((node) => slotsIn(node.slots)).length;
      if (count < 16_384) return `${member.name} knows an owner of ${count} slots only, of 16384`;
      if (member.clusterState !== 'ok') return `${member.name} finds the cluster ${member.clusterState}`;
    }
    return undefined;
  }, 30_000);
}

/** Makes a member the replica of a master and waits until it has its data. */
export async function replicate(world: World, member: string, master: string): Promise<void> {
  let found: RedisLive | undefined;
  await gate(async () => {
    found = await world.observe();
    const silent = found.members.find((one) => [member, master].includes(one.name) && !one.up);
    return silent ? `${silent.name} does not answer (${silent.why})` : undefined;
  }, 60_000);
  const live = found!;
  const target = live.members.find((one) => one.name === master)!;
  // The named master may have handed over meanwhile: copy whoever leads its shard now.
  const own = target.nodes!.find((node) => node.flags.has('myself'))!;
  const id = own.master ?? own.id;
  if (idOf(live.members.find((one) => one.name === member) ?? target) === id) return;
  await on(world, member, async (redis) => {
    const mine = parseNodes((await redis.call('CLUSTER', 'NODES')) as string).find((node) =>
      node.flags.has('myself'),
    );
    if (mine?.master === id) return;
    if ((mine?.slots.length ?? 0) > 0)
      throw new StepHeld(`${member} owns the slots ${showRanges(mine!.slots)}: it stays a master`);
    await redis.call('CLUSTER', 'REPLICATE', id);
  });
  await gate(async () => {
    const info = await on(world, member, async (redis) => parseInfo(await redis.info('replication')));
    if (info['master_link_status'] === 'up') return undefined;
    return `${member}: its link to ${master} (${seatNamed(world, master).address}) is down${info['master_sync_read_bytes'] ? `, ${info['master_sync_read_bytes']} bytes copied` : ''}`;
  }, 60_000);
}
