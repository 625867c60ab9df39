import { loadavg } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import { hashSlot } from '../src/engines/redis/hash-slot.ts';
import { slotsOf } from '../src/engines/redis/nodes.ts';
import { TestCluster, until } from '../tests/lab/cluster.ts';
import { Cart } from '../tests/lab/redis-clients.ts';

/*
 * Time without acknowledged writes while a master hands over as planned (`phalanx switchover`), seen by a stock client (ioredis) that writes one key after the
 * other to the shard that moves. `held` is what the command itself says: from when writes were stopped until the new master took them.
 * Usage: node bench/redis-switchover.ts [ROUNDS [sentinel|cluster]]. Milliseconds; exit status 4 when a target is missed.
 */
const rounds = Number(process.argv[2] ?? 20);
const only = process.argv[3];
/** Milliseconds, p95. */
const target = 200;

const quantile = (values: number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(q * values.length) - 1)]!;
const summary = (values: number[]): Record<string, number> => ({
  p50: Math.round(quantile(values, 0.5)),
  p95: Math.round(quantile(values, 0.95)),
  worst: Math.round(quantile(values, 1)),
});

/** A key of the shard that the member belongs to. */
async function keyOf(cart: Cart, member: string): Promise<string> {
  const found = await cart.member(member);
  const mine = found?.nodes?.find((node) => node.flags.has('myself'));
  if (!mine) return 'bench';
  const owner = found!.nodes!.find((node) => node.id === (mine.master ?? mine.id))!;
  const slots = new Set(slotsOf(owner));
  for (let i = 0; ; i++) if (slots.has(hashSlot(`bench:${i}`))) return `bench:${i}`;
}

async function gaps(
  mode: string,
  subnet: number,
): Promise<{ gap: number[]; held: number[]; errors: string[] }> {
  const cluster = new TestCluster(`
cluster: rdaswitch-${mode}
network: 10.161.${subnet}.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, mode: ${mode}, hosts: [d1, d2, d3], timing: fast }
`);
  const cart = new Cart(cluster);
  const result = { gap: [] as number[], held: [] as number[], errors: [] as string[] };
  let client: Redis | Cluster | undefined;
  let going = true;
  try {
    await cluster.must('up');
    client = await cart.client();
    let key = await keyOf(cart, 'cart@d1');
    let last = performance.now();
    let longest = 0;
    const writing = (async () => {
      for (let i = 0; going; i++) {
        try {
          await client!.set(key, i);
          longest = Math.max(longest, performance.now() - last);
          last = performance.now();
        } catch (error) {
          result.errors.push((error as Error).message);
          await wait(5);
        }
      }
    })();
    for (let round = 0; round < rounds; round++) {
      const live = await until('all are in sync', async () => {
        const seen = await cart.live();
        return seen.members.every((one) => one.role === 'master' || one.linkUp) && seen;
      });
      const replicas = live.members.filter((one) => one.role === 'replica');
      const to = replicas[round % replicas.length]!.name;
      key = await keyOf(cart, to);
      await wait(500);
      longest = 0;
      const { held } = await cluster
        .must('switchover', 'cart', '--to', to, '--json')
        .then((out) => ({ held: JSON.parse(out.slice(out.indexOf('{'))) as { ms: number } }));
      const at = performance.now();
      await until('writes go on', async () => last > at + 200);
      result.gap.push(longest);
      result.held.push(held.ms);
    }
    going = false;
    await writing;
    return result;
  } finally {
    going = false;
    client?.disconnect();
    await cluster.remove();
  }
}

for (const [i, mode] of ['sentinel', 'cluster'].entries()) {
  if ((only ?? mode) !== mode) continue;
  const { gap, held, errors } = await gaps(mode, 50 + i);
  const kept = quantile(gap, 0.95) <= target;
  if (!kept) process.exitCode = 4;
  if (errors.length > 0) console.error([...new Set(errors)].join('\n'));
  const load = loadavg().map((one) => Math.round(one * 10) / 10);
  console.log(
    JSON.stringify({
      mode,
      rounds,
      withoutWrites: summary(gap),
      held: summary(held),
      errors: errors.length,
      target,
      kept,
      load,
    }),
  );
}
