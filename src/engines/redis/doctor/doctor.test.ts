import { describe, expect, it } from 'vitest';
import type { LiveMember } from '../live.ts';
import { parseNodes } from '../nodes.ts';
import { down, following, sample, up, watching } from '../testing/sample.ts';
import { findings, looked } from './doctor.ts';
import type { Facts, HostFacts } from './facts.ts';
import { nearness } from './limits.ts';
import { compare } from './versions.ts';

const gb = 2 ** 30;
const mb = 2 ** 20;

/** INFO of a member that has nothing wrong, as Redis 7.0.15 says it. */
const info = (more: Record<string, string | number> = {}): Record<string, string> =>
  Object.fromEntries(
    Object.entries({
      redis_version: '7.0.15',
      process_id: 1,
      server_time_usec: 1_800_000_000_000_000,
      connected_clients: 12,
      rejected_connections: 0,
      used_memory: 40 * mb,
      used_memory_rss: 60 * mb,
      used_memory_dataset: 20 * mb,
      maxmemory: 0,
      maxmemory_policy: 'noeviction',
      mem_fragmentation_ratio: 1.5,
      mem_fragmentation_bytes: 20 * mb,
      mem_clients_slaves: 0,
      instantaneous_ops_per_sec: 30_000,
      master_repl_offset: 1000,
      slave_repl_offset: 1000,
      repl_backlog_size: 16 * mb,
      aof_current_size: 30 * mb,
      aof_last_write_status: 'ok',
      aof_last_bgrewrite_status: 'ok',
      rdb_last_bgsave_status: 'ok',
      evicted_keys: 0,
      cmdstat_get: 'calls=5000000,usec=5000000,usec_per_call=1.00,rejected_calls=0,failed_calls=0',
      cmdstat_brpop: 'calls=900,usec=900,usec_per_call=1.00,rejected_calls=0,failed_calls=0',
      db0: 'keys=10000,expires=5000,avg_ttl=100000',
      ...more,
    }).map(([name, value]) => [name, String(value)]),
  );

const host = (more: Partial<HostFacts> = {}): HostFacts => ({
  overcommit: 0,
  hugePages: 'always',
  memory: 8 * gb,
  available: 7 * gb,
  swap: 0,
  commitLimit: 4 * gb,
  committed: gb,
  disk: { used: 50 * gb, free: 50 * gb },
  ...more,
});

/** A cluster with nothing wrong, and something changed in it. */
function healthy(spec: Record<string, unknown> = {}): Facts {
  const of = sample({ mode: 'sentinel', ...spec });
  const { service } = of;
  let members: LiveMember[];
  if (service.spec.mode === 'cluster') {
    const ids = {
      'cart@d1': 'm1',
      'cart@d2': 'm2',
      'cart@d3': 'm3',
      'cart.2@d1': 'r1',
      'cart.2@d2': 'r2',
      'cart.2@d3': 'r3',
    };
    const masters = ['cart@d1', 'cart@d2', 'cart@d3'].map((name) => up(of, name));
    // Each on the host after its master's.
    const replicas = ['cart.2@d2', 'cart.2@d3', 'cart.2@d1'].map((name, i) =>
      following(of, name, masters[i]!),
    );
    members = [...masters, ...replicas];
    members.forEach((one) => {
      const at = `${one.address}:${one.port}@1`;
      const id = ids[one.name as keyof typeof ids];
      const owned = { 'cart@d1': '0-5460', 'cart@d2': '5461-10922', 'cart@d3': '10923-16383' }[one.name];
      one.nodes = parseNodes(
        `${id} ${at} myself,${owned ? 'master - ' : 'slave m1 '}0 0 1 connected${owned ? ` ${owned}` : ''}`,
      );
      one.clusterState = 'ok';
    });
  } else {
    const master = up(of, 'cart@d1');
    const replicas =
      service.spec.replicas === 0 ? [] : ['cart@d2', 'cart@d3'].map((name) => following(of, name, master));
    members = [master, ...replicas];
  }
  const master = members.find((one) => one.role === 'master')!;
  for (const one of members) {
    one.keys = 10_000;
    one.info = info({
      maxmemory: one.config!['maxmemory']!,
      maxmemory_policy: one.config!['maxmemory-policy']!,
    });
  }
  return {
    service,
    live: { members, sentinels: service.spec.mode === 'sentinel' ? watching(of, master, members) : [] },
    later: Object.fromEntries(members.map((one) => [one.name, one.info!])),
    slow: {},
    keys: [
      {
        ...{ member: members.at(-1)!.name, shard: master.name, role: 'replica' as const },
        ...{ keys: 10_000, seen: 6_000, bytes: 12 * mb, dataset: 20 * mb },
        largest: [{ key: 'a', type: 'hash', bytes: 4_000, length: 30 }],
        types: { hash: 5_990, list: 10 },
        lasting: 10,
      },
    ],
    unseen: {},
    uses: [
      {
        ...{ member: master.name, keys: 10_000, seen: 6_000 },
        ...{ by: 'idle time' as const, inUse: 3_000, hottest: [{ key: 'a' }] },
      },
    ],
    processes: Object.fromEntries(members.map((one) => [one.name, { swapped: 0, hugePages: false }])),
    hosts: { d1: host(), d2: host(), d3: host() },
  };
}

