import type { RedisLive } from '../live.ts';
import { idOf } from '../topology.ts';
import { gate, on, seatNamed, type World } from './world.ts';

/**
 * Joins members to the cluster and waits until every one that answers knows every other. In a new cluster each meets each, because gossip alone takes
 * a second or two; a node that is met twice is no harm. A node that was
 * forgotten is not let in again for 60 s.
 */
export async function meet(world: World, members: string[]): Promise<void> {
  const live = await world.observe();
  const ups = live.members.filter((member) => member.up && member.nodes);
  const old = ups.filter((member) => !members.includes(member.name));
  const joining = ups.filter((member) => members.includes(member.name));
  if (old.length === 0)
    await epochs(
      world,
      joining.map((member) => member.name),
    );
  const seeds = old.length > 0 ? old : joining.length <= 12 ? joining : joining.slice(0, 1);
  await Promise.all(
    seeds.map((seed, i) =>
      on(world, seed.name, async (redis) => {
        const others = old.length > 0 || seeds.length === 1 ? joining : joining.slice(i + 1);
        for (const other of others) {
          if (other.name === seed.name || seed.nodes!.some((node) => node.id === idOf(other))) continue;
          await redis.call('CLUSTER', 'MEET', other.address, String(other.port));
        }
      }),
    ),
  );
  await gate(async () => strangers(await world.observe()), 70_000, 50);
}

/** Different epochs from the start: equal ones are told apart only by chance and time (Redis Cluster specification, "Conflicting configuration epochs"). */
async function epochs(world: World, members: string[]): Promise<void> {
  await Promise.all(
    members.map((name, i) =>
      on(world, name, (redis) =>
        redis.call('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1)).catch((error: Error) => {
          // It has one, or knows others: a forming that was interrupted.
          if (
            !/can only be used|already non-zero|already not zero|knows any other|known nodes/i.test(
              error.message,
            )
          )
            throw error;
        }),
      ),
    ),
  );
}

/** The first member that another does not know yet. */
function strangers(live: RedisLive): string | undefined {
  const ups = live.members.filter((member) => member.up && member.nodes);
  for (const member of ups)
    for (const other of ups) {
      const known = member.nodes!.find((node) => node.id === idOf(other));
      if (!known || known.flags.has('handshake') || known.flags.has('noaddr'))
        return `${member.name} does not know ${other.name} yet`;
    }
  return undefined;
}

/** Takes nodes out of every member's table; a member that leaves is then alone again. */
export async function forget(world: World, ids: string[], leaving?: string): Promise<void> {
  const live = await world.observe();
  const ups = live.members.filter(
    (member) => member.up && member.nodes && !member.leaving && !ids.includes(idOf(member)),
  );
  await Promise.all(
    ups.map((member) =>
      on(world, member.name, async (redis) => {
        for (const id of ids) {
          if (!member.nodes!.some((node) => node.id === id)) continue;
          // "Unknown node": it has forgotten it by itself.
          await redis.call('CLUSTER', 'FORGET', id).catch((error: Error) => {
            if (!/Unknown node/i.test(error.message)) throw error;
          });
        }
      }),
    ),
  );
  // Otherwise it would introduce itself again when the others' ban (60 s) ends. With a new id it may come back before that.
  if (leaving !== undefined && live.members.some((member) => member.name === leaving && member.up))
    await on(world, leaving, (redis) => redis.call('CLUSTER', 'RESET', 'HARD'));
  if (leaving !== undefined) world.say(`${seatNamed(world, leaving).name} is no longer in the cluster`);
}
