import type { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding, Nearness } from '../../src/engines/engine.ts';
import { dialer, using } from '../../src/engines/redis/client.ts';
import { TestCluster, until } from './cluster.ts';
import { Cart } from './redis-clients.ts';

interface Report {
  findings: (Finding & { at?: string })[];
  services: Record<string, { limits: Nearness[]; looked: string[] }>;
}

const file = (name: string, subnet: number, spec: string, more = ''): string => `
cluster: ${name}
network: 10.161.${subnet}.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, hosts: [d1, d2, d3], ${spec} }
${more}`;

/** What the command says, and whether it ended as it must with that. */
async function doctor(cluster: TestCluster, ...args: string[]): Promise<Report> {
  const { exit, out } = await cluster.run(['doctor', 'cart', '--json', '--for', '3s', ...args]);
  if (exit !== 0 && exit !== 3) throw new Error(`doctor ended with ${exit}:\n${out}`);
  const report = JSON.parse(out) as Report;
  expect(exit).toBe(report.findings.length === 0 ? 0 : 3);
  for (const one of report.findings)
    for (const text of [one.what, one.why, one.mend]) expect(text.length).toBeGreaterThan(5);
  return report;
}

const rules = (report: Report): string[] => [...new Set(report.findings.map((one) => one.rule))].sort();

/** As Phalanx's own user. */
async function as<T>(cart: Cart, name: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const { cluster, reach } = await cart.session();
  const dial = dialer(await cart.service(), cluster, reach);
  return using(dial, (await cart.member(name))!, work, { answerMs: 20_000 });
}

/** The one master; a rolling restart hands over. */
const leader = async (cart: Cart): Promise<string> => (await cart.masters())[0]!;

/** Many commands a second on these keys, until stopped. */
async function hammer(cart: Cart, name: string, keys: string[]): Promise<{ stop(): Promise<void> }> {
  const { cluster, reach } = await cart.session();
  const redis = await dialer(
    await cart.service(),
    cluster,
    reach,
  )((await cart.member(name))!, {
    answerMs: 20_000,
  });
  let going = true;
  const work = (async () => {
    for (let i = 0; going; i++) {
      const commands = Array.from({ length: 1_000 }, (_, n) => ['get', keys[(i * 1_000 + n) % keys.length]!]);
      await redis.pipeline(commands).exec();
    }
  })();
  await until('thousands of commands a second', async () =>
    as(cart, name, async (own) => /instantaneous_ops_per_sec:\d{5}/.test(await own.info('stats'))),
  );
  return {
    async stop() {
      going = false;
      await work;
      redis.disconnect();
    },
  };
}

const fill = (cart: Cart, name: string, lua: string): Promise<unknown> =>
  as(cart, name, (redis) => redis.call('EVAL', lua, '0'));

describe.each([
  ['replication', 71],
  ['sentinel', 72],
  ['cluster', 73],
] as const)('a healthy service in mode %s', (mode, subnet) => {
  const cluster = new TestCluster(
    file(`rdadoctor${mode}`, subnet, `mode: ${mode}, promise: { lostWrites: 0 }`),
  );
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('has nothing found, with keys in it, and changes nothing', async () => {
    const client = await cart.client();
    for (let i = 0; i < 300; i++) await client.set(`item:${i}`, 'x'.repeat(100), 'EX', 3_600);
    client.disconnect();
    const report = await doctor(cluster);
    expect(report.findings).toEqual([]);
    const { limits, looked } = report.services['cart']!;
    const { members } = await cart.live();
    expect([...new Set(limits.map((one) => one.member))].sort()).toEqual(
      members.map((one) => one.name).sort(),
    );
    // Every key was looked at, and on a replica.
    const seen = looked.map((line) => /: ([\d,]+) of ([\d,]+) keys, as a replica$/.exec(line)!);
    expect(seen.map((one) => one[1])).toEqual(seen.map((one) => one[2]));
    expect(seen.reduce((sum, one) => sum + Number(one[2]), 0)).toBe(300);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });
});

