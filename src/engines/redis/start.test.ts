import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { seatsOf } from './seats.ts';
import { startScript } from './start.ts';
import { id, sample } from './testing/sample.ts';

const of = sample({ mode: 'cluster' });
const seats = seatsOf(of.service, of.cluster);
const shards = [
  ['cart@d1', 'cart.2@d2', '0-5460'],
  ['cart@d2', 'cart.2@d3', '5461-10922'],
  ['cart@d3', 'cart.2@d1', '10923-16383'],
] as const;

/** CLUSTER NODES as a member answers it; `lead` are the masters of the shards, where they are not the first of their line. */
function nodes(self: string, lead: Record<number, string> = {}): string {
  const lines = shards.flatMap(([first, second, slots], n) => {
    const master = lead[n] ?? first;
    return [first, second].map((name) => {
      const { address, port } = seats.find((one) => one.name === name)!;
      const flags = `${name === self ? 'myself,' : ''}${name === master ? 'master' : 'slave'}`;
      const rest = name === master ? `- 0 0 1 connected ${slots}` : `${id(master)} 0 0 1 connected`;
      return `${id(name)} ${address}:${port}@${port + 10_000} ${flags} ${rest}`;
    });
  });
  return `${lines.join('\n')}\n`;
}

const running: { child: ChildProcess; folder: string }[] = [];
afterEach(() => {
  for (const { child, folder } of running.splice(0)) {
    process.kill(-child.pid!, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

/**
 * Starts cart@d1, which died as a master with its data whole, beside members that answer as given; those not named are silent. Its
 * redis-cli and redis-server are stand-ins: one looks the answer up, the other writes down that it was started.
 */
function start(answers: Record<string, string>): { folder: string; asked(): number; said(): string } {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-start-'));
  mkdirSync(join(folder, 'data'));
  mkdirSync(join(folder, 'bin'));
  const put = (path: string, text: string, mode = 0o644): void => {
    writeFileSync(join(folder, path), text);
    chmodSync(join(folder, path), mode);
  };
  for (const { name, address, port } of seats)
    if (answers[name] !== undefined) put(`bin/${address}:${port}`, answers[name]);
  put(
    'bin/redis-cli',
    `#!/bin/sh\necho asked >>'${folder}/asked'\nwhile [ $# -gt 1 ]; do case $1 in -h) host=$2 ;; -p) port=$2 ;; esac; shift; done\ncat '${folder}/bin/'"$host:$port"\n`,
    0o755,
  );
  put('bin/redis-server', `#!/bin/sh\necho started >'${folder}/started'\nexec sleep 60\n`, 0o755);
  put('start', startScript(of.service, of.cluster, seats[0]!), 0o755);
  put('admin.secret', 'x');
  put('redis.conf', '');
  put('data/nodes.conf', nodes('cart@d1'));
  put('data/redis.pid', '1');
  put('data/.ran', readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'));
  const child = spawn('./start', {
    cwd: folder,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: `${folder}/bin:${process.env['PATH']}` },
  });
  running.push({ child, folder });
  let said = '';
  child.stdout!.on('data', (chunk) => {
    said += chunk;
  });
  const asked = (): number =>
    existsSync(join(folder, 'asked'))
      ? readFileSync(join(folder, 'asked'), 'utf8').split('\n').length - 1
      : 0;
  return { folder, asked, said: () => said };
}

const others = (lead?: Record<number, string>) =>
  Object.fromEntries(seats.slice(1).map(({ name }) => [name, nodes(name, lead)]));

it('a master that died waits while the others may still elect another', {
  tags: ['long'],
  timeout: 30_000,
}, async () => {
  const one = start(others());
  // Five peers a round.
  await expect.poll(one.asked, { timeout: 20_000 }).toBeGreaterThan(15);
  expect(existsSync(join(one.folder, 'started'))).toBe(false);
});

it('it starts when another has its slots', async () => {
  const one = start(others({ 0: 'cart.2@d2' }));
  await expect.poll(one.said, { timeout: 20_000 }).toContain('its slots have a new master');
  await expect.poll(() => existsSync(join(one.folder, 'started')), { timeout: 20_000 }).toBe(true);
}, 30_000);

it('it starts at once when too few masters are left to elect anybody: nobody waits for whom it waits for', async () => {
  const { 'cart@d2': _, ...rest } = others();
  const one = start(rest);
  await expect.poll(one.said, { timeout: 20_000 }).toContain('too few masters answer to elect another');
  await expect.poll(() => existsSync(join(one.folder, 'started')), { timeout: 20_000 }).toBe(true);
  expect(one.asked()).toBe(5);
}, 30_000);
