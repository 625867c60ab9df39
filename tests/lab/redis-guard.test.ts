import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dialer, using } from '../../src/engines/redis/client.ts';
import { mendNetwork, partition, powerOff } from '../../src/hosts/lab/faults.ts';
import { hostNamespace } from '../../src/hosts/lab/names.ts';
import { TestCluster, until } from './cluster.ts';
import { Cart } from './redis-clients.ts';

const cluster = new TestCluster(`
cluster: rdguard
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, mode: sentinel, hosts: [d1, d2, d3], timing: fast }
`);
const cart = new Cart(cluster);

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

/** Asks one member by itself. */
async function at<T>(name: string, ask: Parameters<typeof using<T>>[2]): Promise<T> {
  const { cluster: desired, reach } = await cart.session();
  return using(dialer(await cart.service(), desired, reach), (await cart.member(name))!, ask);
}
const rowOf = async (name: string) =>
  (await cluster.status()).rows.find((row) => row.service === 'cart' && row.name === name)!;

describe('a master that was cut off, with writes that nobody else has', () => {
  let old: string;
  let next: string;
  const hostOf = (name: string): string => name.split('@')[1]!;

  it('is replaced, and status does not call it well for as long as it does not know', async () => {
    const { cluster: desired } = await cart.session();
    [old] = (await cart.masters()) as [string];
    const others = Object.keys(desired.hosts).filter((host) => host !== hostOf(old));
    await partition(desired, [[hostOf(old)], others]);
    // Its offset is now above what the others will have written.
    for (let n = 0; n < 40; n++)
      await at(old, (redis) => redis.set(`apart:${n}`, 'x'.repeat(50_000))).catch(() => {});
    next = await until('another is master', async () => (await cart.masters()).find((name) => name !== old));
    await until('it takes writes, with a replica in touch', () =>
      at(next, (redis) => redis.set('kept:0', 0)),
    );
    for (let n = 1; n < 100; n++) await at(next, (redis) => redis.set(`kept:${n}`, n));
    expect(await at(next, (redis) => redis.wait(1, 5_000))).toBe(1);
    const { health, why } = await rowOf(old);
    expect(health).not.toBe('ok');
    expect(why).toContain(`have made ${next} one in its place`);
  });

  it('is not promoted when the new master is lost before it has copied: no acknowledged write goes with it', async () => {
    const { cluster: desired } = await cart.session();
    const block = `table inet phalanx_test { chain input { type filter hook input priority 0; ip saddr ${(await cart.member(old))!.address} tcp dport 6379 drop; }; }`;
    execFileSync('ip', ['netns', 'exec', hostNamespace(desired.name, hostOf(next)), 'nft', block]);
    await mendNetwork(desired);
    await until(
      'the old master is told to follow, and cannot',
      async () => {
        const member = await cart.member(old);
        return member?.role === 'replica' && !member.linkUp;
      },
      60_000,
    );
    expect((await cart.member(old))!.offset!).toBeGreaterThan((await cart.member(next))!.offset!);
    await powerOff(desired, hostOf(next));
    const third = await until('a third master', async () =>
      (await cart.masters()).find((name) => name !== next),
    );
    expect(third).not.toBe(old);
    const kept = await at(third, (redis) => redis.mget(Array.from({ length: 100 }, (_, n) => `kept:${n}`)));
    expect(kept.filter((value) => value === null)).toEqual([]);
  });

  it('may be promoted again once it has copied', async () => {
    await cluster.must('up');
    await until('it follows', async () => (await rowOf(old)).health === 'ok');
    expect((await cart.member(old))!.config!['replica-priority']).toBe('100');
    expect((await cluster.status()).health).toBe('healthy');
    await cart.asTheFileSays();
  });
});
