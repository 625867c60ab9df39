import { Consumer, ProduceAcks, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka';
import { given } from './settings.ts';

const topic = 'orders';
const connection = {
  bootstrapBrokers: given('EVENTS_URL').split(','),
  sasl: {
    mechanism: 'SCRAM-SHA-512' as const,
    username: given('EVENTS_USER'),
    password: given('EVENTS_PASSWORD'),
  },
  connectTimeout: 1_000,
  // How soon a frozen broker is noticed.
  requestTimeout: 900,
  retries: 2,
  retryDelay: 50,
  metadataMaxAge: 1_000,
};

let producer: Producer<string, string, string, string> | undefined;

/** `promise`: that every copy in step has it. */
interface Event extends PromiseWithResolvers<void> {
  value: string;
}

/** What waits for each partition, by the order's number. */
const lanes = new Map<number, Map<number, Event>>();

/**
 * Resolves when every copy in step has the event. Safe to repeat: whoever reads knows an order by its number. A partition is sent one
 * request at a time, which carries all that have waited for it, and an order that is announced again while it waits is not sent twice.
 * With a request for every attempt of every order, a Kafka that is slow for a moment is given the more to do the slower it is, and never
 * comes out of that.
 */
export async function announce(number: number, order: object): Promise<void> {
  producer ??= new Producer({ ...connection, clientId: 'shop-web', serializers: stringSerializers });
  const { topics } = await producer.metadata({ topics: [topic] });
  const partition = number % topics.get(topic)!.partitionsCount;
  const lane = lanes.get(partition);
  const waiting = lane?.get(number);
  if (waiting) return waiting.promise;
  const event = { value: JSON.stringify(order), ...Promise.withResolvers<void>() };
  if (lane) lane.set(number, event);
  else {
    const fresh = new Map([[number, event]]);
    lanes.set(partition, fresh);
    void empty(partition, fresh);
  }
  return event.promise;
}

/** Sends what waits for a partition until nothing does. */
async function empty(partition: number, lane: Map<number, Event>): Promise<void> {
  while (lane.size > 0) {
    const batch = [...lane];
    const messages = batch.map(([number, { value }]) => ({ topic, partition, key: String(number), value }));
    try {
      await producer!.send({ acks: ProduceAcks.ALL, messages });
      for (const [, event] of batch) event.resolve();
    } catch (error) {
      for (const [, event] of batch) event.reject(error as Error);
    }
    for (const [number] of batch) lane.delete(number);
  }
  lanes.delete(partition);
}

/** Every event at least once, over all members of the group; its place is kept only after `handle`. Ends when the connection does. */
export async function follow(group: string, handle: (value: string) => Promise<void>): Promise<void> {
  const consumer = new Consumer({
    ...connection,
    requestTimeout: 6_000,
    clientId: 'shop-worker',
    groupId: group,
    deserializers: stringDeserializers,
  });
  try {
    const stream = await consumer.consume({
      topics: [topic],
      mode: 'committed',
      fallbackMode: 'earliest',
      autocommit: false,
      sessionTimeout: 6_000,
      heartbeatInterval: 1_000,
      maxWaitTime: 500,
    });
    for await (const message of stream) {
      await handle(message.value);
      await message.commit();
    }
  } finally {
    await consumer.close(true).catch(() => undefined);
  }
}

export async function close(): Promise<void> {
  await producer?.close();
}
