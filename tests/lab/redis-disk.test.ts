import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { Cart } from './redis-clients.ts';

const file = (name: string, subnet: number, spec: string): string => `
cluster: ${name}
network: 10.166.${subnet}.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, timing: fast, ${spec} }
`;

/** Sh in the member's folder; `$scan` is its supervisor's. */
async function inFolder(cart: Cart, member: string, script: string): Promise<string> {
  const host = member.slice(member.indexOf('@') + 1);
  const { root } = (await cart.session()).cluster.hosts[host]!;
  return cart.on(host, `cd '${root}/members/${member}' && scan='${root}/scan/${member}'\n${script}`);
}

const killed = 's6-svc -wD -T 10000 -O -k "$scan"';
const exchanged = `${killed}\nrm -rf data`;
const started = 's6-svc -u "$scan"';

async function write(cart: Cart, count: number): Promise<void> {
  const client = await cart.client();
  for (let n = 0; n < count; n++) await client.set(`key:${n}`, `value ${n}`);
  client.disconnect();
}

/** Every member answers and has so many keys. */
const allHave = (cart: Cart, keys: number): Promise<unknown> =>
  until(
    `every member has ${keys} keys`,
    async () => (await cart.live()).members.every((one) => one.up && one.keys === keys),
    60_000,
  );

describe.each([
  ['replication', 1],
  ['sentinel', 2],
] as const)('mode %s: a master whose disk is exchanged', (mode, subnet) => {
  const cluster = new TestCluster(file(`rddisk${mode}`, subnet, `mode: ${mode}, hosts: [d1, d2, d3]`));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('takes the data of its replicas, and gives them none of its emptiness', async () => {
    await write(cart, 50);
    await allHave(cart, 50);
    const [master] = await cart.masters();
    await inFolder(cart, master!, `${exchanged}\n${started}`);
    await cluster.must('up');
    await allHave(cart, 50);
    await cart.asTheFileSays();
  });
});

describe('mode replication: a master whose disk is exchanged while its replica is off as well', () => {
  const cluster = new TestCluster(file('rddiskfirst', 3, 'mode: replication, hosts: [d1, d2]'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('comes back first, and the replica does not copy it', async () => {
    await write(cart, 50);
    await allHave(cart, 50);
    // What tells them apart is counted in seconds.
    await wait(3_000);
    await inFolder(cart, 'cart@d2', killed);
    await inFolder(cart, 'cart@d1', `${exchanged}\n${started}`);
    await until('it is back, empty', async () => (await cart.member('cart@d1'))?.keys === 0);
    await inFolder(cart, 'cart@d2', started);
    await until('its replica leads', async () => (await cart.member('cart@d2'))?.role === 'master');
    await cluster.must('up');
    await allHave(cart, 50);
    expect(await cart.masters()).toEqual(['cart@d2']);
    await cart.asTheFileSays();
  });
});

describe('mode sentinel: a master whose disk is exchanged while all are off', () => {
  const cluster = new TestCluster(file('rddiskthree', 4, 'mode: sentinel, hosts: [d1, d2, d3]'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('comes back first, and is replaced by the sentinels instead of being copied', async () => {
    await write(cart, 50);
    await allHave(cart, 50);
    await wait(3_000);
    const [master] = await cart.masters();
    const replicas = (await cart.live()).members.filter((one) => one.name !== master);
    for (const one of (await cart.live()).sentinels) await inFolder(cart, one.name, killed);
    for (const one of replicas) await inFolder(cart, one.name, killed);
    await inFolder(cart, master!, `${exchanged}\n${started}`);
    await until('it is back, empty', async () => (await cart.member(master!))?.keys === 0);
    for (const one of (await cart.live()).sentinels) await inFolder(cart, one.name, started);
    for (const one of replicas) await inFolder(cart, one.name, started);
    await until(
      'another leads',
      async () => {
        const now = await cart.masters();
        return now.length === 1 && now[0] !== master;
      },
      60_000,
    );
    await cluster.must('up');
    await allHave(cart, 50);
    await cart.asTheFileSays();
  });
});

describe('mode replication: persistence changes', () => {
  const named = (persistence: string, more = ''): string =>
    file('rddiskkept', 5, `hosts: [d1], replicas: 0, persistence: ${persistence}${more}`);
  const cluster = new TestCluster(named('rdb'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  /** As the file says, all keys there, also after it was killed once its log was written. */
  const keeps = async (appendonly: string): Promise<void> => {
    await cart.session(true);
    await allHave(cart, 50);
    await cart.asTheFileSays();
    expect((await cart.member('cart@d1'))!.config).toMatchObject({ appendonly });
  };

  it('with a setting that takes a restart: the keys stay', async () => {
    await write(cart, 50);
    cluster.write(named('aof', ', config: { tcp-backlog: 300 }'));
    await cluster.must('up');
    await keeps('yes');
    await until('its log is written', async () => {
      const { info } = (await cart.member('cart@d1'))!;
      return info!['aof_rewrite_in_progress'] === '0' && info!['aof_rewrite_scheduled'] === '0';
    });
    await cart.kill('cart@d1', 'KILL');
    await keeps('yes');
  });

  it.each([
    ['rdb', 'no'],
    ['mixed', 'yes'],
    ['none', 'no'],
  ])('while it is stopped, to %s: the keys stay', async (persistence, appendonly) => {
    await cluster.must('down');
    cluster.write(named(persistence));
    await cluster.must('up');
    await keeps(appendonly);
  });

  it('with none, no log of former times is read', async () => {
    await inFolder(cart, 'cart@d1', 'rm -f data/dump.rdb');
    await cluster.must('down');
    await cluster.must('up');
    await allHave(cart, 0);
  });
});

describe('mode sentinel: what cannot change while members run', () => {
  const named = (more: string): string =>
    file('rddiskrefuse', 6, `mode: sentinel, hosts: [d1, d2, d3]${more}`);
  const cluster = new TestCluster(named(''));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it.each([
    [', tls: true', 'tls false, not true'],
    [', port: 7000', 'port 6379, not 7000'],
  ])('%s: up refuses, changes nothing, and says how', async (more, why) => {
    await cart.session(true);
    const pids = async () => (await cart.live()).members.map((one) => one.info!['process_id']);
    const before = await pids();
    cluster.write(named(more));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toContain(`runs with ${why}`);
    cluster.write(named(''));
    expect(await pids()).toEqual(before);
    await cart.asTheFileSays();
  });

  it('while all are stopped it changes, and the keys stay', async () => {
    await write(cart, 50);
    await cluster.must('down');
    cluster.write(named(', port: 7000'));
    await cluster.must('up');
    await cart.session(true);
    await allHave(cart, 50);
    await cart.asTheFileSays();
  });
});
