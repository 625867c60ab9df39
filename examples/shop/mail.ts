import { Connection, type Publisher } from 'rabbitmq-client';
import { given } from './settings.ts';
import { within } from './tier.ts';

const queue = 'mail';
let connection: Connection | undefined;
let publisher: Publisher | undefined;

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
 * Resolves when the queue's majority has the job on disk. Safe to repeat: whoever does it knows an order by its number. A channel that first
 * published to a leader that hung asks that node again and again, and confirms nothing (RabbitMQ 3.10): one that failed is left for a new one.
 */
export async function post(number: number, to: string): Promise<void> {
  publisher ??= rabbit().createPublisher({ confirm: true, maxAttempts: 1 });
  const used = publisher;
  try {
    await within(used.send({ routingKey: queue, durable: true }, { number, to }));
  } catch (error) {
    if (publisher === used) publisher = undefined;
    used.close().catch(() => undefined);
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
