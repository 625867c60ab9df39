import { setTimeout as sleep } from 'node:timers/promises';
import type { DrillClient, DrillFinal, DrillOperation, DrillOutcome } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { application, type asking, kafka, reason } from './client.ts';
import { hangingUp } from './connections.ts';
import { endsOf, readByGroup, readCopies } from './drill-finals.ts';
import { type Assignment, groupName } from './drill-topic.ts';
import { PartitionWriter } from './drill-writer.ts';
import type { KafkaLive, Partition } from './live.ts';
import { observeKafka, type Work } from './observe.ts';
import { anyBroker } from './perform.ts';
import { type KafkaService, seatsOf } from './seats.ts';

/** As what the consumer group stands among those that are read in the end: what it is given is the service's answer. */
export const groupReader = 'consumer group';

export const clientOf = ({ spec }: KafkaService): string =>
  `@platformatic/kafka 2.12.1, ${spec.acks === 'all' ? 'an idempotent producer' : 'a producer'} a partition, acks=${spec.acks}, read by a consumer group`;

/** How a writer is set up: what docs/kafka.md tells applications that want to be back soon. Milliseconds. */
const soon = {
  /** How long a silent broker is waited for; the library's 30 s would be all that a freeze costs. */
  requestTimeout: 800,
  connectTimeout: 500,
  retryDelay: 50,
  metadataMaxAge: 1_000,
};

/**
 * An application with a topic of its own, as many partitions as brokers lead one: its replication and everything else are what the service
 * gives a topic by default. It is written by a producer a partition, so that one partition's silence is not another's.
 */
export class KafkaDrillClient implements DrillClient {
  #work: Work;
  #topic: string;
  #assignments: Assignment[];
  #hangUps: (() => Promise<void>)[] = [];
  #writers: PartitionWriter[] = [];

  constructor(work: Work, run: string, assignments: Assignment[]) {
    this.#work = work;
    this.#topic = run;
    this.#assignments = assignments;
  }

  /** Resolves when the topic is there with all its copies in step and every producer is connected: the first operations must not measure that. */
  async ready(): Promise<void> {
    const { service, cluster } = this.#work;
    await this.#admin(await this.#observed(), (connection, api) =>
      api.createTopicsV7.api.async(
        connection,
        [
          {
            name: this.#topic,
            numPartitions: -1,
            replicationFactor: -1,
            assignments: this.#assignments.map((brokerIds, partitionIndex) => ({
              partitionIndex,
              brokerIds,
            })),
            configs: [],
          },
        ],
        15_000,
        false,
      ),
    );
    const made = await this.#untilWhole();
    const api = await kafka();
    const idempotent = service.spec.acks === 'all';
    for (const { index, leader } of made) {
      const producer = new api.Producer({
        ...application(service, cluster, leader),
        ...soon,
        clientId: `${this.#topic}-${index}`,
        serializers: api.stringSerializers,
        idempotent,
        // Repeating is safe only where the broker knows a repeated request.
        retries: idempotent ? Number.MAX_SAFE_INTEGER : 0,
      });
      this.#hangUps.push(hangingUp(producer));
      if (idempotent) await patiently(() => producer.initIdempotentProducer({}));
      await patiently(() => producer.connectToBrokers());
      const acks = idempotent ? api.ProduceAcks.ALL : api.ProduceAcks.LEADER;
      this.#writers.push(new PartitionWriter(producer, this.#topic, index, acks));
    }
  }

  groupOf(operation: DrillOperation): string {
    return groupName(this.#partition(operation));
  }

  invoke(operation: DrillOperation): Promise<DrillOutcome> {
    return this.#writers[this.#partition(operation)]!.append(operation.v as number);
  }

  /** Each copy, read at its own broker, and the whole topic as a new consumer group is given it. */
  async finals(): Promise<DrillFinal[]> {
    const { service, cluster } = this.#work;
    await this.#hangUp();
    const live = await this.#observed();
    const own = this.#own(live);
    const ends = await endsOf(this.#work, this.#topic, own);
    const brokers = seatsOf(service, cluster).filter(({ broker }) => broker);
    const [given, ...held] = await Promise.all([
      readByGroup(this.#work, this.#topic, ends).catch(reason),
      ...brokers.map((seat) =>
        readCopies(
          this.#work,
          seat,
          this.#topic,
          own.filter(({ replicas }) => replicas.includes(seat.id)),
          ends,
        ).catch(reason),
      ),
    ]);
    const final = (
      member: string,
      role: DrillFinal['role'],
      read: Map<number, number[]> | string,
      partitions: Partition[],
    ): DrillFinal[] =>
      partitions.map(({ index }) => ({
        member,
        model: 'log',
        role,
        group: groupName(index),
        holds: typeof read === 'string' ? { failed: read } : { values: read.get(index) ?? [] },
      }));
    return [
      ...final(groupReader, 'authority', given, own),
      ...brokers.flatMap((seat, i) =>
        final(
          seat.name,
          'replica',
          held[i]!,
          own.filter(({ replicas }) => replicas.includes(seat.id)),
        ),
      ),
    ];
  }

  async close(): Promise<void> {
    await this.#hangUp();
    await this.#admin(await this.#observed(), async (connection, api) => {
      await api.deleteTopicsV6.api.async(connection, [{ name: this.#topic }], 15_000);
    });
  }

  #partition({ v }: DrillOperation): number {
    return (v as number) % this.#assignments.length;
  }

  #observed(): Promise<KafkaLive> {
    const { service, cluster, reach } = this.#work;
    return observeKafka(service, cluster, reach);
  }

  #own(live: KafkaLive): Partition[] {
    return (live.partitions ?? [])
      .filter(({ topic }) => topic === this.#topic)
      .sort((a, b) => a.index - b.index);
  }

  #admin<T>(live: KafkaLive, use: Parameters<typeof asking<T>>[3]): Promise<T> {
    return anyBroker({ ...this.#work, say: () => {} }, live, use);
  }

  async #untilWhole(): Promise<Partition[]> {
    const until = performance.now() + 20_000;
    for (;;) {
      const own = this.#own(await this.#observed());
      const whole = own.filter(({ leader, isr, replicas }) => leader >= 0 && isr.length === replicas.length);
      if (whole.length === this.#assignments.length) return own;
      if (performance.now() > until)
        throw new StepFailed(`the drill's topic has no leaders, or not all its copies, after 20 s`);
      await sleep(100);
    }
  }

  async #hangUp(): Promise<void> {
    for (const writer of this.#writers) writer.close();
    await Promise.all(this.#hangUps.splice(0).map((hangUp) => hangUp()));
  }
}

/** A busy machine may answer later than a producer waits; nothing is measured yet. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  for (let left = 10; ; left--)
    try {
      return await act();
    } catch (error) {
      if (left === 0) throw error;
      await sleep(200);
    }
}
