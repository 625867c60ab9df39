import { asOwner } from '../../../hosts/supervise.ts';
import { StepFailed } from '../../engine.ts';
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
export const promote = (world: World, member: string): Promise<void> =>
  toLead(world, member, async () => {
    await on(world, member, (redis) => redis.call('REPLICAOF', 'NO', 'ONE'));
  });

/**
 * Does `change`, which makes a replica the master. What its host remembers of it is written before: cut short anywhere, there are then two that take
 * themselves for masters, and such a one takes no write after a start before a replica has followed it (start.ts). The other way round the new master
 * would be told to follow the old one, and lose to it all that it took since. Where it did not become master that is taken back.
 */
export async function toLead<T>(world: World, member: string, change: () => Promise<T>): Promise<T> {
  if (world.service.spec.mode !== 'replication') return change();
  await remember(world, member, 'master');
  try {
    return await change();
  } catch (error) {
    const now = await roleOf(world, member).catch(() => undefined);
    if (now?.role === 'replica')
      await remember(world, member, at(now.upstream!)).catch(({ message }: Error) => world.say(message));
    throw error;
  }
}

/**
 * Mode replication: writes down on the member's host whom it follows, for the one case in which nobody can be asked: all members are started at once
 * (start.ts). Elsewhere the sentinels and nodes.conf know. Throws StepFailed where it could not be written.
 */
export async function remember(world: World, member: string, role: string): Promise<void> {
  if (world.service.spec.mode !== 'replication') return;
  const { host } = seatNamed(world, member);
  const { root } = entryOf(world.cluster, host);
  const folder = `${root}/members/${member}/data`;
  const write = `mkdir -p '${folder}' && echo '${role}' >'${folder}/.role.new' && mv '${folder}/.role.new' '${folder}/.role'`;
  const { exit, stderr } = await world.reach.host(host).run(asOwner({ name: member }, root, write));
  if (exit !== 0)
    throw new StepFailed(
      `${member}: whom it follows after a start could not be written to ${folder}/.role on ${host}: ${stderr.trim()}`,
    );
}
