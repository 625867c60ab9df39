import { Connection, type Publisher } from 'rabbitmq-client';
import { given } from './settings.ts';
import { within } from './tier.ts';

const queue = 'mail';
let connection: Connection | undefined;
let publisher: Publisher | undefined;

/** How late a confirm may be before its channel is left for another, milliseconds: RabbitMQ takes about seven seconds to choose another leader with `timing: default`. */
const leaveMs = 12_000;
/** Jobs that wait for their confirm, by order number. */
const waiting = new Map<number, Promise<void>>();

/** Through the directors' address: they know which node answers. */
function rabbit(): Connection {
  if (connection) return connection;
  connection = new Connection({
    url: given('JOBS_URL'),
    connectionTimeout: 1_000,
    acquireTimeout: 900,
    retryLow: 50,
    retryHigh: 500,
    // A frozen node is noticed after two of these (seconds).
    heartbeat: 2,
  });
  connection.on('error', () => undefined);
  return connection;
}

/**
 * Resolves when the queue's majority has the job on disk. Safe to repeat: whoever does it knows an order by its number, and a job that waits for
 * its confirm is not sent again. A channel that refuses, or is late for long, is left for a new one; not sooner: what it had published before it sends
 * to the queue's next leader, while a new channel first asks the one that hangs, for as long as that is not counted as dead (RabbitMQ 3.10).
 */
export function post(number: number, to: string): Promise<void> {
  const sent = waiting.get(number);
  if (sent) return sent;
  const sending = send(number, to).finally(() => waiting.delete(number));
  waiting.set(number, sending);
  return sending;
}

async function send(number: number, to: string): Promise<void> {
  publisher ??= rabbit().createPublisher({ confirm: true, maxAttempts: 1 });
  const used = publisher;
  try {
    await within(used.send({ routingKey: queue, durable: true }, { number, to }), leaveMs);
  } catch (error) {
    if (publisher === used) {
      publisher = undefined;
      used.close().catch(() => undefined);
    }
    throw error;
  }
}

/** Every job at least once; it is done only when `handle` is. */
export function work(handle: (job: { number: number; to: string }) => Promise<void>): void {
  const consumer = rabbit().createConsumer(
    // Passive: the queue is the file's to declare.
    { queue, queueOptions: { passive: true }, qos: { prefetchCount: 10 } },
    ({ body }) => handle(body),
  );
  consumer.on('error', ({ message }) => console.log(`jobs: ${message}`));
}

export async function close(): Promise<void> {
  await publisher?.close();
  await connection?.close();
}
