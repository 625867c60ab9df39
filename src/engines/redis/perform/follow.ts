import { asOwner } from '../../../hosts/supervise.ts';
import { fromInfo, parseInfo } from '../info.ts';
import { at, type LiveMember } from '../live.ts';
import { entryOf } from '../seats.ts';
import { gate, on, seatNamed, type World } from './world.ts';

const roleOf = async (world: World, name: string): Promise<Partial<LiveMember>> =>
  on(world, name, async (redis) => fromInfo(parseInfo(await redis.info('replication'))));

/** Makes a member the replica of another, and waits until it has its data. */
export async function follow(world: World, member: string, upstream: string): Promise<void> {
  const to = seatNamed(world, upstream);
  const now = await roleOf(world, member);
  if (now.role !== 'replica' || at(now.upstream!) !== at(to))
    await on(world, member, (redis) => redis.call('REPLICAOF', to.address, String(to.port)));
  await remember(world, member, at(to));
  await linked(world, member);
}

/** Waits until the member's link to its upstream is up; its full copy may take long, but must make progress. */
export async function linked(world: World, member: string): Promise<void> {
  await gate(async () => {
    const info = await on(world, member, async (redis) => parseInfo(await redis.info('replication')));
    if (info['role'] === 'master' || info['master_link_status'] === 'up') return undefined;
    const copied = Number(info['master_sync_read_bytes'] ?? 0);
    return `${member}: its link to ${info['master_host']}:${info['master_port']} is down${copied > 0 ? `, ${copied} bytes copied` : ''}`;
  }, 60_000);
}

/** Makes a replica the master; only where nobody else elects one (mode replication, or before sentinels watch). */
export async function promote(world: World, member: string): Promise<void> {
  await on(world, member, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'));
  await remember(world, member, 'master');
}

/**
 * Mode replication: writes down on the member's host whom it follows, for the one case in which nobody can be asked: all members are started at once
 * (start.ts). Elsewhere the sentinels and nodes.conf know.
 */
export async function remember(world: World, member: string, role: string): Promise<void> {
  if (world.service.spec.mode !== 'replication') return;
  const { host } = seatNamed(world, member);
  const { root } = entryOf(world.cluster, host);
  const folder = `${root}/members/${member}/data`;
  const write = `mkdir -p '${folder}' && echo '${role}' >'${folder}/.role.new' && mv '${folder}/.role.new' '${folder}/.role'`;
  await world.reach.host(host).run(asOwner({ name: member }, root, write));
}
