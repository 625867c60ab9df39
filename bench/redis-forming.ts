import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Cluster } from 'ioredis';
import { dialer, using } from '../src/engines/redis/client.ts';
import { hashSlot } from '../src/engines/redis/hash-slot.ts';
import { topology } from '../src/engines/redis/topology.ts';
import { TestCluster, until } from '../tests/lab/cluster.ts';
import { Cart } from '../tests/lab/redis-clients.ts';
import { median, percentile } from './bench.ts';

/*
 * Forming a cluster of six members on three hosts that are up already: the whole of `phalanx up`, against six redis-servers started by hand and
 * `redis-cli --cluster create`. And a fourth shard for a million small keys while clients read and write: how long, and the clients' p99, against `redis-cli --cluster
 * add-node` and `rebalance`. Usage: node bench/redis-forming.ts [ROUNDS [KEYS]]. Exit status 4 when forming takes longer than its target.
 */
const quick = process.env['BENCH_QUICK'] === '1';
const rounds = Number(process.argv[2] ?? (quick ? 2 : 5));
const keys = Number(process.argv[3] ?? (quick ? 50_000 : 1_000_000));
/** Milliseconds. */
const target = 3_000;

const run = promisify(execFile);
const name = 'rdforming';
const hosts = ['d1', 'd2', 'd3'];
const file = (cart: string): string => `
cluster: ${name}
network: 10.162.62.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  # Something that keeps the hosts up.
  idle: { type: redis, hosts: [d1, d2, d3], port: 7000 }
${cart}`;
const service = (spec: string): string =>
  `
  cart: { type: redis, mode: cluster, hosts: [d1, d2, d3], timing: fast${spec} }\n`;

/** redis-servers started by hand on the lab's hosts, as a person would, and gone at the end. */
class ByHand {
  readonly #folder = mkdtempSync(join(tmpdir(), 'phalanx-by-hand-'));
  readonly #pids: number[] = [];

