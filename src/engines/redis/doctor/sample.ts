import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { fields } from '../info.ts';
import type { KeySample, SampledKey, UseSample } from './facts.ts';

/** Keys of one round: Redis serves nobody else for as long as one takes, some tenths of a millisecond. */
const batch = 100;
/** Microseconds that one command costs a server, reading and answering included: more than was measured (bench/redis-doctor.ts). */
const costUs = 4;
/** How much of a member's time may go into samples. */
const share = { master: 0.004, replica: 0.02 };
/** Keys that are told of. */
const most = 10;
/** How often keys that are in use are looked at again, and how long apart: Redis's clock for them ticks each second. */
const candidates = 50;
const rounds = 3;
const apartMs = 1_100;

/** A connection to look at, and how it may be used. */
export interface Patient {
  member: string;
  role: 'master' | 'replica';
  redis: Redis;
}

export interface Samples {
  keys: KeySample;
  use: UseSample | undefined;
}

/**
 * Looks at keys for so long, or until it has seen all of them: a hundred at a time, and then a pause of many times as long as that took. Never KEYS, never
 * MONITOR; every command is one that Redis carries out in constant time. Begins anywhere, so that two runs see different keys.
 * `master` is asked how the same keys are used: reads leave their trace only where they are served.
 */
export async function sample(
  patient: Patient,
  master: Patient | undefined,
  lfu: boolean,
  forMs: number,
): Promise<Samples> {
  const { redis } = patient;
  const info = await redis.info('keyspace');
  const databases = [...info.matchAll(/^db(\d+):(.*)$/gm)].map(([, name, text]) => ({
    number: Number(name),
    keys: Number(fields(text!.trim())['keys']),
  }));
  const total = databases.reduce((sum, one) => sum + one.keys, 0);
  const keys: KeySample = {
    member: patient.member,
    shard: (master ?? patient).member,
    role: patient.role,
    keys: total,
    seen: 0,
    bytes: 0,
    dataset: Number(/^used_memory_dataset:(\d+)/m.exec(await redis.info('memory'))?.[1] ?? 0),
    largest: [],
    types: {},
    lasting: 0,
  };
  const use: UseSample | undefined = master && {
    member: master.member,
    keys: total,
    seen: 0,
    by: lfu ? 'frequency' : 'idle time',
    inUse: 0,
    hottest: [],
  };
  // In a cluster a replica sends everybody away who has not said this; elsewhere it is refused.
  if (patient.role === 'replica') await redis.call('READONLY').catch(() => {});
  for (const database of databases) {
    const until = performance.now() + (forMs * database.keys) / total;
    if (databases.length > 1)
      await Promise.all(
        [patient, ...(master ? [master] : [])].map((one) => one.redis.select(database.number)),
      );
    const inUse: string[] = [];
    let seen = 0;
    // Few enough to see all of them: from the start. Else from anywhere.
    let cursor = database.keys <= 1_000 ? '0' : String(Math.floor(Math.random() * 2 ** 48));
    for (;;) {
      const [next, page] = await paced(patient, batch / 4, () => redis.scan(cursor, 'COUNT', batch));
      cursor = next;
      if (page.length > 0) {
        await paced(patient, 2 * page.length, () => lookAt(redis, page, keys));
        if (master && use) await paced(master, page.length, () => lookAtUse(master.redis, page, use, inUse));
        seen += page.length;
      }
      if (seen >= database.keys || performance.now() >= until) break;
    }
    keys.seen += Math.min(seen, database.keys);
    // Where many are in use none of them is hot.
    if (master && use && !lfu && use.inUse <= candidates) await stillInUse(master, use, inUse);
  }
  if (use) use.seen = keys.seen;
  return { keys, use };
}

/** Does it, and then leaves the member alone until that much work is no more than its share; twice as long when the answer was slow to come. */
async function paced<T>({ role }: Patient, commands: number, work: () => Promise<T>): Promise<T> {
  const began = performance.now();
  const result = await work();
  const costMs = (commands * costUs) / 1_000;
  const busy = performance.now() - began > 20;
  await sleep((costMs / share[role]) * (busy ? 2 : 1));
  return result;
}

/** The answers of a pipeline (ioredis wants its commands in small letters); an error counts as no answer (the key has gone, or another user may not see it). */
async function answers(redis: Redis, commands: string[][]): Promise<unknown[]> {
  if (commands.length === 0) return [];
  const results = (await redis.pipeline(commands).exec()) ?? [];
  return results.map(([error, value]) => (error ? undefined : value));
}

const lengths: Record<string, string> = {
  string: 'strlen',
  list: 'llen',
  set: 'scard',
  zset: 'zcard',
  hash: 'hlen',
  stream: 'xlen',
};

async function lookAt(redis: Redis, page: string[], into: KeySample): Promise<void> {
  const found = await answers(
    redis,
    page.flatMap((key) => [
      ['type', key],
      // Five elements stand for all of a collection.
      ['memory', 'USAGE', key, 'SAMPLES', '5'],
    ]),
  );
  const queues: string[] = [];
  const present: SampledKey[] = [];
  page.forEach((key, i) => {
    const type = String(found[2 * i] ?? 'none');
    const bytes = Number(found[2 * i + 1] ?? 0);
    if (type === 'none') return;
    into.types[type] = (into.types[type] ?? 0) + 1;
    into.bytes += bytes;
    if (type === 'list' || type === 'stream') queues.push(key);
    present.push({ key, type, bytes });
  });
  const ttls = await answers(
    redis,
    queues.map((key) => ['pttl', key]),
  );
  into.lasting += ttls.filter((ttl) => ttl === -1).length;
  const before = new Set(into.largest);
  into.largest = [...into.largest, ...present].sort((a, b) => b.bytes - a.bytes).slice(0, most);
  const fresh = into.largest.filter((one) => !before.has(one) && lengths[one.type]);
  const counted = await answers(
    redis,
    fresh.map((one) => [lengths[one.type]!, one.key]),
  );
  fresh.forEach((one, i) => {
    if (counted[i] !== undefined) one.length = Number(counted[i]);
  });
}

async function lookAtUse(redis: Redis, page: string[], into: UseSample, inUse: string[]): Promise<void> {
  const found = await answers(
    redis,
    page.map((key) => ['object', into.by === 'frequency' ? 'FREQ' : 'IDLETIME', key]),
  );
  page.forEach((key, i) => {
    if (found[i] === undefined || found[i] === null) return;
    const value = Number(found[i]);
    if (into.by === 'frequency') {
      into.hottest.push({ key, counter: value });
    } else if (value <= 1) {
      into.inUse++;
      if (inUse.length < candidates) inUse.push(key);
    }
  });
  into.hottest = into.hottest.sort((a, b) => (b.counter ?? 0) - (a.counter ?? 0)).slice(0, most);
}

/** Of the keys that were in use, those that are so whenever they are looked at. */
async function stillInUse(master: Patient, use: UseSample, inUse: string[]): Promise<void> {
  let left = inUse;
  for (let round = 0; round < rounds && left.length > 0; round++) {
    await sleep(apartMs);
    const idle = await answers(
      master.redis,
      left.map((key) => ['object', 'IDLETIME', key]),
    );
    left = left.filter((_, i) => idle[i] !== undefined && idle[i] !== null && Number(idle[i]) <= 1);
  }
  use.hottest = [...use.hottest, ...left.map((key) => ({ key }))].slice(0, most);
}
