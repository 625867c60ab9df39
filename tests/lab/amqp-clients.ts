import { execFile } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Connection } from 'rabbitmq-client';

export interface Published {
  /** Ids that the broker confirmed, in order. */
  confirmed: string[];
  /** What went wrong, a word each: neither confirmed nor lost. */
  unknown: string[];
  /** Longest time between two confirms, in milliseconds. */
  longestGapMs: number;
}

/** Publishers that still go: a test that fails must not leave one to the next. */
const going = new Set<() => Promise<unknown>>();
export const stopPublishing = async (): Promise<void> => {
  await Promise.all([...going].map((stop) => stop()));
};

/** A stock client that publishes one message after the other, each with its confirm, until `stop`. It retries nothing, so that retries hide no loss. */
export async function publishing(
  url: string,
  queue: string,
  prefix: string,
): Promise<{ stop(): Promise<Published> }> {
  const connection = new Connection({
    url,
    retryLow: 50,
    retryHigh: 200,
    connectionTimeout: 1000,
    acquireTimeout: 2000,
  });
  connection.on('error', () => {});
  const publisher = connection.createPublisher({ confirm: true, maxAttempts: 1 });
  const result: Published = { confirmed: [], unknown: [], longestGapMs: 0 };
  let on = true;
  let last = performance.now();
  const send = async (id: string): Promise<void> => {
    await publisher.send({ routingKey: queue, durable: true }, id);
    result.confirmed.push(id);
    const now = performance.now();
    result.longestGapMs = Math.max(result.longestGapMs, now - last);
    last = now;
  };
  // One that is left behind tries for ever; where the lab is gone by then, whoever answers at its address is no broker, and the library throws out of its socket.
  await send(`${prefix}first`).catch((error: Error) => {
    connection.unsafeDestroy();
    throw error;
  });
  last = performance.now();
  const work = (async () => {
    for (let n = 0; on; n++) {
      try {
        await send(`${prefix}${n}`);
      } catch (error) {
        result.unknown.push((error as { code?: string }).code ?? String(error));
        await wait(20);
      }
    }
  })();
  const stop = async (): Promise<Published> => {
    on = false;
    going.delete(stop);
    await work;
    await publisher.close().catch(() => {});
    connection.unsafeDestroy();
    return result;
  };
  going.add(stop);
  return { stop };
}

/** Everything that is in the queue, by python3-pika, each message acknowledged. */
export async function consumed(url: string, queue: string): Promise<string[]> {
  const script = `
import json, sys, pika
connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
got = []
for method, _, body in channel.consume(sys.argv[2], inactivity_timeout=2):
    if method is None: break
    got.append(body.decode())
    channel.basic_ack(method.delivery_tag)
connection.close()
print(json.dumps(got))
`;
  const { stdout } = await promisify(execFile)('/usr/bin/python3', ['-c', script, url, queue], {
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as string[];
}

/** Confirmed messages that nobody was given. */
export const lost = (published: Published, got: string[]): string[] => {
  const there = new Set(got);
  return published.confirmed.filter((id) => !there.has(id));
};