  async start(host: string, address: string, port: number, more: string[] = []): Promise<void> {
    const folder = join(this.#folder, `${host}-${port}`);
    mkdirSync(folder);
    const settings = {
      ...{ port, bind: address, dir: folder, pidfile: `${folder}/pid`, daemonize: 'yes', save: '' },
      ...{ 'cluster-enabled': 'yes', 'cluster-node-timeout': 500, appendonly: 'yes' },
      ...{ 'protected-mode': 'no', 'repl-diskless-sync-delay': 0 },
    };
    const words = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]);
    await run('ip', ['netns', 'exec', `phalanx.${name}.${host}`, 'redis-server', ...words, ...more]);
    const pid = await until('it runs', async () => Number(execFileSync('cat', [`${folder}/pid`]).toString()));
    this.#pids.push(pid);
  }

  stop(): void {
    for (const pid of this.#pids) process.kill(pid, 'SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const addresses = async (cart: Cart): Promise<Map<string, string>> =>
  new Map(Object.values((await cart.session()).cluster.hosts).map((one) => [one.name, one.address]));

async function formedByHand(at: Map<string, string>): Promise<number> {
  const hand = new ByHand();
  try {
    const began = performance.now();
    const places: string[] = [];
    for (const port of [6379, 6380])
      for (const host of hosts) {
        await hand.start(host, at.get(host)!, port);
        places.push(`${at.get(host)}:${port}`);
      }
    await run('redis-cli', ['--cluster', 'create', ...places, '--cluster-replicas', '1', '--cluster-yes']);
    await until('every node serves and every replica follows', async () => {
      for (const place of places) {
        const [host = '', port = ''] = place.split(':');
        const ask = (...words: string[]) =>
          execFileSync('redis-cli', ['-h', host, '-p', port, ...words]).toString();
        if (!ask('cluster', 'info').includes('cluster_state:ok')) return false;
        const info = ask('info', 'replication');
        if (info.includes('role:slave') && !info.includes('master_link_status:up')) return false;
      }
      return true;
    });
    return performance.now() - began;
  } finally {
    hand.stop();
  }
}

async function forming(): Promise<void> {
  const cluster = new TestCluster(file(''));
  const cart = new Cart(cluster);
  try {
    await cluster.must('up');
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let n = 0; n < rounds; n++) {
      theirs.push(await formedByHand(await addresses(cart)));
      cluster.write(file(service('')));
      const began = performance.now();
      await cluster.must('up');
      ours.push(performance.now() - began);
      await cluster.must('down', '--purge');
      cluster.write(file(''));
      await cluster.must('up');
    }
    const [own, others] = [median(ours), median(theirs)].map(Math.round);
    const kept = own! <= target;
    if (!kept) process.exitCode = 4;
    console.log(
      JSON.stringify({ what: 'forming, ms', up: own, byHand: others, rounds, target, kept, load: load() }),
    );
  } finally {
    await cluster.remove();
  }
}

const load = (): number => Math.round(loadavg()[0]! * 10) / 10;

/** Small keys, straight to the masters that own their slots. */
async function fill(cart: Cart): Promise<void> {
  const { cluster, reach } = await cart.session();
  const dial = dialer(await cart.service(), cluster, reach);
  const { owners, slotOwner } = topology(await cart.live());
  await Promise.all(
    owners.map(({ node, member }) =>
      using(
        dial,
        member!,
        async (redis) => {
          let flight = redis.pipeline();
          for (let n = 0; n < keys; n++) {
            if (slotOwner[hashSlot(`key:${n}`)] !== node.id) continue;
            flight.set(`key:${n}`, 'a value of thirty-two bytes here');
            if (flight.length < 1_000) continue;
            await flight.exec();
            flight = redis.pipeline();
          }
          await flight.exec();
        },
        { answerMs: 60_000 },
      ),
    ),
  );
}

/** Clients that read and write keys that are there; their times in milliseconds, and their errors. */
async function traffic(cart: Cart): Promise<{ times: number[]; errors: string[]; stop(): Promise<void> }> {
  const times: number[] = [];
  const errors: string[] = [];
  let going = true;
  const clients = await Promise.all(Array.from({ length: 4 }, () => cart.client() as Promise<Cluster>));
  const work = clients.map(async (client) => {
    while (going) {
      const key = `key:${Math.floor(Math.random() * keys)}`;
      const began = performance.now();
      try {
        if (Math.random() < 0.5) await client.get(key);
        else await client.set(key, 'a value of thirty-two bytes here');
        times.push(performance.now() - began);
      } catch (error) {
        errors.push((error as Error).message);
      }
      await new Promise((next) => setTimeout(next, 1));
    }
    client.disconnect();
  });
  const stop = async (): Promise<void> => {
    going = false;
    await Promise.all(work);
  };
  return { times, errors, stop };
}

async function growing(who: 'phalanx' | 'redis-cli'): Promise<void> {
  const cluster = new TestCluster(file(service('')));
  const cart = new Cart(cluster);
  const hand = new ByHand();
  try {
    await cluster.must('up');
    await fill(cart);
    const before = await traffic(cart);
    await until('a baseline', async () => before.times.length > 3_000, 60_000);
    await before.stop();
    const during = await traffic(cart);
    const began = performance.now();
    if (who === 'phalanx') {
      cluster.write(file(service(', shards: 4')));
      await cluster.must('up');
    } else await byHand(cart, hand);
    const seconds = (performance.now() - began) / 1000;
    await during.stop();
    const ms = (p: number, times: number[]): number => Math.round(percentile(times, p) * 10) / 10;
    console.log(
      JSON.stringify({
        ...{ what: 'a fourth shard', who, keys, seconds: Math.round(seconds * 10) / 10 },
        ...{
          p99Before: ms(99, before.times),
          p99During: ms(99, during.times),
          worst: ms(100, during.times),
        },
        ...{ errors: during.errors.length, load: load() },
      }),
    );
  } finally {
    hand.stop();
    await cluster.remove();
  }
}

async function byHand(cart: Cart, hand: ByHand): Promise<void> {
  const { cluster } = await cart.session();
  const address = cluster.hosts['d1']!.address;
  const users = `${cluster.hosts['d1']!.root}/members/cart@d1/users.acl`;
  await hand.start('d1', address, 6390, ['--aclfile', users]);
  const options = {
    env: { ...process.env, REDISCLI_AUTH: cluster.secrets['cart/admin']! },
    maxBuffer: 1 << 28,
  };
  const cli = (...words: string[]) => run('redis-cli', ['--user', 'phalanx', '--cluster', ...words], options);
  const known = `${address}:6379`;
  await cli('add-node', `${address}:6390`, known);
  await until('all nodes agree', () =>
    cli('check', known).then(({ stdout }) => /agree about slots/.test(stdout)),
  );
  // A node refuses everything for its first two seconds.
  await until('the new node serves', async () => {
    const { stdout } = await run(
      'redis-cli',
      ['--user', 'phalanx', '-h', address, '-p', '6390', 'cluster', 'info'],
      options,
    );
    return stdout.includes('cluster_state:ok');
  });
  await cli('rebalance', known, '--cluster-use-empty-masters');
}

await forming();
await growing('phalanx');
await growing('redis-cli');