const rules = (facts: Facts): string[] => [...new Set(findings(facts).map((one) => one.rule))].sort();
const first = (facts: Facts): LiveMember => facts.live.members[0]!;
const setInfo = (one: LiveMember, more: Record<string, string | number>): void => {
  one.info = { ...one.info, ...Object.fromEntries(Object.entries(more).map(([k, v]) => [k, String(v)])) };
};
/** The rules that find something once this is changed in a healthy cluster. */
function changed(spec: Record<string, unknown>, change: (facts: Facts) => void): string[] {
  const facts = healthy(spec);
  change(facts);
  return rules(facts);
}

describe('a healthy service', () => {
  it.each([
    [{ mode: 'replication' }],
    [{ mode: 'sentinel' }],
    [{ mode: 'cluster' }],
    [{ mode: 'sentinel', promise: { lostWrites: 0, rto: '5s' } }],
    [{ mode: 'sentinel', maxmemory: '100mb', eviction: 'noeviction' }],
    [{ mode: 'sentinel', persistence: 'none' }],
    [{ mode: 'replication', replicas: 0 }],
  ])('%j has no findings', (spec) => {
    expect(findings(healthy(spec))).toEqual([]);
  });

  it('tells how near its limits are, and how far was looked', () => {
    const facts = healthy({ maxmemory: '80mb' });
    const own = nearness(facts).filter((one) => one.member === 'cart@d1');
    expect(own).toContainEqual({ member: 'cart@d1', limit: 'clients', used: 12, of: 10_000, unit: 'count' });
    expect(own).toContainEqual({
      member: 'cart@d1',
      limit: 'memory',
      used: 40 * mb,
      of: 80 * mb,
      unit: 'bytes',
    });
    expect(looked(facts)).toEqual(['cart@d3: 6,000 of 10,000 keys, as a replica']);
    facts.keys = [];
    facts.unseen['cart@d1'] = 'Connection is closed.';
    delete facts.hosts['d2'];
    expect(looked(facts)).toEqual([
      'cart@d1: no keys (Connection is closed.)',
      expect.stringMatching(/^d2: not its kernel/),
    ]);
  });
});

describe('the slow log', () => {
  const entry = (us: number, text: string, hoursAgo = 1) => ({
    at: 1_800_000_000 - hoursAgo * 3600,
    us,
    words: text.split(' '),
  });
  const withLog = (entries: ReturnType<typeof entry>[]) =>
    changed({}, (facts) => {
      facts.slow['cart@d1'] = entries;
    });

  it('names commands whose time grows with the data, worst first, with what to use instead', () => {
    const facts = healthy();
    facts.slow['cart@d1'] = [
      entry(12_000, 'hgetall cart:1'),
      entry(80_000, 'keys *'),
      entry(15_000, 'hgetall cart:1'),
    ];
    const found = findings(facts);
    expect(found.map((one) => one.what)).toEqual([
      expect.stringMatching(/^KEYS took up to 80.0 ms, once in the last day/),
      expect.stringMatching(/^HGETALL took up to 15.0 ms, 2 times in the last day/),
    ]);
    expect(found[0]).toMatchObject({ where: 'cart@d1', risk: 'speed', mend: expect.stringMatching(/SCAN/) });
  });
  it('shows no values', () => {
    const facts = healthy();
    facts.slow['cart@d1'] = [
      entry(80_000, 'mset card 4111111111111111'),
      entry(80_000, 'mset card 4111111111111111'),
    ];
    expect(JSON.stringify(findings(facts))).not.toContain('4111');
  });
  it('is silent about one short entry, about yesterday, and about administration', () => {
    expect(withLog([entry(12_000, 'hgetall cart:1')])).toEqual([]);
    expect(withLog([entry(900_000, 'keys *', 30), entry(12_000, 'get a', 0)])).toEqual([]);
    expect(
      withLog([entry(900_000, 'config get *'), entry(900_000, 'command docs'), entry(900_000, 'psync a 1')]),
    ).toEqual([]);
  });
  it('blames the host for many slow simple commands, and for few nobody', () => {
    expect(withLog(Array.from({ length: 10 }, () => entry(20_000, 'get a')))).toEqual(['slow-host']);
    expect(withLog(Array.from({ length: 9 }, () => entry(20_000, 'get a')))).toEqual([]);
  });
});

