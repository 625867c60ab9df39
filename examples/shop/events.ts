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

/** Resolves when every copy in step has the event. Safe to repeat: whoever reads knows an order by its number. */
export async function announce(number: number, order: object): Promise<void> {
  producer ??= new Producer({ ...connection, clientId: 'shop-web', serializers: stringSerializers });
  await producer.send({
    acks: ProduceAcks.ALL,
    messages: [{ topic, key: String(number), value: JSON.stringify(order) }],
  });
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
