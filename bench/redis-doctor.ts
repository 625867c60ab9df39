import { spawn } from 'node:child_process';
import { loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { openSession } from '../src/cli/session.ts';
import { dialer } from '../src/engines/redis/client.ts';
import { parseInfo } from '../src/engines/redis/info.ts';
import type { RedisService } from '../src/engines/redis/seats.ts';
import { TestCluster } from '../tests/lab/cluster.ts';
import { processesIn } from './processes.ts';

/*
 * What `phalanx doctor` takes from a busy server with ten million keys and no replica that it could look at instead: commands a second while it runs, by those
 * just before and after, and the part of the server's time that its own commands took (INFO commandstats). The server has a processor to itself;
 * redis-benchmark and the doctor (nice 19) share the other, so what is measured is the server, not who is given a processor.
 * Usage: node bench/redis-doctor.ts [ROUNDS [KEYS]]. Exit status 4 when more than 1% is taken.
 */
const rounds = Number(process.argv[2] ?? 9);
const keys = Number(process.argv[3] ?? 10_000_000);
const target = 0.01;
const windowMs = 12_000;

const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
const round = (value: number, digits: number): number => Number(value.toFixed(digits));

interface Moment {
  /** Microseconds, the server's own clock. */
  at: number;
  commands: number;
  /** Microseconds spent on commands that the load does not use. */
  foreignUs: number;
}

async function moment(redis: Redis): Promise<Moment> {
  const info = parseInfo(await redis.info('all'));
  const foreignUs = Object.entries(info)
    .filter(([name]) => name.startsWith('cmdstat_') && name !== 'cmdstat_get')
    .reduce((sum, [, value]) => sum + Number(/usec=(\d+)/.exec(value)?.[1] ?? 0), 0);
  return {
    at: Number(info['server_time_usec']),
    commands: Number(info['total_commands_processed']),
    foreignUs,
  };
}

const rate = (from: Moment, to: Moment): number => (to.commands - from.commands) / ((to.at - from.at) / 1e6);

const cluster = new TestCluster(`
cluster: rdadoctorbench
network: 10.161.90.0/24
hosts: { d1: {} }
services:
  cart: { type: redis, mode: replication, hosts: [d1], replicas: 0, persistence: none }
`);
const running: (() => void)[] = [];
try {
  await cluster.must('up');
  const session = await openSession(cluster.file);
  const service = session.cluster.services['cart'] as RedisService;
  const host = session.cluster.hosts['d1']!;
  const place = { name: 'cart@d1', host: 'd1', port: 6379 };
  const redis = await dialer(service, session.cluster, session.reach)(place, { answerMs: 60_000 });
  running.push(() => redis.disconnect());
  const step = 50_000;
  for (let i = 0; i < keys; i += step)
    await redis.call(
      'EVAL',
      "for i = ARGV[1], ARGV[2] do redis.call('set', 'key:' .. string.format('%012d', i), 'a value of thirty-two characters') end",
      '0',
      String(i),
      String(Math.min(keys, i + step) - 1),
    );
  console.error(`${keys} keys: ${parseInfo(await redis.info('memory'))['used_memory_human']}`);
  // A user that may only read, and needs no password: redis-benchmark takes one from its arguments only.
  await redis.call('ACL', 'SETUSER', 'bench', 'on', 'nopass', '~*', '+get');
  const [pid] = processesIn(join(host.root, 'members/cart@d1/data'));
  if (!pid) throw new Error('the server is not found');
  const onCore = (core: number, command: string[]) =>
    spawn('taskset', ['-c', String(core), ...command], { stdio: 'ignore' });
  spawn('taskset', ['-a', '-cp', '0', String(pid)], { stdio: 'ignore' });
  const words = ['redis-benchmark', '-h', host.address, '--user', 'bench', '-a', 'none'];
  const load = onCore(1, [
    ...words,
    '-c',
    '32',
    '-P',
    '4',
    '-r',
    String(keys),
    '-n',
    '2000000000',
    'get',
    'key:__rand_int__',
  ]);
  running.push(() => load.kill());
  await wait(3_000);

  const window = async (work: () => Promise<unknown>): Promise<{ rate: number; share: number }> => {
    const from = await moment(redis);
    await work();
    const to = await moment(redis);
    return { rate: rate(from, to), share: (to.foreignUs - from.foreignUs) / (to.at - from.at) };
  };
  let seen = '';
  const doctor = (): Promise<void> =>
    new Promise((done, reject) => {
      const phalanx = resolve(import.meta.dirname, '../phalanx');
      const child = spawn(
        'taskset',
        ['-c', '1', 'nice', '-n', '19', phalanx, 'doctor', '--json', '-f', cluster.file],
        {
          stdio: ['ignore', 'pipe', 'ignore'],
        },
      );
      let out = '';
      child.stdout.on('data', (chunk) => {
        out += chunk;
      });
      child.on('close', (exit) => {
        if (exit !== 0 && exit !== 3) return reject(new Error(`doctor ended with ${exit}`));
        seen =
          (JSON.parse(out) as { services: { cart: { looked: string[] } } }).services.cart.looked[0] ?? '';
        done();
      });
    });
  const ratios: number[] = [];
  const shares: number[] = [];
  const rates: number[] = [];
  // Without, with, without, with, ..., without: each run is held against its two neighbours.
  let before = await window(() => wait(windowMs));
  for (let i = 0; i < rounds; i++) {
    const during = await window(doctor);
    const after = await window(() => wait(windowMs));
    ratios.push(during.rate / ((before.rate + after.rate) / 2));
    shares.push(during.share - (before.share + after.share) / 2);
    rates.push(after.rate);
    before = after;
  }
  const taken = Math.max(0, 1 - median(ratios));
  const kept = taken <= target;
  if (!kept) process.exitCode = 4;
  console.log(
    JSON.stringify({
      keys,
      rounds,
      commandsPerSecond: Math.round(median(rates)),
      throughputTaken: round(taken, 4),
      ratios: ratios.map((one) => round(one, 4)),
      serverTimeTaken: round(median(shares), 5),
      looked: seen,
      target,
      kept,
      load: loadavg().map((one) => round(one, 1)),
    }),
  );
} finally {
  for (const end of running) end();
  await cluster.remove();
}
