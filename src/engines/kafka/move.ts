import { setTimeout as wait } from 'node:timers/promises';
import { StepFailed, StepHeld } from '../engine.ts';
import { asking, errorName, reason } from './client.ts';
import { type KafkaLive, named, type Partition } from './live.ts';
import { awaited, type Move, moveOf, nearlyEmpty, planMoves, redirected } from './moves.ts';
import { observeKafka, throttleKeys } from './observe.ts';
import { anyBroker, type Doing, some, untilOpen } from './perform.ts';
import { nodeOf, seatsOf } from './seats.ts';
import { copiesWanted } from './topics.ts';

/** As long as anything moves it goes on; this long without any progress, it holds. */
const stillMs = 120_000;

/** Topic keys that say which copies the throttle slows: those that move, never those that merely catch up. */
const throttled = ['leader.replication.throttled.replicas', 'follower.replication.throttled.replicas'];

/**
 * Moves partitions to where they belong: off brokers that leave, to brokers that came, to as many copies as they are to have. All in one request,
 * which the active controller carries out, also when this command is killed: then the next one waits for it and goes on. A partition keeps all its
 * copies until the new ones are in step. At the end the throttle is taken off.
 */
export async function movePartitions(doing: Doing): Promise<void> {
  for (;;) {
    const live = await untilTold(doing);
    if (live.moving.length > 0) {
      await untilMoved(doing);
      continue;
    }
    const moves = wantedMoves(doing, live);
    if (moves.length === 0) break;
    doing.say(
      `${moves.length} partitions move: ${some(moves.map(({ topic, index }) => `${topic}-${index}`))}`,
    );
    await throttle(doing, live, moves);
    await submit(doing, live, moves);
    await untilMoved(doing);
  }
  await unthrottle(doing);
}

/** How often a broker that leaves is emptied again of what has come to it meanwhile. */
const again = 3;

/** Looks once more whether nothing lies on a broker that leaves, directly before it is stopped; what has come to it since is moved. */
export async function emptyBroker(doing: Doing, id: number): Promise<void> {
  const name = nodeOf(doing.service, doing.cluster, id)?.name ?? `node ${id}`;
  for (let left = again; ; left--) {
    const live = await untilTold(doing);
    const held = live.partitions.filter(({ replicas }) => replicas.includes(id)).map(named);
    if (held.length === 0) return;
    if (left === 0)
      throw new StepHeld(
        `${name} is not stopped: it holds ${some(held)}, which came to it while it was emptied. Run up again`,
      );
    doing.say(`${name} holds ${some(held)}`);
    await movePartitions(doing);
  }
}

type Told = KafkaLive & Required<Pick<KafkaLive, 'partitions' | 'moving'>>;

/** What is where, and what is on its way. */
async function untilTold(doing: Doing): Promise<Told> {
  const live = await untilOpen(doing, 'partitions are not moved', (seen) => {
    if (!seen.quorum) return 'there is no active controller';
    if (!seen.partitions) return 'no broker answers';
    return seen.moving ? undefined : 'nobody tells which partitions are on their way';
  });
  return live as Told;
}

/** Brokers of the file, and those of them that serve. One that is down for now keeps what it has: its partitions are not carried about for a restart. */
function brokersOf({ service, cluster }: Doing, live: KafkaLive) {
  const own = seatsOf(service, cluster).filter(({ broker }) => broker);
  const stays = own.map(({ id }) => id);
  return {
    stays,
    serving: stays.filter((id) => live.brokers.includes(id)),
    down: own.filter(({ id }) => !live.brokers.includes(id)),
    copiesOf: (partition: Partition): number => copiesWanted(service, partition),
  };
}

function wantedMoves(doing: Doing, live: Told): Move[] {
  const { stays, serving, down, copiesOf } = brokersOf(doing, live);
  const spread = nearlyEmpty(live.partitions, serving).length > 0 && down.length === 0;
  const { moves, stuck } = planMoves(live.partitions, stays, { spread, serving, copiesOf });
  if (stuck.length > 0)
    throw new StepFailed(
      `${some(stuck)} would want more copies than the ${stays.length} brokers that stay: lower the topic's replication, or keep more brokers. Nothing was moved`,
    );
  const unreachable = moves.filter((move) => awaited(move).some((id) => !live.brokers.includes(id)));
  if (unreachable.length > 0) {
    const missed = down.filter(({ id }) => unreachable.some((move) => awaited(move).includes(id)));
    throw new StepHeld(
      `${some(unreachable.map(({ topic, index }) => `${topic}-${index}`))} would have a copy on ${missed.map(({ name }) => name).join(', ')}, which ${missed.length > 1 ? 'do' : 'does'} not serve`,
    );
  }
  return moves;
}

