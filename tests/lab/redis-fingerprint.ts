import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import type { Cart } from './redis-clients.ts';

/** A service's whole content as one checksum, and how many keys it is of. */
export interface Fingerprint {
  keys: number;
  sha256: string;
}

/**
 * Everything that an application could read, from every master: each key's type, value by value (streams with their
 * groups and what is pending), the moment at which it ends, and the functions. What cannot be read back alike (encodings) is not part of it.
 */
export async function fingerprint(cart: Cart): Promise<Fingerprint> {
  const { cluster } = await cart.session();
  const password = cluster.secrets['cart/admin']!;
  const masters = (await cart.live()).members.filter((one) => one.up && one.role === 'master');
  const lines: string[] = [];
  const functions = new Set<string>();
  for (const { address, port } of masters) {
    const redis = new Redis({ host: address, port, username: 'phalanx', password, protocol: 2 });
    try {
      functions.add(JSON.stringify(await redis.call('FUNCTION', 'LIST', 'WITHCODE')));
      for (let cursor = '0', first = true; first || cursor !== '0'; first = false) {
        const [next, keys] = (await redis.callBuffer('SCAN', cursor, 'COUNT', '1000')) as [Buffer, Buffer[]];
        cursor = next.toString();
        lines.push(...(await Promise.all(keys.map((key) => line(redis, key)))));
      }
    } finally {
      redis.disconnect();
    }
  }
  // SCAN may name a key twice.
  const all = [...new Set(lines)].sort();
  const sha256 = createHash('sha256')
    .update(all.join('\n'))
    .update([...functions].join())
    .digest('hex');
  return { keys: all.length, sha256 };
}

async function line(redis: Redis, key: Buffer): Promise<string> {
  const [type, end] = await Promise.all([redis.type(key), redis.call('PEXPIRETIME', key)]);
  return [key.toString('hex'), type, end, hex(await value(redis, type, key))].join(' ');
}

async function value(redis: Redis, type: string, key: Buffer): Promise<unknown> {
  const ask = (...words: (string | Buffer)[]) => redis.callBuffer(String(words[0]), ...words.slice(1));
  switch (type) {
    case 'string':
      return ask('GET', key);
    case 'list':
      return ask('LRANGE', key, '0', '-1');
    case 'set':
      return sorted(await ask('SMEMBERS', key), 1);
    case 'hash':
      return sorted(await ask('HGETALL', key), 2);
    case 'zset':
      return ask('ZRANGE', key, '0', '-1', 'WITHSCORES');
    case 'stream': {
      const all = (await ask('XINFO', 'STREAM', key, 'FULL', 'COUNT', '0')) as unknown[];
      return without(all, notReplicated);
    }
    default:
      throw new Error(`no way to read a ${type}`);
  }
}

/**
 * How a stream lies in memory, when a consumer last asked, and how many entries a group has read: a replica of Redis 7.0 has its own of each (it is
 * told of a read by XCLAIM, which does not say the count), also after a failover.
 */
const notReplicated = ['radix-tree-keys', 'radix-tree-nodes', 'seen-time', 'entries-read', 'lag'];

function without(value: unknown, names: string[]): unknown {
  if (!Array.isArray(value)) return value;
  const named = (at: number): boolean => at >= 0 && names.includes(String(value[at]));
  return value.flatMap((one, at) => (named(at) || named(at - 1) ? [] : [without(one, names)]));
}

/** Members or pairs of what has no order. */
function sorted(list: unknown, width: number): string[] {
  const words = list as Buffer[];
  const groups: string[] = [];
  for (let at = 0; at < words.length; at += width) groups.push(hex(words.slice(at, at + width)));
  return groups.sort();
}

const hex = (value: unknown): string =>
  Buffer.isBuffer(value)
    ? value.toString('hex')
    : Array.isArray(value)
      ? `[${value.map(hex).join(',')}]`
      : String(value);

/** Writes keys of every type, with and without an end, as an application would, and functions, as an administrator. */
export async function fill(cart: Cart, small = 2_000): Promise<void> {
  const client = await cart.client();
  const range = (count: number) => Array.from({ length: count }, (_, n) => n);
  for (let at = 0; at < small; at += 500)
    await Promise.all(
      range(Math.min(500, small - at)).map((n) => client.set(`s:${at + n}`, `value ${at + n}`)),
    );
  for (const n of range(12)) {
    // Few and many elements: Redis keeps them in different encodings.
    const count = 1 + n * 60;
    await client.set(`ttl:${n}`, n, 'PX', 3_600_000 + n);
    await client.hset(
      `hash:${n}`,
      Object.fromEntries(range(count).map((i) => [`f${i}`, 'x'.repeat(i % 90)])),
    );
    await client.zadd(`zset:${n}`, ...range(count).flatMap((i) => [i / 3, `m${i}`]));
    await client.rpush(`list:${n}`, ...range(count).map((i) => `e${i}`));
    await client.sadd(`set:${n}`, ...range(count).map((i) => (n % 2 ? `e${i}` : i)));
    await client.pfadd(`hll:${n}`, ...range(count));
    await Promise.all(range(count).map((i) => client.xadd(`stream:${n}`, `${i + 1}-1`, 'field', i)));
    await client.xgroup('CREATE', `stream:${n}`, 'readers', '0');
    await client.xreadgroup('GROUP', 'readers', 'one', 'COUNT', 5, 'STREAMS', `stream:${n}`, '>');
    await client.xdel(`stream:${n}`, '1-1');
    await client.pexpire(`hash:${n}`, 7_200_000 + n);
  }
  await client.set(Buffer.from([0, 255, 13, 10, 123, 200, 125]), Buffer.from([1, 2, 0, 255]));
  await client.set('big', Buffer.alloc(9_000_000, 'big'));
  client.disconnect();
  const { cluster } = await cart.session();
  const code = "#!lua name=mine\nredis.register_function('twice', function(_, args) return args[1] * 2 end)";
  for (const { address, port, role } of (await cart.live()).members) {
    if (role !== 'master') continue;
    const password = cluster.secrets['cart/admin']!;
    const redis = new Redis({ host: address, port, username: 'phalanx', password });
    await redis.call('FUNCTION', 'LOAD', 'REPLACE', code);
    redis.disconnect();
  }
}
