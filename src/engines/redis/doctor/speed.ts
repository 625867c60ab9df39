import { type Facts, number, type SlowCommand } from './facts.ts';
import type { Found } from './finding.ts';
import { bytes, count, micros, percent } from './numbers.ts';

/** Commands whose time grows with what they touch (Redis documentation, "Time complexity" of each): the first word, and what to use instead. */
const growing: Record<string, string> = {
  keys: 'SCAN, which answers in pieces',
  flushall: 'FLUSHALL ASYNC',
  flushdb: 'FLUSHDB ASYNC',
  smembers: 'SSCAN, or smaller sets',
  hgetall: 'HSCAN or HMGET of the fields that are needed, or smaller hashes',
  hkeys: 'HSCAN, or smaller hashes',
  hvals: 'HSCAN, or smaller hashes',
  lrange: 'shorter ranges',
  lrem: 'a set or a sorted set, which finds its members without looking at all',
  linsert: 'a sorted set',
  zrange: 'shorter ranges',
  zrevrange: 'shorter ranges',
  zrangebyscore: 'LIMIT, or shorter ranges',
  sort: 'a sorted set that is kept in order',
  sinter: 'SINTERCARD with LIMIT, or sets that are kept joined',
  sunion: 'sets that are kept joined',
  sdiff: 'sets that are kept joined',
  sinterstore: 'smaller sets, or the work on a replica',
  sunionstore: 'smaller sets, or the work on a replica',
  zunionstore: 'smaller sets, or the work on a replica',
  zinterstore: 'smaller sets, or the work on a replica',
  del: 'UNLINK, which frees memory beside the commands',
  eval: 'shorter scripts: nobody else is served while one runs',
  evalsha: 'shorter scripts: nobody else is served while one runs',
  fcall: 'shorter functions: nobody else is served while one runs',
  exec: 'shorter transactions: nobody else is served while one runs',
  mget: 'fewer keys at a time',
  mset: 'fewer keys at a time',
  scan: 'a smaller COUNT',
  restore: 'smaller keys',
  migrate: 'smaller keys',
  xrange: 'COUNT',
  save: 'BGSAVE',
};

/** Commands of administration: whoever runs them knows. */
const administration =
  /^(info|config|cluster|slowlog|acl|client|command|debug|psync|sync|replconf|replicaof|slaveof|sentinel|memory|latency|bgsave|bgrewriteaof|shutdown|script|function|failover|monitor|module|object|type|pttl|strlen|llen|scard|zcard|hlen|xlen|role|auth|hello|ping)$/;

const day = 86_400;
/** A command that takes this long once is worth a word; below that, more than once. Microseconds. */
const longUs = 50_000;

/** The slow log, its worst commands first. Simple commands in it speak of the host, not of themselves. */
export function slowCommands({ slow, live }: Facts): Found[] {
  return live.members.flatMap((member): Found[] => {
    const entries = slow[member.name] ?? [];
    // The log keeps its entries for ever: yesterday's are no news. Time is the log's own, not this machine's.
    const now = Math.max(0, number(member.info, 'server_time_usec') / 1e6, ...entries.map((one) => one.at));
    const fresh = entries.filter((one) => one.at > now - day);
    const named = new Map<string, SlowCommand[]>();
    for (const one of fresh) {
      const name = one.words[0]?.toLowerCase() ?? '';
      if (administration.test(name)) continue;
      named.set(name, [...(named.get(name) ?? []), one]);
    }
    const own = [...named]
      .filter(([name, list]) => growing[name] && (list.length > 1 || list[0]!.us >= longUs))
      .sort((a, b) => worst(b[1]).us - worst(a[1]).us)
      .slice(0, 5)
      .map(([name, list]): Found => {
        const longest = worst(list);
        const total = number(parts(member.info?.[`cmdstat_${name}`]), 'calls');
        return {
          rule: 'slow-command',
          risk: 'speed',
          where: member.name,
          what: `${name.toUpperCase()} took up to ${micros(longest.us)}, ${times(list.length)} in the last day's slow log${total > 0 ? ` (${count(total)} calls since it was started)` : ''}: ${shown(longest.words)}`,
          why: 'Redis carries out one command at a time: meanwhile every other client waited.',
          mend: `use ${growing[name]}`,
        };
      });
    const simple = [...named].filter(([name]) => !growing[name]).flatMap(([, list]) => list);
    if (simple.length < 10) return own;
    return [
      ...own,
      {
        rule: 'slow-host',
        risk: 'speed',
        where: member.name,
        what: `${count(simple.length)} simple commands of the last day took up to ${micros(worst(simple).us)} (${shown(worst(simple).words)})`,
        why: 'They take microseconds by themselves: the host stopped Redis meanwhile (swapping, a fork, a processor taken away), or the key is big.',
        mend: `look at the host ${member.host}: vmstat 1 (si, so and st should be 0), and at the big keys`,
      },
    ];
  });
}

const worst = (list: SlowCommand[]): SlowCommand => list.reduce((a, b) => (b.us > a.us ? b : a));
const times = (n: number): string => (n === 1 ? 'once' : `${n} times`);

/** A command's beginning; values are the users' data and are not shown. */
const shown = (words: string[]): string => {
  const text = words.slice(0, 2).join(' ');
  return `${text.length > 60 ? `${text.slice(0, 60)}...` : text}${words.length > 2 ? ' ...' : ''}`;
};

/** 'calls=1,usec=2' of INFO commandstats. */
const parts = (text: string | undefined): Record<string, string> =>
  Object.fromEntries((text ?? '').split(',').map((pair) => pair.split('=') as [string, string]));

