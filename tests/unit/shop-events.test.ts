import { expect, test, vi } from 'vitest';

interface Sent {
  messages: { key: string; partition: number }[];
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Requests that the producer was given, in order; each is answered by the test. */
const requests: Sent[] = vi.hoisted(() => []);

vi.mock('@platformatic/kafka', () => ({
  ProduceAcks: { ALL: -1 },
  stringSerializers: {},
  stringDeserializers: {},
  Consumer: class {},
  Producer: class {
    metadata = async () => ({ topics: new Map([['orders', { partitionsCount: 2 }]]) });
    send = ({ messages }: Sent) =>
      new Promise<void>((resolve, reject) => requests.push({ messages, resolve, reject }));
  },
}));
process.env['EVENTS_URL'] = 'data1:9092';
process.env['EVENTS_USER'] = 'shop';
process.env['EVENTS_PASSWORD'] = 'given';
const { announce } = await import('../../examples/shop/events.ts');

const sent = () => requests.map(({ messages }) => messages.map(({ key }) => Number(key)));

test('a Kafka that is slow is sent one request a partition at a time, and each order once', async () => {
  const first = announce(2, {});
  await vi.waitFor(() => expect(sent()).toEqual([[2]]));
  // Attempts of the same orders again and again, as of a shop whose attempts end after a second.
  const later = [4, 6, 2, 4, 6, 4].map((number) => announce(number, {}));
  const other = announce(3, {});
  await vi.waitFor(() => expect(sent()).toEqual([[2], [3]]));
  requests[0]!.resolve();
  await first;
  await vi.waitFor(() => expect(sent()).toEqual([[2], [3], [4, 6]]));
  for (const { resolve } of requests) resolve();
  await Promise.all([...later, other]);
});

test('what failed is told to whoever announced it, and is sent anew when it is announced again', async () => {
  requests.length = 0;
  const failing = announce(8, {});
  await vi.waitFor(() => expect(sent()).toEqual([[8]]));
  requests[0]!.reject(new Error('no leader'));
  await expect(failing).rejects.toThrow('no leader');
  const again = announce(8, {});
  await vi.waitFor(() => expect(sent()).toEqual([[8], [8]]));
  requests[1]!.resolve();
  await again;
});