type Target = Pick<Move, 'topic' | 'index'> & { to: number[] | null };

async function submit(doing: Doing, live: KafkaLive, moves: Target[]): Promise<void> {
  const topics = [...new Set(moves.map(({ topic }) => topic))].map((name) => ({
    name,
    partitions: moves
      .filter(({ topic }) => topic === name)
      .map(({ index, to }) => ({ partitionIndex: index, replicas: to })),
  }));
  try {
    await anyBroker(doing, live, (connection, api) =>
      api.alterPartitionReassignmentsV0.api.async(connection, 15_000, true, topics),
    );
  } catch (error) {
    // It has arrived before it could be called back.
    if (errorName(error) === 'NO_REASSIGNMENT_IN_PROGRESS') return;
    throw new StepFailed(`partitions cannot be moved: ${reason(error)}`);
  }
}

/**
 * Waits until nothing is on its way. What is on its way to a broker that the file no longer has is sent elsewhere at once; to one that does not
 * serve, when nothing has come any further for `stillMs`; so is then what only loses copies and keeps one there. Holds when nothing comes any
 * further otherwise.
 */
async function untilMoved(doing: Doing): Promise<void> {
  let deadline = performance.now() + stillMs;
  let [fewest, most] = [Number.POSITIVE_INFINITY, -1];
  for (;;) {
    const live = await observeKafka(doing.service, doing.cluster, doing.reach);
    const { moving, partitions } = live;
    const told = moving && partitions ? { ...live, moving, partitions } : undefined;
    if (moving?.length === 0) return;
    if (told) {
      const arrived = arrivedBytes(told);
      if (told.moving.length < fewest || arrived > most) {
        deadline = performance.now() + stillMs;
        doing.say(`${told.moving.length} partitions are on their way`);
      }
      // What has arrived is no longer among them.
      most = told.moving.length < fewest ? arrived : Math.max(most, arrived);
      fewest = Math.min(fewest, told.moving.length);
      const { stays } = brokersOf(doing, live);
      const targets = [...new Set(told.moving.flatMap(({ adding }) => adding))];
      const gone = targets.filter((id) => !stays.includes(id));
      const dead = told.moving
        .flatMap((one) => awaited(moveOf(one)))
        .filter((id) => !live.brokers.includes(id));
      const lost = performance.now() > deadline ? [...new Set([...gone, ...dead])] : gone;
      if (lost.length > 0) {
        await redirect(doing, told, lost);
        deadline = performance.now() + stillMs;
        [fewest, most] = [Number.POSITIVE_INFINITY, -1];
        continue;
      }
    }
    if (performance.now() > deadline)
      throw new StepHeld(
        `${moving ? `${moving.length} partitions are on their way (${some(moving.map(({ topic, index }) => `${topic}-${index}`))})` : 'nobody tells which partitions are on their way'} and nothing has moved for ${stillMs / 1000} s; they go on by themselves, run up again`,
      );
    await wait(300);
  }
}

/** Bytes of the copies that are being made, where they are made: what else is written does not count as progress. */
const arrivedBytes = ({ moving, nodes }: Told): number => {
  const sizes = new Map(Object.values(nodes).map(({ id, sizes }) => [id, sizes]));
  return moving
    .flatMap(({ topic, index, adding }) => adding.map((id) => sizes.get(id)?.[`${topic}-${index}`] ?? 0))
    .reduce((sum, bytes) => sum + bytes, 0);
};

/** Sends partitions elsewhere that are on their way to brokers where they cannot arrive, or leaves them where they were. */
async function redirect(doing: Doing, live: Told, lost: number[]): Promise<void> {
  const { stays, serving, copiesOf } = brokersOf(doing, live);
  const targets = redirected(live.partitions, live.moving, lost, stays, { copiesOf, serving });
  const names = lost.map((id) => nodeOf(doing.service, doing.cluster, id)?.name ?? `node ${id}`);
  doing.say(
    `${some(targets.map(({ topic, index }) => `${topic}-${index}`))} cannot arrive at ${names.join(', ')}: they go elsewhere or stay`,
  );
  const others = live.moving
    .filter((one) => !targets.some(({ topic, index }) => topic === one.topic && index === one.index))
    .map(moveOf);
  // A topic's list of what is slowed is written whole.
  await throttle(doing, live, [
    ...targets.flatMap(({ to, ...one }) => (to ? [{ ...one, to }] : [])),
    ...others,
  ]);
  await submit(doing, live, targets);
}

