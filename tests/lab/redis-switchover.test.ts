import { setTimeout as wait } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dialer, using } from '../../src/engines/redis/client.ts';
import { adminUser } from '../../src/engines/redis/users.ts';
import { TestCluster, until } from './cluster.ts';
import { Cart, lost, type Written, writers } from './redis-clients.ts';

const file = (name: string, subnet: number, spec: string): string => `
cluster: ${name}
network: 10.161.${subnet}.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  web: { type: app, hosts: [d1], command: node -e "require('net').createServer().listen(8080)", port: 8080 }
  cart: { type: redis, hosts: [d1, d2, d3], timing: fast, ${spec} }
`;

interface Done {
  from: string;
  to: string;
  ms: number;
}

const parsed = (out: string): Done => JSON.parse(out.slice(out.indexOf('{'))) as Done;

/** Every replica answers and has its link: only then may one of them take over. */
const inSync = (cart: Cart): Promise<unknown> =>
  until(
    'every replica is in sync',
    async () => {
      const { members } = await cart.live();
      return (
        members.every((one) => one.up && (one.role === 'master' || one.linkUp)) &&
        members.some((one) => one.role === 'replica')
      );
    },
    60_000,
  );

/** Cuts the links of a master's replicas, which connect again where they can. */
async function unlink(cart: Cart, master: string): Promise<void> {
  const { cluster, reach } = await cart.session();
  const dial = dialer(await cart.service(), cluster, reach);
  await using(dial, (await cart.member(master))!, (redis) => redis.call('CLIENT', 'KILL', 'TYPE', 'REPLICA'));
}

/** In mode replication nobody tells clients who leads: this one tries the next member when it is refused. Nothing is repeated. */
async function seekers(cart: Cart, count = 2): Promise<{ stop(): Promise<Written> }> {
  const given = await cart.address();
  const result: Written = { acknowledged: [], errors: [], longestGapMs: 0 };
  const run = Math.random().toString(36).slice(2, 8);
  let going = true;
  const all = given['HOSTS']!.split(',').map((place) => {
    const [host = '', port] = place.split(':');
    const client = new Redis({
      host,
      port: Number(port),
      password: given['PASSWORD']!,
      commandTimeout: 5_000,
      maxRetriesPerRequest: 0,
    });
    client.on('error', () => {});
    return client;
  });
  const work = Array.from({ length: count }, async (_, who) => {
    for (let i = 0, at = 0; going; i++) {
      const key = `s:${run}:${who}:${i}`;
      try {
        await all[at % all.length]!.set(key, key);
        result.acknowledged.push(key);
      } catch (error) {
        at++;
        result.errors.push((error as Error).message);
      }
      await wait(1);
    }
  });
  return {
    async stop() {
      going = false;
      await Promise.all(work);
      for (const client of all) client.disconnect();
      return result;
    },
  };
}