describe('keys', () => {
  it('finds big ones by bytes or by elements', () => {
    const big = (bytes: number, length: number) =>
      changed({}, (facts) => {
        facts.keys[0]!.largest = [{ key: 'all', type: 'zset', bytes, length }];
      });
    expect(big(8 * mb, 50)).toEqual(['big-key']);
    expect(big(3 * mb, 100_000)).toEqual(['big-key']);
    expect(big(7 * mb, 99_999)).toEqual([]);
  });
  it('infers big keys that the sample did not meet, and only from a sample worth the name', () => {
    const hidden = (seen: number, bytes: number) =>
      changed({}, (facts) => {
        Object.assign(facts.keys[0]!, { keys: 1_000_000, seen, bytes: bytes * seen, dataset: gb });
      });
    expect(hidden(5_000, 100)).toEqual(['hidden-big-keys']);
    expect(hidden(5_000, 900)).toEqual([]);
    expect(hidden(400, 100)).toEqual([]);
    expect(hidden(950_000, 100)).toEqual([]);
  });
  const use = (more: object, ops = 30_000) =>
    changed({}, (facts) => {
      Object.assign(facts.uses[0]!, more);
      setInfo(first(facts), { instantaneous_ops_per_sec: ops });
    });
  it('finds hot keys by how few are in use while many commands come', () => {
    expect(use({ inUse: 2, seen: 10_000 })).toEqual(['hot-key']);
    expect(use({ inUse: 2, seen: 10_000 }, 1_500)).toEqual([]);
    expect(use({ inUse: 9_000, seen: 10_000 })).toEqual([]);
    // None was met among 50,000 of ten million: then at most some 600 share the load.
    expect(use({ keys: 10_000_000, seen: 50_000, inUse: 0, hottest: [] }, 400_000)).toEqual(['hot-key']);
    expect(use({ keys: 10_000_000, seen: 50_000, inUse: 0, hottest: [] }, 20_000)).toEqual([]);
  });
  it('finds hot keys by their counters, where an LFU policy keeps them', () => {
    const counters = (...list: number[]) => ({
      by: 'frequency',
      hottest: list.map((counter, i) => ({ key: `k${i}`, counter })),
    });
    expect(use(counters(200, 10))).toEqual(['hot-key']);
    expect(use(counters(130, 10))).toEqual([]);
  });
  it('finds a shard that takes the load of all', () => {
    const shards = (...ops: number[]) =>
      changed({ mode: 'cluster' }, (facts) => {
        for (const [i, rate] of ops.entries())
          setInfo(facts.live.members[i]!, { instantaneous_ops_per_sec: rate });
      });
    expect(shards(30_000, 1_000, 1_000)).toEqual(['hot-shard']);
    expect(shards(30_000, 20_000, 25_000)).toEqual([]);
    expect(shards(900, 10, 10)).toEqual([]);
  });
});

