import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { Cart, lost, writers } from './redis-clients.ts';

const file = (name: string, hosts: string[], spec: string, used = hosts): string => `
cluster: ${name}
network: 10.162.13.0/24
hosts: { ${hosts.map((host) => `${host}: {}`).join(', ')} }
services:
  cart: { type: redis, hosts: [${used.join(', ')}], timing: fast, ${spec} }
`;

const five = ['d1', 'd2', 'd3', 'd4', 'd5'];

describe('mode sentinel: what the file no longer has leaves', () => {
  const cluster = new TestCluster(file('rdleave', five, 'mode: sentinel, replicas: 3'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  const shrink = async (spec: string): Promise<void> => {
    const load = await writers(cart, 2);
    cluster.write(file('rdleave', five, `mode: sentinel, ${spec}`));
    await cart.session(true);
    await cluster.must('up');
    const written = await load.stop();
    expect(written.errors).toEqual([]);
    expect(await lost(cart, written)).toEqual([]);
    expect((await cluster.run(['plan'])).out).toContain('nothing to do');
  };

  it('a replica: clients see nothing, and no sentinel counts it any more', async () => {
    await shrink('replicas: 2');
    const { members, sentinels } = await cart.live();
    expect(members.map((one) => one.name)).toEqual(['cart@d1', 'cart@d2', 'cart@d3']);
    expect(sentinels.map((one) => one.replicas!.length)).toEqual([2, 2, 2, 2, 2]);
  });

  it('two sentinels: the others know each other only, and the quorum is theirs', async () => {
    await shrink('replicas: 2, sentinels: 3');
    const { sentinels } = await cart.live();
    expect(sentinels.map((one) => one.sentinels!.length)).toEqual([2, 2, 2]);
    expect(sentinels.map((one) => one.master!.quorum)).toEqual([2, 2, 2]);
    const [master] = await cart.masters();
    await cart.kill(master!, 'KILL');
    await until('the three elect', async () => {
      const now = await cart.masters();
      return now.length === 1 && now[0] !== master;
    });
    await cart.asTheFileSays();
  });
});

describe('mode cluster: replicas that the file no longer has leave', () => {
  const three = five.slice(0, 3);
  const cluster = new TestCluster(file('rdleaves', three, 'mode: cluster, replicas: 2'));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('clients see nothing, the nodes are forgotten by all, every shard keeps one', async () => {
    const load = await writers(cart, 2);
    cluster.write(file('rdleaves', three, 'mode: cluster, replicas: 1'));
    await cart.session(true);
    await cluster.must('up');
    const written = await load.stop();
    expect(written.errors).toEqual([]);
    expect(await lost(cart, written)).toEqual([]);
    expect((await cluster.run(['plan'])).out).toContain('nothing to do');
    const { members } = await cart.live();
    expect(members.map((one) => one.nodes!.length)).toEqual([6, 6, 6, 6, 6, 6]);
    const masters = members.filter((one) => one.role === 'master');
    expect(masters.map((one) => one.followers!.length)).toEqual([1, 1, 1]);
  });
});

describe.each([
  ['replication', ['d1', 'd2'], ['d1', 'd5'], 'cart@d2'],
  ['cluster', ['d1', 'd2', 'd3'], ['d1', 'd2', 'd5'], 'cart.2@d3'],
])('mode %s: a replica is to be replaced by one that does not come up', (mode, old, now, replica) => {
  const cluster = new TestCluster(file(`rdlast${mode}`, five, `mode: ${mode}`, old));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('it stays, and keeps its data, until the other has it', async () => {
    const load = await writers(cart, 2);
    const listener = `require('net').createServer().listen(6379); require('net').createServer().listen(6380)`;
    const pid = (await cart.on('d5', `setsid node -e "${listener}" >/dev/null 2>&1 & echo $!`)).trim();
    cluster.write(file(`rdlast${mode}`, five, `mode: ${mode}`, now));
    await cart.session(true);
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(new RegExp(`${replica}: it stays while .* lacks a member: cart@d5`));
    const kept = (await cart.member(replica))!;
    expect(kept).toMatchObject({ up: true, leaving: true, role: 'replica', linkUp: true });
    expect(kept.keys).toBeGreaterThan(0);
    await cart.on('d5', `kill ${pid}`);
    // Its supervisor starts it in its own time: one that is down would keep the replica once more.
    await until('d5 serves', async () => (await cart.live()).members.every((one) => one.up));
    await cluster.must('up');
    const written = await load.stop();
    expect(written.errors).toEqual([]);
    expect(await lost(cart, written)).toEqual([]);
    expect((await cart.live()).members.some((one) => one.leaving)).toBe(false);
    expect((await cluster.run(['plan'])).out).toContain('nothing to do');
  }, 400_000);
});