/** From here on a key holds everybody up when it is deleted, expires, is moved to another shard or is read whole. */
const big = { bytes: 8 * 2 ** 20, length: 100_000 };

export function bigKeys({ keys, service }: Facts): Found[] {
  return keys.flatMap((sample): Found[] => {
    const found = sample.largest.filter(
      (one) => one.bytes >= big.bytes || (one.type !== 'string' && (one.length ?? 0) >= big.length),
    );
    const own = found.slice(0, 5).map(
      (one): Found => ({
        rule: 'big-key',
        risk: 'speed',
        where: sample.member,
        what: `the ${one.type} ${one.key} takes ${bytes(one.bytes)}${one.length === undefined || one.type === 'string' ? '' : ` in ${count(one.length)} elements`}`,
        why: `One command on it can take long, and nobody else is served meanwhile${service.spec.mode === 'cluster' ? '; moving its slot to another shard stops both shards for as long' : ''}.`,
        mend: `spread it over several keys (${one.key}:1, ${one.key}:2, ...); remove it with UNLINK, never with DEL`,
      }),
    );
    const seen = sample.seen / Math.max(1, sample.keys);
    const explained = seen === 0 ? 1 : sample.bytes / seen / Math.max(1, sample.dataset);
    // Few keys were seen and they are small: what fills the memory was not among them.
    if (
      found.length > 0 ||
      seen > 0.9 ||
      sample.seen < 500 ||
      sample.dataset < 256 * 2 ** 20 ||
      explained > 0.4
    )
      return own;
    return [
      {
        rule: 'hidden-big-keys',
        risk: 'speed',
        where: sample.member,
        what: `the ${count(sample.seen)} of ${count(sample.keys)} keys that were looked at are small (${bytes(sample.bytes / sample.seen)} each): such keys explain ${percent(explained, 1)} of the ${bytes(sample.dataset)} of data`,
        why: 'Few and very big keys hold the rest; each of them can hold everybody up.',
        mend: `phalanx doctor ${service.name} --for 10m looks at more keys, at the same small load`,
      },
    ];
  });
}

/** Below so many commands a second no key is hot. */
const busy = 2_000;
/** Commands a second on one key that make it hot: a shard carries tens of thousands. */
const hotRate = 500;
/** OBJECT FREQ of a key that was used some 100,000 times within minutes (redis.conf of Redis 7.0, lfu-log-factor 10). */
const hotCounter = 140;

/** Keys that take a large part of a member's commands, and shards that take more than their part. */
export function hotKeys({ uses, live, service }: Facts): Found[] {
  const mend =
    'spread it over several keys, or keep it in the application for a moment (client-side caching); several shards do not help one key';
  const why = 'One key is served by one processor of one master, however many there are.';
  const found = uses.flatMap((use): Found[] => {
    const ops = number(
      live.members.find((one) => one.name === use.member)?.info,
      'instantaneous_ops_per_sec',
    );
    const names = use.hottest.slice(0, 5).map((one) => one.key);
    if (use.by === 'frequency') {
      const hot = use.hottest.filter((one) => (one.counter ?? 0) >= hotCounter);
      if (hot.length === 0 || hot.length > use.seen / 100) return [];
      return [
        {
          rule: 'hot-key',
          risk: 'speed',
          where: use.member,
          what: `used far more than the others: ${hot
            .map((one) => `${one.key} (frequency ${one.counter} of 255)`)
            .slice(0, 5)
            .join(', ')}`,
          why,
          mend,
        },
      ];
    }
    if (ops < busy || use.seen === 0) return [];
    // How many keys share the load, at most: with a sample, three more than were met could have escaped it ("rule of three").
    const met = use.seen >= use.keys ? use.inUse : ((use.inUse + 3) / use.seen) * use.keys;
    const rate = ops / Math.max(1, met);
    if (rate < hotRate || use.keys < 2 * met) return [];
    return [
      {
        rule: 'hot-key',
        risk: 'speed',
        where: use.member,
        what: `at most ${count(Math.ceil(met))} of ${count(use.keys)} keys take its ${count(ops)} commands a second, at least ${count(rate)} each on average${names.length > 0 ? `: ${names.join(', ')}` : ' (none of them was among the keys that were looked at)'}`,
        why,
        mend:
          names.length > 0
            ? mend
            : `${mend}. An LFU policy counts each key's uses: services.${service.name}.eviction: volatile-lfu`,
      },
    ];
  });
  return [...found, ...hotShards(live.members.filter((one) => one.up && one.role === 'master'))];
}

function hotShards(masters: Facts['live']['members']): Found[] {
  if (masters.length < 2) return [];
  const rate = (one: Facts['live']['members'][number]): number =>
    number(one.info, 'instantaneous_ops_per_sec');
  const total = masters.reduce((sum, one) => sum + rate(one), 0);
  return masters.flatMap((one): Found[] => {
    const others = (total - rate(one)) / (masters.length - 1);
    if (rate(one) < busy || rate(one) < 4 * others) return [];
    return [
      {
        rule: 'hot-shard',
        risk: 'speed',
        where: one.name,
        what: `takes ${count(rate(one))} commands a second; the other masters ${count(others)} each`,
        why: 'The cluster is as fast as its busiest shard: more shards do not help while the load goes to one.',
        mend: 'look for a hot key, or for a {tag} in key names that puts many keys into one slot',
      },
    ];
  });
}

export const speedRules = [slowCommands, bigKeys, hotKeys];