async function throttle(doing: Doing, live: KafkaLive, moves: Move[]): Promise<void> {
  const rate = String(doing.service.spec.throttle);
  const ids = [...new Set(moves.flatMap(({ from, to }) => [...from, ...to]))].filter((id) =>
    live.brokers.includes(id),
  );
  // A mere change of order copies nothing.
  const copying = moves.filter(({ from, to }) => to.some((id) => !from.includes(id)));
  const topics = [...new Set(copying.map(({ topic }) => topic))];
  const listed = (pick: (move: Move) => number[]) => (topic: string) =>
    copying
      .filter((move) => move.topic === topic)
      .flatMap((move) => pick(move).map((id) => `${move.index}:${id}`))
      .join(',');
  const leaders = listed(({ from }) => from);
  const followers = listed(({ from, to }) => to.filter((id) => !from.includes(id)));
  const set = 0 as const;
  // Brokers first, and last when it is taken off: as long as one has a rate, a killed command leaves a trace.
  for (const id of ids)
    await setBroker(
      doing,
      id,
      throttleKeys.map((name) => ({ name, configOperation: set, value: rate })),
    );
  if (topics.length === 0) return;
  await anyBroker(doing, live, (connection, api) =>
    api.incrementalAlterConfigsV1.api.async(
      connection,
      topics.map((topic) => ({
        resourceType: api.ConfigResourceTypes.TOPIC,
        resourceName: topic,
        configs: [
          { name: throttled[0]!, configOperation: set, value: leaders(topic) },
          { name: throttled[1]!, configOperation: set, value: followers(topic) },
        ],
      })),
      false,
    ),
  );
}

type Change = { name: string; configOperation: 0; value: string } | { name: string; configOperation: 1 };

/** A broker takes changes of its own configuration only from whoever asks that very broker. */
async function setBroker(doing: Doing, id: number, configs: Change[]): Promise<void> {
  const { service, cluster } = doing;
  const node = nodeOf(service, cluster, id);
  if (!node) return;
  await asking(doing, { host: node.host, port: service.spec.port }, 20_000, (connection, api) =>
    api.incrementalAlterConfigsV1.api.async(
      connection,
      [{ resourceType: api.ConfigResourceTypes.BROKER, resourceName: String(id), configs }],
      false,
    ),
  );
}

/** Takes the throttle off every broker and topic that has one: also what a command that was killed has left. */
async function unthrottle(doing: Doing): Promise<void> {
  const live = await observeKafka(doing.service, doing.cluster, doing.reach);
  const ids = Object.values(live.nodes).filter((node) => node.throttled);
  if (ids.length === 0) return;
  const topics = [...new Set((live.partitions ?? []).map(({ topic }) => topic))];
  const remove = 1 as const;
  await anyBroker(doing, live, async (connection, api) => {
    const { results } = await api.describeConfigsV4.api.async(
      connection,
      topics.map((topic) => ({
        resourceType: api.ConfigResourceTypes.TOPIC,
        resourceName: topic,
        configurationKeys: throttled,
      })),
      false,
      false,
    );
    const slowed = results.filter(({ configs }) => configs.some(({ value }) => value));
    if (slowed.length > 0)
      await api.incrementalAlterConfigsV1.api.async(
        connection,
        slowed.map(({ resourceName }) => ({
          resourceType: api.ConfigResourceTypes.TOPIC,
          resourceName,
          configs: throttled.map((name) => ({ name, configOperation: remove })),
        })),
        false,
      );
  });
  for (const { id } of ids)
    await setBroker(
      doing,
      id,
      throttleKeys.map((name) => ({ name, configOperation: remove })),
    );
  await untilOpen(doing, 'a limit on replication stays', (seen) =>
    Object.values(seen.nodes).some((node) => node.throttled) ? 'a broker still has it' : undefined,
  );
}