describe('what a doctor finds in a cluster', () => {
  const cluster = new TestCluster(file('rdadoctor', 74, 'mode: cluster'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('masters that share a host, and the command that mends it', async () => {
    // cart.2@dN is the replica of a master on another host: where it leads, that host has two masters.
    const { members } = await cart.live();
    const replica = members.find((one) => one.role === 'replica')!;
    await cluster.must('switchover', 'cart', '--to', replica.name);
    const report = await doctor(cluster);
    expect(rules(report)).toEqual(['masters-share-host']);
    const { mend, where } = report.findings[0]!;
    expect(where).toBe(replica.host);
    expect(mend).toMatch(/^phalanx switchover cart --to cart/);
    await cluster.must(...mend.replace('phalanx ', '').split(' '));
    expect(rules(await doctor(cluster))).toEqual([]);
  });

  it('a replica that stands with its master', async () => {
    // The replicas of two masters change places, so that one of them stands beside its master.
    const { members } = await cart.live();
    const idOf = (name: string) =>
      members.find((one) => one.name === name)!.nodes!.find((node) => node.flags.has('myself'))!.id;
    const replicas = members.filter((one) => one.role === 'replica');
    const masterOn = (host: string) =>
      members.find((one) => one.role === 'master' && one.host === host)!.name;
    for (const one of replicas)
      await as(cart, one.name, (redis) => redis.call('CLUSTER', 'REPLICATE', idOf(masterOn(one.host))));
    await until('their links are up', async () =>
      (await cart.live()).members.every((one) => one.role === 'master' || one.linkUp),
    );
    const report = await doctor(cluster);
    expect(rules(report)).toEqual(['replica-shares-host']);
    expect(report.findings.map((one) => one.risk)).toEqual(['data', 'data', 'data']);
  });
});

describe('what a doctor finds in keys and commands', () => {
  const cluster = new TestCluster(file('rdadoctorkeys', 75, 'mode: sentinel, allow: [keys]'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('big keys, looked for on a replica', async () => {
    const master = await leader(cart);
    await fill(
      cart,
      master,
      "for i = 1, 150000 do redis.call('rpush', 'work', i) end redis.call('setrange', 'blob', 9000000, 'x')",
    );
    await fill(cart, master, "for i = 1, 400 do redis.call('set', 'item:' .. i, i) end");
    await until('the replicas have them', async () =>
      (await cart.live()).members.every((one) => one.keys === 402),
    );
    const report = await doctor(cluster);
    const big = report.findings.filter((one) => one.rule === 'big-key');
    expect(big.map((one) => one.what).sort()).toEqual([
      expect.stringMatching(/^the list work takes .* in 150,000 elements$/),
      expect.stringMatching(/^the string blob takes (8|9|1\d)\.\d MB$/),
    ]);
    expect(big.every((one) => one.where !== master)).toBe(true);
    await fill(cart, master, "redis.call('unlink', 'work', 'blob')");
  });

  it('a hot key, and none where the load is spread', async () => {
    const master = await leader(cart);
    await fill(cart, master, "for i = 1, 400 do redis.call('set', 'item:' .. i, i) end");
    // A key that was just written is in use.
    await until('nobody uses them', () =>
      as(cart, master, async (redis) => Number(await redis.object('IDLETIME', 'item:1')) >= 3),
    );
    const hot = await hammer(cart, master, ['item:7']);
    const found = (await doctor(cluster)).findings.filter((one) => one.rule === 'hot-key');
    await hot.stop();
    expect(found).toEqual([
      expect.objectContaining({ where: master, what: expect.stringMatching(/item:7\b/) }),
    ]);
    const spread = await hammer(
      cart,
      master,
      Array.from({ length: 400 }, (_, i) => `item:${i + 1}`),
    );
    const none = (await doctor(cluster)).findings.filter((one) => one.rule === 'hot-key');
    await spread.stop();
    expect(none).toEqual([]);
  });

  it('slow commands, with what to use instead', async () => {
    const master = await leader(cart);
    // In pieces: sentinels take a master that is busy for longer than a second for dead.
    for (let i = 0; i < 40; i++)
      await fill(cart, master, `for i = 1, 10000 do redis.call('set', 'many:${i}:' .. i, i) end`);
    const client = await cart.client();
    for (let i = 0; i < 3; i++) expect((await client.keys('many:*:7')).length).toBe(40);
    client.disconnect();
    const report = await doctor(cluster);
    const slow = report.findings.filter((one) => one.rule === 'slow-command');
    expect(slow).toContainEqual(
      expect.objectContaining({
        where: master,
        what: expect.stringMatching(/^KEYS took up to/),
        mend: expect.stringMatching(/SCAN/),
      }),
    );
  });
});

describe('what a doctor finds in limits and on hosts', () => {
  const spec = (more: string): string => file('rdadoctorlimits', 76, `mode: sentinel${more}`);
  const cluster = new TestCluster(spec(''));
  const cart = new Cart(cluster);
  const be = async (more: string): Promise<void> => {
    cluster.write(spec(more));
    await cluster.must('up');
    await cart.session(true);
  };
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('clients near maxclients, with the line of the file', async () => {
    await be(', maxclients: 60');
    const master = await leader(cart);
    const clients = await Promise.all(Array.from({ length: 50 }, () => cart.client()));
    try {
      await Promise.all(clients.map((client) => client.ping()));
      const report = await doctor(cluster);
      const [found] = report.findings.filter((one) => one.rule === 'clients-near-limit');
      expect(found).toMatchObject({ where: master, mend: expect.stringMatching(/maxclients: 120/) });
      expect(found!.at).toMatch(/cluster\.yaml:6$/);
    } finally {
      for (const client of clients) client.disconnect();
    }
  });

  it('a queue that eviction may throw away', async () => {
    await be(', maxmemory: 64mb, eviction: allkeys-lru');
    expect(rules(await doctor(cluster))).toEqual([]);
    const client = await cart.client();
    await client.rpush('jobs', 'a', 'b', 'c');
    await client.blpop('jobs', 1);
    client.disconnect();
    const report = await doctor(cluster);
    expect(report.findings).toEqual([
      expect.objectContaining({
        rule: 'eviction-of-a-queue',
        risk: 'data',
        what: expect.stringMatching(/BLPOP 1 times/),
      }),
    ]);
  });

  it('a promise that eviction breaks', async () => {
    await be(', maxmemory: 64mb, eviction: allkeys-lru, promise: { lostWrites: 0 }');
    const client = await cart.client();
    await client.del('jobs');
    client.disconnect();
    expect(rules(await doctor(cluster))).toEqual(['eviction-breaks-promise']);
  });

  it('writes that were refused for want of memory', async () => {
    await be(', maxmemory: 8mb, eviction: noeviction');
    const master = await leader(cart);
    const client = await cart.client();
    const write = async (): Promise<boolean> => {
      for (let i = 0; i < 20; i++) await client.set(`full:${Math.random()}`, 'x'.repeat(200_000));
      return false;
    };
    const refused = await write().catch((error: Error) => /OOM/.test(error.message));
    expect(refused).toBe(true);
    const report = await doctor(cluster);
    expect(report.findings[0]).toMatchObject({
      rule: 'writes-refused-memory',
      where: master,
      mend: expect.stringMatching(/maxmemory: 16mb/),
    });
    client.disconnect();
  });

  it('one copy in memory, when the replicas are gone', async () => {
    await be(', persistence: none');
    await as(cart, await leader(cart), (redis) => redis.config('RESETSTAT'));
    expect(rules(await doctor(cluster))).toEqual([]);
    // The replica's host cannot reach the master any more.
    await be(', persistence: none, replicas: 1, minReplicas: 0');
    const { members } = await cart.live();
    const master = members.find((one) => one.role === 'master')!;
    const replica = members.find((one) => one.role === 'replica')!;
    await cart.on(replica.host, `ip route add blackhole ${master.address}/32`);
    await as(cart, master.name, (redis) => redis.call('CLIENT', 'KILL', 'TYPE', 'REPLICA'));
    try {
      const found = await until(
        'the master has lost its replica',
        async () => {
          const report = await doctor(cluster);
          return rules(report).includes('one-copy-in-memory') && report;
        },
        60_000,
      );
      expect(rules(found)).toContain('replica-cut-off');
    } finally {
      await cart.on(replica.host, `ip route del blackhole ${master.address}/32`);
    }
  });

  it('the settings of a host, as that host sees them', async () => {
    // A lab host has mounts of its own: what is laid over its /proc and /sys is seen there only.
    const { cluster: values } = await cart.session();
    const fake = `${values.hosts['d2']!.root}/fake`;
    await cart.on(
      'd2',
      `mkdir -p ${fake}; echo 2 >${fake}/overcommit; sed 's/^CommitLimit:.*/CommitLimit: 4096 kB/' /proc/meminfo >${fake}/meminfo
mount --bind ${fake}/overcommit /proc/sys/vm/overcommit_memory; mount --bind ${fake}/meminfo /proc/meminfo`,
    );
    try {
      const report = await doctor(cluster);
      expect(report.findings.filter((one) => one.rule === 'overcommit')).toEqual([
        expect.objectContaining({
          where: 'd2',
          mend: expect.stringMatching(/sysctl -w vm.overcommit_memory=1/),
        }),
      ]);
    } finally {
      await cart.on('d2', 'umount /proc/sys/vm/overcommit_memory /proc/meminfo');
    }
    expect(rules(await doctor(cluster))).not.toContain('overcommit');
  });
});

describe('the command', () => {
  const cluster = new TestCluster(
    file('rdadoctorcli', 77, 'mode: sentinel', '  web: { type: zookeeper, hosts: [d1] }\n'),
  );
  afterAll(() => cluster.remove());

  it('ends with 1 where nothing can be looked at, and says what can', async () => {
    const none = await cluster.run(['doctor', 'cart']);
    expect([none.exit, none.out]).toEqual([1, expect.stringMatching(/no member of cart answers/)]);
    const unknown = await cluster.run(['doctor', 'basket']);
    expect([unknown.exit, unknown.out]).toEqual([1, expect.stringMatching(/no service "basket"[\s\S]*cart/)]);
    const other = await cluster.run(['doctor', 'web']);
    expect([other.exit, other.out]).toEqual([
      1,
      expect.stringMatching(/no doctor for a service of type zookeeper/),
    ]);
    const time = await cluster.run(['doctor', 'cart', '--for', 'long']);
    expect([time.exit, time.out]).toEqual([1, expect.stringMatching(/--for long: a duration/)]);
  });
});
