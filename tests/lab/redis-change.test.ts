import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { switchover } from '../../src/engines/redis/switchover.ts';
import { TestCluster, until } from './cluster.ts';
import { Cart, lost, writers } from './redis-clients.ts';

const file = (name: string, spec: string): string => `
cluster: ${name}
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, hosts: [d1, d2, d3], timing: fast, ${spec} }
`;

describe('a cluster while clients write', () => {
  const three = file('rdgrow', 'mode: cluster');
  const four = file('rdgrow', 'mode: cluster, shards: 4');
  const cluster = new TestCluster(three);
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  const slots = async (): Promise<number[]> => {
    const { members } = await cart.live();
    // The masters that own most come first: a new one is the last.
    return members
      .filter((one) => one.role === 'master')
      .map((one) =>
        one
          .nodes!.find((node) => node.flags.has('myself'))!
          .slots.reduce((sum, [from, to]) => sum + to - from + 1, 0),
      )
      .sort((a, b) => b - a);
  };

  it('grows by a shard: no error, nothing lost, slots shared within 2%; killed half-way, the next up finishes', async () => {
    const load = await writers(cart);
    cluster.write(four);
    await cart.session(true);
    const up = spawn(resolve(import.meta.dirname, '../../phalanx'), ['up', '-f', cluster.file], {
      stdio: 'ignore',
    });
    const ended = once(up, 'close');
    await until('the new master owns some of its slots', async () => ((await slots())[3] ?? 0) > 0, 60_000);
    up.kill('SIGKILL');
    await ended;
    const partly = await slots();
    expect(Math.min(...partly)).toBeLessThan(4000);
    expect((await cluster.run(['plan'])).out).toMatch(/move slots|finish/);
    await cluster.must('up');
    const written = await load.stop();
    expect(written.errors).toEqual([]);
    await cart.session(true);
    expect(await lost(cart, written)).toEqual([]);
    const counts = await slots();
    expect(counts.length).toBe(4);
    for (const count of counts) expect(Math.abs(count - 4096)).toBeLessThanOrEqual(82);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('shrinks again: no error, nothing lost, the members that left are gone', async () => {
    const load = await writers(cart);
    cluster.write(three);
    await cluster.must('up');
    const written = await load.stop();
    expect(written.errors).toEqual([]);
    await cart.session(true);
    expect(await lost(cart, written)).toEqual([]);
    expect((await slots()).length).toBe(3);
    const { rows } = await cluster.status();
    expect(rows.map((row) => row.name).sort()).toEqual([
      'cart.2@d1',
      'cart.2@d2',
      'cart.2@d3',
      'cart@d1',
      'cart@d2',
      'cart@d3',
    ]);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });
});

describe.each(['replication', 'sentinel', 'cluster'])('mode %s', (mode) => {
  const plain = file(`rdchange${mode}`, `mode: ${mode}`);
  const cluster = new TestCluster(plain);
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('takes a setting live: no process is started again, and the file says it as well', async () => {
    const pids = async () => (await cart.live()).members.map((one) => one.info!['process_id']);
    const before = await pids();
    cluster.write(plain.replace('timing: fast', 'timing: fast, maxmemory: 64mb, eviction: allkeys-lru'));
    expect((await cluster.run(['plan'])).out).toMatch(/maxmemory 0 -> 67108864/);
    await cluster.must('up');
    expect(await pids()).toEqual(before);
    const { members } = await cart.live();
    expect(members.map((one) => one.config!['maxmemory-policy'])).toEqual(members.map(() => 'allkeys-lru'));
    const { root } = (await cart.session(true)).cluster.hosts['d1']!;
    expect(readFileSync(`${root}/members/cart@d1/live.conf`, 'utf8')).toContain('maxmemory 67108864');
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('takes a line of config live, and takes it back when the file says it no longer', async () => {
    const values = async () =>
      (await cart.live()).members.map(({ config }) => [
        config!['appendfsync'],
        config!['notify-keyspace-events'],
      ]);
    const said = 'config: { appendfsync: "no", notify-keyspace-events: KEA }';
    cluster.write(plain.replace('timing: fast', `timing: fast, ${said}`));
    await cluster.must('up');
    for (const now of await values()) expect(now).toEqual(['no', 'AKE']);
    expect((await cluster.run(['plan'])).exit).toBe(0);
    cluster.write(plain);
    expect((await cluster.run(['plan'])).out).toMatch(/appendfsync no -> everysec/);
    await cluster.must('up');
    await cart.session(true);
    for (const now of await values()) expect(now).toEqual(['everysec', '']);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('hands over as planned and loses nothing', async () => {
    const { cluster: values, reach } = await cart.session();
    const [from] = await cart.masters();
    const load = mode === 'replication' ? undefined : await writers(cart, 2);
    const done = await switchover(await cart.service(), values, reach, { from: from! });
    expect(done.from).toBe(from);
    expect(await cart.masters()).toContain(done.to);
    expect(await cart.masters()).not.toContain(from);
    if (load) expect(await lost(cart, await load.stop())).toEqual([]);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('restarts one after the other for a setting that needs it; the keys stay', async () => {
    const client = await cart.client();
    for (let i = 0; i < 50; i++) await client.set(`kept:${i}`, i);
    client.disconnect();
    cluster.write(plain.replace('timing: fast', 'timing: fast, config: { tcp-backlog: 300 }'));
    await cluster.must('up');
    await cart.session(true);
    const { members } = await cart.live();
    expect(members.map((one) => one.config!['tcp-backlog'])).toEqual(members.map(() => '300'));
    const again = await cart.client();
    for (let i = 0; i < 50; i++) expect(await again.get(`kept:${i}`)).toBe(String(i));
    again.disconnect();
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });
});

describe('mode replication', () => {
  const cluster = new TestCluster(file('rdchain', 'mode: replication, depth: 2'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('makes a chain: master, replica, replica of the replica; what is written at its head arrives at its end', async () => {
    const { members } = await cart.live();
    const upstreams = members.map((one) => one.upstream?.address);
    expect(upstreams).toEqual([undefined, members[0]!.address, members[1]!.address]);
    const client = await cart.client();
    await client.set('far', 'away');
    client.disconnect();
    await expect.poll(async () => (await cart.member('cart@d3'))!.keys).toBe(1);
  });

  it('a killed master comes back as master, a killed replica as replica, and up has nothing to move', async () => {
    for (const name of ['cart@d1', 'cart@d2']) {
      const before = (await cart.member(name))!.info!['process_id'];
      await cart.kill(name, 'KILL');
      await expect
        .poll(async () => (await cart.member(name))!.info?.['process_id'] ?? before, { timeout: 15_000 })
        .not.toBe(before);
      await cart.asTheFileSays();
      expect(await cart.masters()).toEqual(['cart@d1']);
      expect((await cart.member('cart@d3'))!.keys).toBe(1);
    }
  });
});
