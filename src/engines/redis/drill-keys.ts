import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type Dial, using } from './client.ts';
import type { RedisLive } from './live.ts';

/** Every key that begins so on one member, some of them twice: SCAN promises no less, and no more. */
export async function* keysOf(redis: Redis, prefix: string): AsyncGenerator<string[]> {
  let cursor = '0';
  do {
    const [next, page] = await redis.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 2_000);
    yield page;
    cursor = next;
  } while (cursor !== '0');
}

export interface Removal {
  /** What the drill's keys begin with. */
  prefix: string;
  observe(): Promise<RedisLive>;
  /** Shards that nobody answers for, a sentence each. */
  masterless(live: RedisLive): string[];
  dial: Dial;
}

/**
 * Removes a drill's keys from every master. What cannot be removed is tried again for so long: after a drill that was broken off a
 * master may just be coming back. Rejects with what is left; everything else has been removed.
 */
export async function removeKeys(
  { prefix, observe, masterless, dial }: Removal,
  patienceMs: number,
): Promise<void> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const live = await observe();
    const masters = live.members.filter((member) => member.up && member.role === 'master');
    const removals = await Promise.allSettled(
      masters.map((master) => using(dial, master, (redis) => unlink(redis, prefix))),
    );
    const left = [
      ...masterless(live),
      ...removals.flatMap((one, i) =>
        one.status === 'rejected' ? [`${masters[i]!.name}: ${(one.reason as Error).message}`] : [],
      ),
    ];
    if (left.length === 0) return;
    if (performance.now() > until) throw new Error(left.join('; '));
    await sleep(200);
  }
}

async function unlink(redis: Redis, prefix: string): Promise<void> {
  for await (const page of keysOf(redis, prefix)) {
    const answers = await redis.pipeline(page.map((key) => ['unlink', key])).exec();
    for (const [error] of answers ?? []) if (error) throw error;
  }
}
