import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import type { AgentStatus, ServerStatus } from '../../src/engines/director/agent/status.ts';
import { haproxyCommand, haproxyConfig } from '../../src/engines/director/planes/haproxy.ts';
import type { AgentConfig, RealServer } from '../../src/engines/director/tables.ts';
import { bundle as bundled } from '../../src/hosts/bundle.ts';
import { type Caller, ended, tally, Wires } from './wires.ts';

const vip = '10.95.0.100';
const url = `http://${vip}/`;
const server = (n: number): RealServer => ({
  name: `web@app${n}`,
  host: `app${n}`,
  address: `10.95.0.1${n}`,
  port: 8080,
  checkPort: 8080,
  weight: 1,
});
const config: AgentConfig = {
  cluster: 'shop',
  service: 'front',
  host: 'lb1',
  address: '10.95.0.1',
  peers: [],
  syncPort: 7600,
  vips: [vip],
  listens: [
    {
      name: 'tcp-80',
      proto: 'tcp',
      ports: [80, 80],
      plane: 'haproxy',
      forward: 'nat',
      scheduler: 'wrr',
      hashPort: false,
      persistenceMs: 0,
      idleMs: 900_000,
      servers: [server(1), server(2), server(3)],
      sorry: [],
      check: { kind: 'http', path: '/healthz', intervalMs: 100, timeoutMs: 100, rise: 2, fall: 2 },
    },
  ],
};

const patience = { timeout: 10_000, interval: 20 };
let wires: Wires;
let caller: Caller;
let agent: ChildProcess;
let bundle: string;
let folder: string;
const servers = new Map<number, ChildProcess>();

function startAgent(): void {
  agent = wires.start('lb1', 'agent', [process.execPath, bundle, folder]);
}

function startServer(n: number): void {
  servers.set(n, wires.server(`app${n}`, `app${n}`, 8080));
}

function status(): { agent: AgentStatus; servers: ServerStatus[] } {
  const [first, ...rest] = readFileSync(join(folder, 'status.jsonl'), 'utf8').trim().split('\n');
  const { agent: head } = JSON.parse(first!) as { agent: AgentStatus };
  return { agent: head, servers: rest.map((line) => JSON.parse(line) as ServerStatus) };
}

const up = () => status().servers.map((s) => s.up);

function override(name: string, text: string): void {
  const path = join(folder, 'overrides', name);
  writeFileSync(join(folder, 'overrides', `.${name}`), text);
  renameSync(join(folder, 'overrides', `.${name}`), path);
}

/** haproxy's first turn after a change of weights is its own affair: 20 requests are not counted. */
async function shareOfApp1(requests: number): Promise<number> {
  await caller.get(url, 20);
  return (tally(await caller.get(url, requests))['app1'] ?? 0) / requests;
}

beforeAll(async () => {
  wires = new Wires('aga');
  wires.host('lb1', '10.95.0.1/24', `${vip}/32`);
  wires.host('me', '10.95.0.2/24');
  for (const n of [1, 2, 3]) {
    wires.host(`app${n}`, `10.95.0.1${n}/24`);
    startServer(n);
  }
  folder = join(wires.folder, 'front.agent@lb1');
  const beside = join(wires.folder, 'front.haproxy@lb1');
  for (const one of [folder, beside]) mkdirSync(one);
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config));
  writeFileSync(join(beside, 'haproxy.cfg'), haproxyConfig(config));
  wires.start('lb1', 'haproxy', haproxyCommand.split(' '), beside);
  bundle = (await bundled('agent')).path;
  startAgent();
  caller = wires.caller('me');
  await vi.waitFor(() => expect(up()).toEqual([true, true, true]), patience);
});
afterAll(() => wires?.close());

afterEach(async () => {
  for (const n of [1, 2, 3]) rmSync(join(folder, 'overrides', `web@app${n}`), { force: true });
  await vi.waitFor(() => {
    expect(status().servers.map((s) => [s.up, s.override])).toEqual(Array(3).fill([true, undefined]));
  }, patience);
});

test('the status says what carries the listen, who holds the VIP, and takes less than 80 MB', () => {
  const { agent: head } = status();
  expect(head.planes).toEqual({ 'tcp-80': { plane: 'haproxy', why: 'the file says so' } });
  expect(head.vips).toEqual({ [vip]: true });
  expect(head.rss).toBeLessThan(80_000_000);
  expect(readFileSync(join(folder, 'fit'), 'utf8')).toBe('0\n');
});

