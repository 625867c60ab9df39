import { setTimeout as sleep } from 'node:timers/promises';
import { within } from '../../hosts/deadline.ts';
import { application, asking, kafka } from './client.ts';
import { hangingUp } from './connections.ts';
import type { Partition } from './live.ts';
import type { Work } from './observe.ts';
import { nodeOf, type Seat } from './seats.ts';

/** How long a reader waits to be let in, and for its next record, milliseconds. */
const readMs = 20_000;
/** How long groups are tried, milliseconds. */
const groupMs = 40_000;
/** How long a copy may lag behind the others before it is taken as it is. */
const lagMs = 5_000;
/** Bytes of one answer. */
const piece = 4 * 2 ** 20;
/** Kafka's bit for batches that hold no records of clients. */
const control = 0b100000;

/** By partition: the offset behind the last record that consumers may see. Asked of each leader. Rejects where there is none. */
export async function endsOf(
  work: Work,
  topic: string,
  partitions: Partition[],
): Promise<Map<number, bigint>> {
  const { service, cluster } = work;
  const found = await Promise.all(
    partitions.map(async ({ index, leader }) => {
      const node = nodeOf(service, cluster, leader);
      if (!node) throw new Error(`nobody leads ${topic}-${index}`);
      const end = await asking(
        work,
        { host: node.host, port: service.spec.port },
        5_000,
        async (connection, api) => {
          const answer = await api.listOffsetsV7.api.async(connection, -1, 0, [
            // -1: the end.
            { name: topic, partitions: [{ partitionIndex: index, currentLeaderEpoch: -1, timestamp: -1n }] },
          ]);
          return answer.topics[0]!.partitions[0]!.offset;
        },
      );
      return [index, end] as const;
    }),
  );
  return new Map(found);
}

/**
 * What one broker's own copies hold, by partition in the order of the log: brokers give a follower's copy to a consumer that asks for it (KIP-392), as far
 * as it knows it to be committed.
 */
export function readCopies(
  work: Work,
  { host, name }: Seat,
  topic: string,
  partitions: Partition[],
  ends: Map<number, bigint>,
): Promise<Map<number, number[]>> {
  return asking(work, { host, port: work.service.spec.port }, readMs, async (connection, api) => {
    const { topics } = await api.metadataV12.api.async(connection, [topic], false, false);
    const topicId = topics[0]!.topicId;
    const read = new Map(partitions.map(({ index }) => [index, [] as number[]]));
    const next = new Map(partitions.map(({ index }) => [index, 0n]));
    let deadline = performance.now() + lagMs;
    for (;;) {
      const behind = partitions.filter(({ index }) => next.get(index)! < (ends.get(index) ?? 0n));
      if (behind.length === 0 || performance.now() > deadline) return read;
      const { responses } = await api.fetchV17.api.async(
        connection,
        100,
        1,
        piece,
        0,
        0,
        -1,
        [
          {
            topicId,
            partitions: behind.map(({ index }) => ({
              partition: index,
              currentLeaderEpoch: -1,
              fetchOffset: next.get(index)!,
              lastFetchedEpoch: -1,
              partitionMaxBytes: piece,
            })),
          },
        ],
        [],
        '',
      );
      let came = false;
      for (const { partitionIndex, records, preferredReadReplica } of responses[0]?.partitions ?? []) {
        if (preferredReadReplica >= 0)
          throw new Error(`${name} sends readers to node ${preferredReadReplica}`);
        for (const batch of records ?? []) {
          for (const { offsetDelta, value } of batch.records) {
            const offset = batch.firstOffset + BigInt(offsetDelta);
            // An answer begins with the whole batch that holds the offset asked for.
            if (offset < next.get(partitionIndex)! || batch.attributes & control) continue;
            read.get(partitionIndex)!.push(Number(value));
          }
          const behindIt = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n;
          if (behindIt > next.get(partitionIndex)!) {
            next.set(partitionIndex, behindIt);
            came = true;
          }
        }
      }
      if (came) deadline = performance.now() + lagMs;
    }
  });
}

/**
 * What a new consumer group is given of the whole topic, from its beginning, by partition. A group that cannot be joined yet (its coordinator moves, the first
 * group of a cluster makes a topic of 50 partitions) is tried again. Rejects when it does not come to the end.
 */
export async function readByGroup(
  work: Work,
  topic: string,
  ends: Map<number, bigint>,
): Promise<Map<number, number[]>> {
  const until = performance.now() + groupMs;
  for (let attempt = 1; ; attempt++)
    try {
      return await readOnce(work, topic, `${topic}-${attempt}`, ends);
    } catch (error) {
      if (performance.now() > until) throw error;
      await sleep(500);
    }
}

async function readOnce(
  { service, cluster }: Work,
  topic: string,
  groupId: string,
  ends: Map<number, bigint>,
): Promise<Map<number, number[]>> {
  const read = new Map([...ends.keys()].map((index) => [index, [] as number[]]));
  const next = new Map([...ends.keys()].map((index) => [index, 0n]));
  const whole = (): boolean => [...ends].every(([index, end]) => next.get(index)! >= end);
  if (whole()) return read;
  const api = await kafka();
  const consumer = new api.Consumer({
    ...application(service, cluster),
    clientId: topic,
    groupId,
    deserializers: api.stringDeserializers,
  });
  const hangUp = hangingUp(consumer);
  let timer: NodeJS.Timeout | undefined;
  try {
    const joined = consumer.consume({
      topics: [topic],
      mode: api.MessagesStreamModes.EARLIEST,
      autocommit: true,
      maxWaitTime: 200,
    });
    const stream = await within(joined, readMs);
    timer = setTimeout(() => stream.destroy(), readMs);
    for await (const { partition, offset, value } of stream) {
      timer.refresh();
      // A group that is joined anew is given some again: one offset, one record.
      if (offset >= next.get(partition)!) {
        read.get(partition)!.push(Number(value));
        next.set(partition, offset + 1n);
      }
      if (whole()) return read;
    }
    const count = [...read.values()].reduce((sum, { length }) => sum + length, 0);
    throw new Error(`given ${count} records and then none for ${readMs / 1000} s, and not all`);
  } finally {
    clearTimeout(timer);
    await hangUp();
  }
}