describe('limits', () => {
  it.each([
    ['clients near maxclients', { connected_clients: 8_000 }, ['clients-near-limit']],
    ['clients refused', { rejected_connections: 3 }, ['clients-refused']],
    ['clients well below', { connected_clients: 7_900 }, []],
  ])('%s', (_, more, expected) => {
    expect(
      changed({}, (facts) => {
        setInfo(first(facts), more);
        facts.later['cart@d1'] = first(facts).info!;
      }),
    ).toEqual(expected);
  });
  it('sees that Redis lowered maxclients', () => {
    expect(
      changed({}, (facts) => {
        first(facts).config!['maxclients'] = '4064';
      }),
    ).toEqual(['maxclients-lowered']);
  });
  it('memory: near the limit only where nothing may go', () => {
    const used = (spec: object, more: Record<string, string | number>) =>
      changed(spec as Record<string, unknown>, (facts) => setInfo(first(facts), more));
    const limit = { maxmemory: '100mb' };
    expect(used(limit, { used_memory: 85 * mb })).toEqual(['memory-near-limit']);
    expect(used(limit, { used_memory: 75 * mb })).toEqual([]);
    expect(used({ ...limit, eviction: 'allkeys-lru' }, { used_memory: 99 * mb, cmdstat_brpop: '' })).toEqual(
      [],
    );
    expect(used({ ...limit, eviction: 'volatile-lru' }, { used_memory: 99 * mb })).toEqual([]);
    expect(
      used(
        { ...limit, eviction: 'volatile-lru' },
        { used_memory: 99 * mb, db0: 'keys=10000,expires=3,avg_ttl=1' },
      ),
    ).toEqual(['memory-near-limit']);
    expect(used(limit, { errorstat_OOM: 'count=7' })).toEqual(['writes-refused-memory']);
  });
  it('fragmentation and swap only where they are worth a word', () => {
    const of = (ratio: number, wasted: number) =>
      changed({}, (facts) =>
        setInfo(first(facts), { mem_fragmentation_ratio: ratio, mem_fragmentation_bytes: wasted }),
      );
    expect(of(1.8, 500 * mb)).toEqual(['fragmentation']);
    expect(of(9.5, 10 * mb)).toEqual([]);
    expect(
      changed({}, (facts) => {
        facts.processes['cart@d2']!.swapped = 64 * mb;
      }),
    ).toEqual(['swapped']);
  });
  it('the host: members that may take its memory, and a disk that a rewrite would fill', () => {
    expect(
      changed({}, (facts) => {
        facts.hosts['d1'] = host({ memory: 70 * mb });
        first(facts).info!['used_memory_rss'] = String(60 * mb);
      }),
    ).toContain('host-memory');
    const free = (bytes: number, persistence: string) =>
      changed({ persistence }, (facts) => {
        facts.hosts['d2'] = host({ disk: { used: gb, free: bytes } });
      });
    expect(free(40 * mb, 'aof')).toEqual(['disk-nearly-full']);
    expect(free(80 * mb, 'aof')).toEqual([]);
    expect(free(40 * mb, 'none')).toEqual([]);
  });
});

describe('eviction', () => {
  const all = { maxmemory: '100mb', eviction: 'allkeys-lru' };
  it('finds a queue under allkeys by what clients do and what was seen, not by its name', () => {
    expect(rules(healthy(all))).toEqual(['eviction-of-a-queue']);
    expect(changed(all, (facts) => setInfo(first(facts), { cmdstat_brpop: '' }))).toEqual([]);
    expect(
      changed(all, (facts) => {
        facts.keys[0]!.lasting = 0;
      }),
    ).toEqual([]);
    expect(rules(healthy({ ...all, maxmemory: undefined }))).toEqual([]);
  });
  it('holds the file to its own promise', () => {
    const spec = { ...all, promise: { lostWrites: 0 } };
    expect(changed(spec, (facts) => setInfo(first(facts), { cmdstat_brpop: '' }))).toEqual([
      'eviction-breaks-promise',
    ]);
  });
  it('finds a cache that refuses, by the share of keys that expire', () => {
    const cache = (expires: number, used: number) =>
      changed({ maxmemory: '100mb' }, (facts) =>
        setInfo(first(facts), { db0: `keys=10000,expires=${expires},avg_ttl=1`, used_memory: used }),
      );
    expect(cache(9_900, 60 * mb)).toEqual(['cache-without-eviction']);
    expect(cache(5_000, 60 * mb)).toEqual([]);
    expect(cache(9_900, 20 * mb)).toEqual([]);
  });
});