test('a server that is killed goes out, says why, and comes back', async () => {
  servers.get(2)!.kill('SIGKILL');
  await vi.waitFor(() => expect(up()).toEqual([true, false, true]), patience);
  expect(status().servers[1]?.why).toBe('refused');
  expect(Object.keys(tally(await caller.get(url, 12))).sort()).toEqual(['app1', 'app3']);
  startServer(2);
  await vi.waitFor(() => expect(up()).toEqual([true, true, true]), patience);
  expect(status().servers[1]?.why).toBeUndefined();
  expect(Object.keys(tally(await caller.get(url, 9))).sort()).toEqual(['app1', 'app2', 'app3']);
});

test('a drained server keeps its connection and gets no new one', async () => {
  const mine = await caller.over('drained', url);
  override(`web@${mine}`, 'drain\n');
  await vi.waitFor(() => {
    const row = status().servers.find((s) => s.server === `web@${mine}`);
    expect(row).toMatchObject({ override: 'drain', weight: 1, effective: 0, up: true });
  }, patience);
  expect(Object.keys(tally(await caller.get(url, 12)))).not.toContain(mine);
  expect(await caller.over('drained', url)).toBe(mine);
});

test('a weight set at run time is the share of new connections', async () => {
  override('web@app1', 'weight 4');
  await vi.waitFor(
    () => expect(status().servers[0]).toMatchObject({ effective: 4, override: 'weight 4' }),
    patience,
  );
  expect(await shareOfApp1(60)).toBeCloseTo(4 / 6, 1);
});

test('nonsense in an override changes nothing and is told', async () => {
  override('web@app3', 'wieght 4');
  await vi.waitFor(
    () => expect(status().agent.errors.join()).toContain("web@app3: expected 'drain'"),
    patience,
  );
  expect(status().servers[2]).toMatchObject({ effective: 1 });
});

test('the agent is killed and started again under load: no request fails and no server flaps', async () => {
  override('web@app1', 'drain');
  await vi.waitFor(() => expect(status().servers[0]?.override).toBe('drain'), patience);
  const opened = await caller.over('kept', url);
  await caller.hammer(url);
  for (let round = 0; round < 3; round++) {
    const before = status().agent.pid;
    agent.kill('SIGKILL');
    await ended(agent);
    startAgent();
    const seen = new Set<string>();
    await vi.waitFor(() => {
      seen.add(up().join());
      expect(status().agent.pid).not.toBe(before);
    }, patience);
    expect([...seen]).toEqual(['true,true,true']);
  }
  const { answered, failed } = await caller.rest();
  expect(failed).toEqual([]);
  expect(Object.keys(answered).sort()).toEqual(['app2', 'app3']);
  expect(await caller.over('kept', url)).toBe(opened);
});

test('a hang-up signal takes a changed configuration', async () => {
  const changed = structuredClone(config);
  changed.listens[0]!.servers[0]!.weight = 7;
  const before = status().agent;
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(changed));
  agent.kill('SIGHUP');
  await vi.waitFor(() => expect(status().servers[0]).toMatchObject({ weight: 7, effective: 7 }), patience);
  expect(status().agent.config).not.toBe(before.config);
  expect(status().agent.pid).toBe(before.pid);
  expect(up()).toEqual([true, true, true]);
  expect(await shareOfApp1(90)).toBeCloseTo(7 / 9, 1);
  writeFileSync(join(folder, 'agent.json'), '{ "cluster":');
  agent.kill('SIGHUP');
  await vi.waitFor(() => expect(status().agent.errors.join()).toContain('run phalanx up'), patience);
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config));
  agent.kill('SIGHUP');
  await vi.waitFor(() => expect(status().servers[0]).toMatchObject({ weight: 1 }), patience);
  expect(status().agent.errors).toEqual([]);
});

test('another check in the file: no request fails, and a connection lives', async () => {
  const opened = await caller.over('checked', url);
  await caller.hammer(url);
  const changed = structuredClone(config);
  changed.listens[0]!.check.intervalMs = 150;
  for (const one of [changed, config]) {
    const before = status().agent.config;
    writeFileSync(join(folder, 'agent.json'), JSON.stringify(one));
    agent.kill('SIGHUP');
    await vi.waitFor(() => expect(status().agent.config).not.toBe(before), patience);
  }
  expect((await caller.rest()).failed).toEqual([]);
  expect(await caller.over('checked', url)).toBe(opened);
});

test('it ends when told to, and the tables stay', async () => {
  agent.kill('SIGTERM');
  await ended(agent);
  expect(Object.keys(tally(await caller.get(url, 9))).sort()).toEqual(['app1', 'app2', 'app3']);
  startAgent();
});