describe.each([
  ['replication', 61],
  ['sentinel', 62],
  ['cluster', 63],
] as const)('mode %s', (mode, subnet) => {
  const cluster = new TestCluster(file(`rdaswitch${mode}`, subnet, `mode: ${mode}`));
  const cart = new Cart(cluster);
  const load = () => (mode === 'replication' ? seekers(cart) : writers(cart, 3));
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  /** A replica that could lead, and the master that it would lead instead of. */
  const pair = async (): Promise<{ heir: string; master: string }> => {
    const { members } = await cart.live();
    const heir = members.find((one) => one.role === 'replica')!;
    const master = members.find(
      (one) => one.address === heir.upstream!.address && one.port === heir.upstream!.port,
    )!;
    return { heir: heir.name, master: master.name };
  };

  it('hands over to the member that is named while clients write, three times: nothing acknowledged is lost', async () => {
    const load1 = await load();
    for (let round = 0; round < 3; round++) {
      await inSync(cart);
      const { heir, master } = await pair();
      const done = parsed(await cluster.must('switchover', 'cart', '--to', heir, '--json'));
      expect(done).toMatchObject({ from: master, to: heir });
      expect(await cart.masters()).toContain(heir);
      expect(await cart.masters()).not.toContain(master);
    }
    const written = await load1.stop();
    expect(written.acknowledged.length).toBeGreaterThan(100);
    // Refused in words is what is promised where a client has not heard of the new master yet: always in mode replication, now and
    // then with Sentinel, never in a cluster, which redirects. Silence is not.
    expect(written.errors.filter((error) => mode === 'cluster' || !/READONLY/.test(error))).toEqual([]);
    expect(await lost(cart, written)).toEqual([]);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('killed in the middle: no write is lost, and up makes of it whatever it was', async () => {
    for (const killAfterMs of [450, 600, 750, 900]) {
      await inSync(cart);
      const { heir } = await pair();
      const load1 = await load();
      await cluster.run(['switchover', 'cart', '--to', heir], { killAfterMs });
      await cluster.must('up');
      await cart.asTheFileSays();
      const written = await load1.stop();
      expect(await lost(cart, written)).toEqual([]);
      expect((await cart.masters()).length).toBe(mode === 'cluster' ? 3 : 1);
    }
  });

  it('refuses what it cannot do, changes nothing, and says what there is', async () => {
    const before = await cart.masters();
    const nobody = await cluster.run(['switchover', 'cart', '--to', 'cart@d9']);
    expect([nobody.exit, nobody.out]).toEqual([
      1,
      expect.stringMatching(/cart@d9 is no member of cart: cart@d1/),
    ]);
    const app = await cluster.run(['switchover', 'web']);
    expect([app.exit, app.out]).toEqual([
      1,
      expect.stringMatching(/type app cannot be switched over[\s\S]*cart/),
    ]);
    if (mode === 'cluster')
      expect(await cluster.run(['switchover', 'cart'])).toMatchObject({
        exit: 1,
        out: expect.stringMatching(/3 masters: say which replica is to lead with --to/),
      });
    const [leader] = before;
    const same = parsed(await cluster.must('switchover', 'cart', '--to', leader!, '--json'));
    expect(same).toEqual(expect.objectContaining({ from: leader, to: leader, ms: 0 }));
    expect(await cart.masters()).toEqual(before);
  });

  it('does not hand over to a replica that has lost touch', async () => {
    await inSync(cart);
    const { heir, master } = await pair();
    const before = await cart.masters();
    // Its master's address is out of its reach: it answers, and its link is down.
    const seen = (await cart.member(heir))!;
    await cart.on(seen.host, `ip route add blackhole ${seen.upstream!.address}/32`);
    await unlink(cart, master);
    try {
      await until(
        'its link is down',
        async () => {
          const now = await cart.member(heir);
          return now?.up && now.linkUp === false;
        },
        30_000,
      );
      if (mode === 'replication') {
        // What it misses meanwhile makes its master nobody whose writes would have to be given up.
        const { cluster: known, reach } = await cart.session();
        const at = (await cart.member(master))!;
        await using(dialer(await cart.service(), known, reach), at, (redis) => redis.set('missed', '1'));
      }
      const held = await cluster.run(['switchover', 'cart', '--to', heir]);
      expect([held.exit, held.out]).toEqual([1, expect.stringMatching(/its link to .* is down/)]);
      expect(await cart.masters()).toEqual(before);
    } finally {
      await cart.on(seen.host, `ip route del blackhole ${seen.upstream!.address}/32`);
    }
  });

  it('hands over to its end where the file has a user that the servers have not been told of', async () => {
    cluster.write(file(`rdaswitch${mode}`, subnet, `mode: ${mode}, users: { reports: {} }`));
    await cart.session(true);
    await inSync(cart);
    const { heir, master } = await pair();
    const done = parsed(await cluster.must('switchover', 'cart', '--to', heir, '--json'));
    expect(done).toMatchObject({ from: master, to: heir });
    await cluster.must('up');
    await cart.asTheFileSays();
  });
});

describe('a chain', () => {
  const cluster = new TestCluster(file('rdaswitchchain', 64, 'mode: replication, depth: 2'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('hands over to its end, and is a chain of the same length again', async () => {
    const load1 = await seekers(cart);
    const done = parsed(await cluster.must('switchover', 'cart', '--to', 'cart@d3', '--json'));
    expect(done).toMatchObject({ from: 'cart@d1', to: 'cart@d3' });
    await inSync(cart);
    expect(await lost(cart, await load1.stop())).toEqual([]);
    const { members } = await cart.live();
    const up = (name: string) => members.find((one) => one.name === name)!.upstream?.address;
    const address = (name: string) => members.find((one) => one.name === name)!.address;
    expect([up('cart@d3'), up('cart@d2'), up('cart@d1')]).toEqual([
      undefined,
      address('cart@d3'),
      address('cart@d2'),
    ]);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('two masters, each with writes of its own: up names the way out, and only that way gives writes up', async () => {
    const { members } = await cart.live();
    const master = members.find((one) => one.role === 'master')!;
    const heir = members.find((one) => one.role === 'replica' && !one.followers?.length)!;
    const { cluster: known, reach } = await cart.session();
    const dial = dialer(await cart.service(), known, reach);
    await using(dial, heir, async (redis) => {
      await redis.call('REPLICAOF', 'NO', 'ONE');
      // As where the file says minReplicas: 0; else a second master takes no write to begin with.
      await redis.config('SET', 'min-replicas-to-write', '0');
    });
    const has = (member: typeof heir) => using(dial, member, (redis) => redis.keys('only:*'));
    for (const one of [master, heir])
      await using(dial, one, (redis) => redis.set(`only:${one.name}`, 'written when both led'));
    const up = await cluster.run(['up']);
    expect(up.out).toMatch(
      /each hold writes that another lacks .*phalanx switchover cart --to MEMBER --allow-data-loss$/m,
    );
    const way = ['switchover', 'cart', '--to', heir.name];
    const held = await cluster.run(way);
    expect([held.exit, held.out]).toEqual([
      1,
      expect.stringMatching(`${master.name} holds writes that ${heir.name} lacks.*--allow-data-loss`),
    ]);
    expect([await has(master), await has(heir)]).toEqual([[`only:${master.name}`], [`only:${heir.name}`]]);
    const done = parsed(await cluster.must(...way, '--allow-data-loss', '--json'));
    expect(done).toMatchObject({ from: master.name, to: heir.name });
    expect(await cart.masters()).toEqual([heir.name]);
    await inSync(cart);
    expect([await has(master), await has(heir)]).toEqual([[`only:${heir.name}`], [`only:${heir.name}`]]);
    await cluster.must('up');
    await cart.asTheFileSays();
    expect(await cart.masters()).toEqual([heir.name]);
  });
});

describe('mode replication: a master that is gone as soon as it has handed over', () => {
  const cluster = new TestCluster(file('rdaswitchgone', 65, 'mode: replication'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('the new master, started again, leads: it does not wait for the old one to copy it', async () => {
    await inSync(cart);
    const old = (await cart.member('cart@d1'))!;
    const pid = old.info!['process_id'];
    const { cluster: known, reach } = await cart.session();
    const dial = dialer(await cart.service(), known, reach);
    await cart.on(
      'd1',
      `cd '${known.hosts['d1']!.root}/members/cart@d1'
( export REDISCLI_AUTH=$(cat admin.secret)
  until redis-cli --user ${adminUser} -h ${old.address} role | grep -q slave; do :; done
  kill -STOP ${pid} ) >/dev/null 2>&1 &`,
    );
    try {
      await cluster.run(['switchover', 'cart', '--to', 'cart@d2']);
      const heir = (await cart.member('cart@d2'))!;
      await until('the third follows it', async () => {
        const third = await cart.member('cart@d3');
        return third?.linkUp && third.upstream!.address === heir.address;
      });
      await using(dial, heir, (redis) => redis.set('late', '1'));
      const before = heir.info!['process_id'];
      await cart.kill('cart@d2', 'KILL');
      const again = await until('it is back', async () => {
        const now = await cart.member('cart@d2');
        return now?.up && now.info!['process_id'] !== before && now;
      });
      expect(again).toMatchObject({ role: 'master', keys: 1 });
    } finally {
      await cart.on('d1', `kill -CONT ${pid}`);
    }
    await cluster.must('up');
    await inSync(cart);
    expect(await cart.masters()).toEqual(['cart@d2']);
    expect((await cart.live()).members.map((one) => one.keys)).toEqual([1, 1, 1]);
  });
});

describe('mode cluster: with half of the masters away nobody is elected', () => {
  const cluster = new TestCluster(file('rdaswitchforce', 66, 'mode: cluster, replicas: 2'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('--force takes the replica that has everything, and no other without a word', async () => {
    await inSync(cart);
    const { members } = await cart.live();
    const masters = members.filter((one) => one.role === 'master');
    const [old, second] = masters;
    const own = members.filter(
      (one) => one.upstream?.address === old!.address && one.upstream.port === old!.port,
    );
    const [behind, ahead] = own;
    await cart.on(behind!.host, `ip route add blackhole ${old!.address}/32`);
    await unlink(cart, old!.name);
    await until('one replica has lost touch, the other has not', async () => {
      const now = await cart.live();
      const linked = (name: string) => now.members.find((one) => one.name === name)?.linkUp;
      return linked(behind!.name) === false && linked(ahead!.name) === true;
    });
    const client = await cart.client();
    const keys = Array.from({ length: 60 }, (_, n) => `late:${n}`);
    for (const key of keys) await client.set(key, '1');
    client.disconnect();
    for (const one of [old!, second!]) await cart.on(one.host, `kill -STOP ${one.info!['process_id']}`);
    await cart.on(behind!.host, `ip route del blackhole ${old!.address}/32`);
    try {
      const held = await cluster.run(['switchover', 'cart', '--to', behind!.name, '--force']);
      expect([held.exit, held.out]).toEqual([
        1,
        expect.stringContaining(`${ahead!.name} holds writes that ${behind!.name} lacks`),
      ]);
      await cluster.must('switchover', 'cart', '--to', ahead!.name, '--force');
    } finally {
      for (const one of [old!, second!]) await cart.on(one.host, `kill -CONT ${one.info!['process_id']}`);
    }
    await cluster.must('up');
    await cart.asTheFileSays(60_000);
    const again = await cart.client();
    for (const key of keys) expect(await again.get(key)).toBe('1');
    again.disconnect();
  });
});
