import type { Redis } from 'ioredis';
import { StepFailed, StepHeld } from '../../engine.ts';
import { parseInfo } from '../info.ts';
import { parseNodes, slotsOf } from '../nodes.ts';
import { type Range, showRanges, slotsIn } from '../slots.ts';
import { adminUser } from '../users.ts';
import { gate, on, seatNamed, type World } from './world.ts';

/** Keys on their way at once, of one slot or of several: both ends serve nobody else meanwhile, and Redis takes what came in one flight in one go. */
const flight = 20;
/** Slots that are open at once: what an interruption leaves for the next `up` to finish, and for which clients are sent by ASK. */
const openAtOnce = 16;

/**
 * Moves slots with their keys from one member to another while clients read and write; each slot is at any moment served by exactly one of
 * the two, and clients are sent to it by MOVED and ASK. Safe to repeat and to interrupt anywhere: what is
 * open is taken up where it stands. Order of the SETSLOTs: Redis documentation of CLUSTER SETSLOT, "Redis Cluster live resharding explained".
 */
export async function migrate(world: World, from: string, to: string, list: Range[]): Promise<void> {
  const slots = slotsIn(list);
  const target = seatNamed(world, to);
  await serves(world, to);
  await on(
    world,
    from,
    (source) =>
      on(
        world,
        to,
        async (destination) => {
          const [sourceId, targetId] = await Promise.all([idOf(source), idOf(destination)]);
          const auth = world.cluster.secrets[`${world.service.name}/admin`] ?? '';
          let done = 0;
          let said = Date.now();
          for (let i = 0; i < slots.length; i += openAtOnce) {
            const open = slots.slice(i, i + openAtOnce);
            const owners = await ownership(source, destination);
            const mine = open.filter((slot) => !owners.destination.has(slot));
            const strange = mine.find((slot) => !owners.source.has(slot));
            if (strange !== undefined)
              throw new StepHeld(
                `slot ${strange} is no longer on ${from}: the cluster changed. Run up again`,
              );
            // The destination first: a client sent there by ASK must be let in.
            await all(
              mine.map((slot) => destination.call('CLUSTER', 'SETSLOT', String(slot), 'IMPORTING', sourceId)),
            );
            await all(
              mine.map((slot) => source.call('CLUSTER', 'SETSLOT', String(slot), 'MIGRATING', targetId)),
            );
            await moveKeys(source, mine, target, auth, from, to);
            // And the destination first again: were the source told before, nobody would own the slot for a moment, and
            // were only the source told, nobody at all.
            await all(
              mine.map((slot) => destination.call('CLUSTER', 'SETSLOT', String(slot), 'NODE', targetId)),
            );
            const left = open.filter((slot) => owners.source.has(slot));
            await all(left.map((slot) => source.call('CLUSTER', 'SETSLOT', String(slot), 'NODE', targetId)));
            done += open.length;
            if (Date.now() - said > 1_000) {
              world.say(`${done} of ${slots.length} slots`);
              said = Date.now();
            }
          }
          await tell(world, slots, targetId, [from, to]);
        },
        20_000,
      ),
    20_000,
  );
  world.say(`slots ${showRanges(list)} are on ${to}`);
}

/** A master that has just started refuses everything for two seconds (CLUSTER_WRITABLE_DELAY), keys that are moved to it too. */
const serves = (world: World, name: string): Promise<void> =>
  gate(async () => {
    const info = (await on(world, name, (redis) => redis.call('CLUSTER', 'INFO'))) as string;
    const state = parseInfo(info)['cluster_state'];
    return state === 'ok' ? undefined : `${name} finds the cluster ${state}`;
  }, 30_000);

const all = (work: Promise<unknown>[]): Promise<unknown[]> => Promise.all(work);
const idOf = async (redis: Redis): Promise<string> => (await redis.call('CLUSTER', 'MYID')) as string;

/** The slots that each of the two says it owns. */
async function ownership(
  source: Redis,
  destination: Redis,
): Promise<{ source: Set<number>; destination: Set<number> }> {
  const own = async (redis: Redis): Promise<Set<number>> => {
    const mine = parseNodes((await redis.call('CLUSTER', 'NODES')) as string).find((node) =>
      node.flags.has('myself'),
    );
    return new Set(mine ? slotsOf(mine) : []);
  };
  const [a, b] = await Promise.all([own(source), own(destination)]);
  return { source: a, destination: b };
}

/** Moves every key of the slots, one flight after another: between two of them both ends serve their clients. */
async function moveKeys(
  source: Redis,
  slots: number[],
  target: { address: string; port: number },
  auth: string,
  from: string,
  to: string,
): Promise<void> {
  const { address, port } = target;
  // REPLACE: a copy at the destination can only be left of a MIGRATE that was cut off. While the source has the key,
  // clients write it there, so the source's is the newer.
  const where = [address, String(port), '', '0', '10000', 'REPLACE', 'AUTH2', adminUser, auth, 'KEYS'];
  for (let left = slots; left.length > 0; ) {
    const found = await Promise.all(
      left.map(async (slot) => ({
        slot,
        keys: (await source.callBuffer('CLUSTER', 'GETKEYSINSLOT', String(slot), String(flight))) as Buffer[],
      })),
    );
    const full = found.filter(({ keys }) => keys.length > 0);
    for (const some of flights(full))
      await all(
        some.map(({ slot, keys }) =>
          source.call('MIGRATE', ...where, ...keys).catch((error: Error) => {
            throw new StepFailed(
              `slot ${slot}, ${from} to ${to}: ${error.message}. Run up again: it goes on from this slot`,
            );
          }),
        ),
      );
    left = full.map(({ slot }) => slot);
  }
}

/** Slots together as long as their keys fit in one flight. */
function flights<T extends { keys: unknown[] }>(slots: T[]): T[][] {
  const list: T[][] = [];
  let room = 0;
  for (const slot of slots) {
    if (slot.keys.length > room) {
      list.push([]);
      room = flight;
    }
    list.at(-1)!.push(slot);
    room -= slot.keys.length;
  }
  return list;
}

/** Tells every other master, so that clients that ask there are not sent the long way round. Gossip tells those that do not answer. */
async function tell(world: World, slots: number[], owner: string, told: string[]): Promise<void> {
  const live = await world.observe();
  const masters = live.members.filter(
    (member) => member.up && member.role === 'master' && !told.includes(member.name),
  );
  await Promise.allSettled(
    masters.map((member) =>
      on(world, member.name, async (redis) => {
        const nodes = parseNodes((await redis.call('CLUSTER', 'NODES')) as string);
        const known = new Set(slotsOf(nodes.find((node) => node.id === owner)!));
        await all(
          slots
            .filter((slot) => !known.has(slot))
            .map((slot) => redis.call('CLUSTER', 'SETSLOT', String(slot), 'NODE', owner)),
        );
      }),
    ),
  );
}
