import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { keepalivedCommand, keepalivedConfig } from '../../src/engines/director/vrrp.ts';
import { ended, Wires } from './wires.ts';

const hosts = ['lb1', 'lb2'];
const vips = ['10.97.0.100', 'fd97::100'];
const patience = { timeout: 5000, interval: 20 };
let wires: Wires;
const running = new Map<string, ChildProcess>();

function folderOf(host: string): string {
  return join(wires.folder, host);
}

function start(host: string, preempt = false): void {
  const index = hosts.indexOf(host) + 1;
  const config = keepalivedConfig({
    cluster: 'shop',
    service: 'front',
    host,
    address: `10.97.0.${index}`,
    hosts,
    vips,
    device: 'eth0',
    advertMs: 50,
    preempt,
    fit: join(folderOf(host), 'fit'),
  });
  writeFileSync(join(folderOf(host), 'keepalived.conf'), config);
  // As a lab host runs it: processes, /run and network of its own.
  const words = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c'];
  const command = `mount -t tmpfs none /run && { ${keepalivedCommand}; }`;
  running.set(host, wires.start(host, `keepalived-${host}`, [...words, command], folderOf(host)));
}

/** The pids of a host's keepalived, the parent's first. */
function pidsOf(host: string): number[] {
  const pids = wires
    .run(host, `ip netns pids ${wires.namespace(host)}`)
    .trim()
    .split('\n')
    .map(Number);
  // The listing names the shell that made it, too, which is gone.
  const named = (pid: number) =>
    existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'keepalived';
  return pids.filter((pid) => pid > 0 && named(pid)).sort((a, b) => a - b);
}

function signal(host: string, name: NodeJS.Signals): void {
  for (const pid of pidsOf(host)) process.kill(pid, name);
}

/** Which hosts have both VIPs; a host that has one of them only is a failure by itself. */
function owners(): string[] {
  return hosts.filter((host) => {
    const addresses = wires.run(host, 'ip -o addr show dev eth0');
    return vips.every((vip) => addresses.includes(` ${vip}/`));
  });
}

const ownedBy = (...names: string[]) => vi.waitFor(() => expect(owners()).toEqual(names), patience);

/** For things that must not happen: longer than any election takes. */
const elections = () => new Promise((resolve) => setTimeout(resolve, 600));

beforeAll(async () => {
  wires = new Wires('agv');
  hosts.forEach((host, index) => {
    wires.host(host, `10.97.0.${index + 1}/24`, `fd97::${index + 1}/64`);
    mkdirSync(folderOf(host));
    writeFileSync(join(folderOf(host), 'fit'), '0\n');
  });
  start('lb1');
  await ownedBy('lb1');
  start('lb2');
  await elections();
});
afterAll(() => wires?.close());
afterEach(() => {
  for (const host of hosts) wires.cable(host, 'up');
});

test('the owner is cut off: VIPs of both families move, and stay when it is back', async () => {
  expect(owners()).toEqual(['lb1']);
  wires.cable('lb1', 'down');
  await ownedBy('lb2');
  wires.cable('lb1', 'up');
  await elections();
  expect(owners()).toEqual(['lb2']);
});

test('the owner is stopped: it hands over', async () => {
  process.kill(pidsOf('lb2')[0]!, 'SIGTERM');
  await ended(running.get('lb2')!);
  await ownedBy('lb1');
  start('lb2');
  await elections();
  expect(owners()).toEqual(['lb1']);
});

test('the owner freezes and thaws: two own the VIP, then one', async () => {
  signal('lb1', 'SIGSTOP');
  await ownedBy('lb1', 'lb2');
  signal('lb1', 'SIGCONT');
  await vi.waitFor(() => expect(owners()).toHaveLength(1), patience);
  await elections();
  expect(owners()).toHaveLength(1);
});

test('the owner is killed: the other takes over, and the killed one lets go when it is started again', async () => {
  const [owner] = owners();
  signal(owner!, 'SIGKILL');
  await ownedBy('lb1', 'lb2');
  await ended(running.get(owner!)!);
  start(owner!);
  await ownedBy(hosts.find((host) => host !== owner)!);
});

test('a director without tables does not own the VIP', async () => {
  const [owner] = owners();
  const other = hosts.find((host) => host !== owner)!;
  writeFileSync(join(folderOf(owner!), 'fit'), '1\n');
  await ownedBy(other);
  writeFileSync(join(folderOf(owner!), 'fit'), '0\n');
  await elections();
  expect(owners()).toEqual([other]);
});

test('with preempt the first of the file takes the VIP back', async () => {
  for (const host of hosts) {
    process.kill(pidsOf(host)[0]!, 'SIGTERM');
    await ended(running.get(host)!);
    start(host, true);
  }
  await ownedBy('lb1');
  wires.cable('lb1', 'down');
  await ownedBy('lb2');
  wires.cable('lb1', 'up');
  await ownedBy('lb1');
});
