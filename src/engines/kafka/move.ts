import { setTimeout as wait } from 'node:timers/promises';
import { StepFailed, StepHeld } from '../engine.ts';
import { asking, reason } from './client.ts';
import type { KafkaLive } from './live.ts';
import { type Move, nearlyEmpty, planMoves } from './moves.ts';
import { observeKafka, throttleKeys } from './observe.ts';
import { anyBroker, type Doing, some, untilOpen } from './perform.ts';
import { nodeOf, seatsOf } from './seats.ts';

/** As long as anything moves it goes on; this long without any progress, it holds. */
const stillMs = 120_000;

/** Topic keys that say which copies the throttle slows: those that move, never those that merely catch up. */
const throttled = ['leader.replication.throttled.replicas', 'follower.replication.throttled.replicas'];

/**
 * Moves partitions to where they belong: off brokers that leave, to brokers that came. All in one request, which the active
 * controller carries out, also when this command is killed: then the next one waits for it and goes on. A partition keeps all its
 * copies until the new ones are in step. At the end the throttle is taken off.
 */
export async function movePartitions(doing: Doing): Promise<void> {
  for (;;) {
    const live = await untilOpen(doing, 'partitions are not moved', (seen) =>
      !seen.quorum ? 'there is no active controller' : seen.partitions ? undefined : 'no broker answers',
    );
    if (live.moving > 0) {
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

function wantedMoves({ service, cluster }: Doing, live: KafkaLive): Move[] {
  const own = seatsOf(service, cluster).filter(({ broker }) => broker);
  const brokers = own.map(({ id }) => id).filter((id) => live.brokers.includes(id));
  const down = own.filter(({ id }) => !brokers.includes(id));
  const partitions = live.partitions ?? [];
  // A broker of the file that is down for now keeps what it has: its partitions are not carried about for a restart.
  const stays = [...brokers, ...down.map(({ id }) => id)];
  const spread = nearlyEmpty(partitions, brokers).length > 0 && down.length === 0;
  const { moves, stuck } = planMoves(partitions, stays, {
    spread,
    copiesOf: (topic) => service.spec.topics[topic]?.replication,
  });
  if (stuck.length > 0)
    throw new StepFailed(
      `${some(stuck)} would want more copies than the ${stays.length} brokers that stay: lower the topic's replication, or keep more brokers. Nothing was moved`,
    );
  const unreachable = moves.filter(({ from, to }) =>
    to.some((id) => !from.includes(id) && !live.brokers.includes(id)),
  );
  if (unreachable.length > 0)
    throw new StepHeld(
      `${some(unreachable.map(({ topic, index }) => `${topic}-${index}`))} would move to ${down.map(({ name }) => name).join(', ')}, which does not serve`,
    );
  return moves;
}

async function submit(doing: Doing, live: KafkaLive, moves: Move[]): Promise<void> {
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
    throw new StepFailed(`partitions cannot be moved: ${reason(error)}`);
  }
}

/** Waits until nothing is on its way; holds when nothing comes any further. */
async function untilMoved(doing: Doing): Promise<void> {
  let deadline = performance.now() + stillMs;
  let before = '';
  for (;;) {
    const live = await observeKafka(doing.service, doing.cluster, doing.reach);
    const known = live.partitions !== undefined && live.users !== undefined;
    if (known && live.moving === 0) return;
    const bytes = Object.values(live.nodes).reduce((sum, node) => sum + (node.bytes ?? 0), 0);
    const now = `${live.moving} ${bytes}`;
    if (now !== before) {
      deadline = performance.now() + stillMs;
      if (known) doing.say(`${live.moving} partitions are on their way`);
    }
    before = now;
    if (performance.now() > deadline)
      throw new StepHeld(
        `${live.moving} partitions are on their way and nothing has moved for ${stillMs / 1000} s; they go on by themselves, run up again`,
      );
    await wait(300);
  }
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
