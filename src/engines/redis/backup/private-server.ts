import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { StepFailed } from '../../engine.ts';

/** How long a server that reads its dump may say nothing of itself. Milliseconds. */
const patience = 20_000;

/**
 * Runs a redis-server of our own on a dump, which it only reads: no port, a socket in a folder that is ours alone, and it dies with us
 * (setpriv --pdeathsig). So every type and encoding that Redis knows is read by Redis itself. `work` is given a connection
 * once the whole dump is in memory.
 */
export async function onDump<T>(file: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'phalanx-dump-'));
  const socket = join(folder, 'redis.sock');
  await symlink(resolve(file), join(folder, 'dump.rdb'));
  const server = spawn('setpriv', ['--pdeathsig', 'KILL', 'redis-server', '-'], { stdio: 'pipe' });
  let said = '';
  for (const stream of [server.stdout, server.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-2_000);
    });
  let ended = false;
  const end = once(server, 'close').then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  server.stdin.on('error', () => {});
  server.stdin.end(config(folder, socket));
  const redis = new Redis({
    path: socket,
    protocol: 2,
    lazyConnect: true,
    enableReadyCheck: false,
    disableClientInfo: true,
    maxRetriesPerRequest: null,
    retryStrategy: () => (ended ? null : 20),
  });
  redis.on('error', () => {});
  try {
    let heard = performance.now();
    for (;;) {
      if (ended) throw new StepFailed(`redis-server cannot read ${file}: ${lastLine(said)}`);
      const state = await loading(redis);
      if (state === 'ready') break;
      if (state === 'loading') heard = performance.now();
      else if (performance.now() - heard > patience)
        throw new StepFailed(`redis-server on ${file} does not answer: ${lastLine(said)}`);
      await sleep(20);
    }
    return await work(redis);
  } finally {
    redis.disconnect();
    server.kill('SIGKILL');
    await end;
    await rm(folder, { recursive: true, force: true });
  }
}

const config = (folder: string, socket: string): string =>
  [
    'port 0',
    `unixsocket ${socket}`,
    'unixsocketperm 700',
    `dir ${folder}`,
    'dbfilename dump.rdb',
    // It never writes: the dump stays as it is.
    'save ""',
    'appendonly no',
    'daemonize no',
    'databases 10000',
    '',
  ].join('\n');

async function loading(redis: Redis): Promise<'ready' | 'loading' | 'silent'> {
  try {
    if (redis.status === 'wait' || redis.status === 'end') await redis.connect();
    await redis.ping();
    return 'ready';
  } catch (error) {
    return /LOADING/.test((error as Error).message) ? 'loading' : 'silent';
  }
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