describe('copies', () => {
  it('a member, or a link, that is down', () => {
    const facts = healthy();
    facts.live.members[1] = down(sample({ mode: 'sentinel' }), 'cart@d2');
    expect(rules(facts)).toEqual(['member-down']);
    expect(
      changed({}, ({ live }) => {
        live.members[1]!.linkUp = false;
      }),
    ).toEqual(['replica-cut-off']);
  });
  it('a lag that stays, and not one of a moment', () => {
    const behind = (now: number, later: number) =>
      changed({}, (facts) => {
        setInfo(first(facts), { master_repl_offset: now });
        facts.later['cart@d1'] = { ...first(facts).info!, master_repl_offset: String(later) };
      });
    expect(behind(20 * mb, 30 * mb)).toEqual(['replica-behind']);
    expect(behind(20 * mb, 1_000)).toEqual([]);
  });
  it('a replica on the host of its master, where another host is free', () => {
    const facts = healthy({ mode: 'cluster' });
    const replica = facts.live.members.find((one) => one.name === 'cart.2@d2')!;
    replica.host = 'd1';
    expect(findings(facts)).toEqual([
      expect.objectContaining({
        rule: 'replica-shares-host',
        risk: 'data',
        what: expect.stringMatching(/no other copy/),
      }),
    ]);
  });
  it('data in the memory of one process only', () => {
    expect(rules(healthy({ mode: 'replication', replicas: 0, persistence: 'none' }))).toEqual([
      'one-copy-in-memory',
    ]);
    expect(rules(healthy({ mode: 'replication', replicas: 0, persistence: 'rdb' }))).toEqual([]);
    expect(
      rules(healthy({ mode: 'replication', replicas: 0, persistence: 'rdb', promise: { lostWrites: 0 } })),
    ).toEqual(['snapshots-break-promise']);
    expect(changed({}, (facts) => setInfo(first(facts), { aof_last_write_status: 'err' }))).toEqual([
      'persistence-fails',
    ]);
  });
  it('minReplicas that stops writes, will, or does not keep the promise', () => {
    expect(
      changed({}, (facts) => {
        first(facts).followers!.length = 0;
      }),
    ).toEqual(['writes-refused-replicas']);
    expect(rules(healthy({ minReplicas: 2 }))).toEqual(['every-replica-needed']);
    expect(rules(healthy({ minReplicas: 0 }))).toEqual([]);
    expect(rules(healthy({ minReplicas: 0, promise: { lostWrites: 0 } }))).toEqual(['cut-off-master-writes']);
  });
  it('nobody who could elect', () => {
    expect(
      changed({}, ({ live }) => {
        live.sentinels.slice(1).forEach((one) => {
          delete one.master;
        });
      }),
    ).toEqual(['nobody-elects']);
    const facts = healthy({ mode: 'cluster' });
    const [, second] = facts.live.members;
    second!.host = 'd1';
    expect(findings(facts)).toContainEqual(
      expect.objectContaining({
        rule: 'masters-share-host',
        where: 'd1',
        mend: expect.stringMatching(/^phalanx switchover cart --to cart\.2@d[23]$/),
      }),
    );
  });
});

describe('the host', () => {
  it('overcommit only where a fork will be refused', () => {
    const of = (more: Partial<HostFacts>, rss = 60 * mb) =>
      changed({}, (facts) => {
        facts.hosts['d1'] = host(more);
        setInfo(first(facts), { used_memory_rss: rss });
      });
    expect(of({ overcommit: 2, commitLimit: gb, committed: gb - mb })).toEqual(['overcommit']);
    expect(of({ overcommit: 2 })).toEqual([]);
    expect(of({ overcommit: 0 }, 4.5 * gb)).toEqual(['overcommit']);
    expect(of({ overcommit: 1 }, 4.5 * gb)).toEqual([]);
  });
  it('huge pages only where they are on for the process', () => {
    const on = (hugePages: string) =>
      changed({}, (facts) => {
        facts.processes['cart@d1']!.hugePages = true;
        facts.hosts['d1'] = host({ hugePages });
      });
    expect(on('always')).toEqual(['huge-pages']);
    expect(on('madvise')).toEqual([]);
  });
});

describe('versions', () => {
  const of = (version: string, config: Record<string, string> = {}, spec = {}) =>
    changed(spec, ({ live }) => {
      for (const one of live.members) {
        setInfo(one, { redis_version: version });
        Object.assign(one.config!, config);
      }
    });
  it('names the bug, the condition and the source', () => {
    expect(of('7.0.4')).toEqual(['version-loses-data']);
    expect(of('7.0.4', { appendonly: 'no', save: '' }, { persistence: 'none' })).toEqual([]);
    expect(of('6.0.3', { appendonly: 'no', save: '' }, { persistence: 'none' })).toEqual([
      'version-loses-data',
    ]);
    expect(of('7.0.15')).toEqual([]);
    expect(of('8.0.2')).toEqual([]);
  });
  it('compares by numbers', () => {
    expect(compare('7.0.15', '7.0.9')).toBeGreaterThan(0);
    expect(compare('6.2.0', '6.2.0')).toBe(0);
    expect(compare('6.0.16', '6.2.0')).toBeLessThan(0);
  });
  it('finds members of two versions', () => {
    expect(changed({}, (facts) => setInfo(first(facts), { redis_version: '7.2.4' }))).toEqual([
      'mixed-versions',
    ]);
  });
});

it('what endangers data comes first', () => {
  const facts = healthy();
  facts.slow['cart@d1'] = [{ at: 1_800_000_000, us: 90_000, words: ['keys', '*'] }];
  facts.live.members[1]!.linkUp = false;
  setInfo(first(facts), { rejected_connections: 1 });
  facts.later = {};
  expect(findings(facts).map((one) => one.risk)).toEqual(['data', 'service', 'speed']);
});
