import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { Cart, lost, writers } from './redis-clients.ts';

const file = (mode: string): string => `
cluster: rdroles${mode}
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, mode: ${mode}, hosts: [d1, d2, d3], timing: fast }
`;

describe.each(['sentinel', 'cluster'])('mode %s', (mode) => {
  const cluster = new TestCluster(file(mode));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('is ready when up says so: a stock client writes and reads back', async () => {
    const client = await cart.client();
    for (let i = 0; i < 50; i++) await client.set(`first:${i}`, i);
    for (let i = 0; i < 50; i++) expect(await client.get(`first:${i}`)).toBe(String(i));
    client.disconnect();
    expect((await cluster.run(['plan'])).out).toContain('nothing to do');
  });

  it('fails over, and up again moves nothing: not while the old master is down, not when it is back, not after a second failover', async () => {
    const load = await writers(cart);
    const before = await cart.masters();
    const killed = before[0]!;
    await cart.kill(killed, 'KILL');
    const first = await until('another master', async () => {
      const now = await cart.masters();
      return now.length === before.length && !now.includes(killed) && now;
    });
    await cluster.must('up');
    expect((await cart.masters()).sort()).toEqual(first.sort());
    await until('the old master follows', async () => {
      const old = await cart.member(killed);
      return old?.role === 'replica' && old.linkUp;
    });
    await cart.asTheFileSays();
    await cluster.must('up');
    expect((await cart.masters()).sort()).toEqual(first.sort());

    const second = first.find((name) => !before.includes(name))!;
    await cart.kill(second, 'KILL');
    const third = await until('a third master', async () => {
      const now = await cart.masters();
      return now.length === before.length && !now.includes(second) && now;
    });
    await cluster.must('up');
    expect((await cart.masters()).sort()).toEqual(third.sort());
    await cart.asTheFileSays();
    const written = await load.stop();
    expect(written.acknowledged.length).toBeGreaterThan(100);
    expect(await lost(cart, written)).toEqual([]);
  });

  it('moves nothing with a replica down or a sentinel down', async () => {
    const before = await cart.masters();
    const replica = (await cart.live()).members.find((one) => one.role === 'replica')!;
    await cart.kill(replica.name, 'KILL');
    await cluster.must('up');
    expect(await cart.masters()).toEqual(before);
    if (mode === 'sentinel') {
      const { sentinels } = await cart.live();
      const id = sentinels[0]!.name;
      await cart.kill(id, 'KILL');
      await cluster.must('up');
      expect((await cart.live()).sentinels.find((one) => one.name === id)?.master).toBeDefined();
    }
    expect(await cart.masters()).toEqual(before);
    await cart.asTheFileSays();
  });

  it('comes back from down with the same masters and all its keys', async () => {
    const before = await cart.masters();
    await cluster.must('down');
    await cluster.must('up');
    expect((await cart.masters()).length).toBe(before.length);
    const client = await cart.client();
    for (let i = 0; i < 50; i++) expect(await client.get(`first:${i}`)).toBe(String(i));
    client.disconnect();
    await cart.asTheFileSays();
  });
});
