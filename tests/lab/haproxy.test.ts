import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { HaproxyPlane, haproxyConfig, haproxySocketName } from '../../src/engines/director/planes/haproxy.ts';
import type { AgentConfig, Listen, RealServer, Table } from '../../src/engines/director/tables.ts';
import { type Caller, ended, tally, Wires } from './wires.ts';

const vip = '10.96.0.100';
const server = (n: number): RealServer => ({
  name: `web@app${n}`,
  host: `app${n}`,
  address: `10.96.0.1${n}`,
  port: 8080,
  checkPort: 8080,
  weight: 1,
});
const listen = (port: number, part: Partial<Listen> = {}): Listen => ({
  name: `tcp-${port}`,
  proto: 'tcp',
  ports: [port, port],
  plane: 'haproxy',
  forward: 'nat',
  scheduler: 'wrr',
  hashPort: false,
  persistenceMs: 0,
  idleMs: 900_000,
  servers: [server(1), server(2)],
  sorry: [server(3)],
  check: { kind: 'tcp', intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3 },
  ...part,
});
const config: AgentConfig = {
  cluster: 'shop',
  service: 'front',
  host: 'lb1',
  address: '10.96.0.1',
  peers: [],
  syncPort: 7600,
  vips: [vip],
  listens: [listen(80), listen(81, { persistenceMs: 300_000 }), listen(82, { scheduler: 'fo' })],
};

let wires: Wires;
let plane: HaproxyPlane;
let caller: Caller;
let haproxy: ChildProcess;
let folder: string;

function startHaproxy(): void {
  haproxy = wires.start('lb1', 'haproxy', ['haproxy', '-db', '-f', 'haproxy.cfg'], folder);
}

/** The tables with all servers up, changed by `change` at 'tcp-80 web@app1'. */
function tables(change: Record<string, { weight?: number; up?: boolean }> = {}): Table[] {
  return config.listens.map((one) => ({
    listen: one,
    servers: [...one.servers, ...one.sorry].map((real) => ({
      server: real,
      weight: real.weight,
      up: true,
      sorry: one.sorry.includes(real),
      ...change[`${one.name} ${real.name}`],
    })),
  }));
}

beforeAll(async () => {
  wires = new Wires('agh');
  wires.host('lb1', '10.96.0.1/24', `${vip}/32`);
  wires.host('me', '10.96.0.2/24');
  for (const n of [1, 2, 3]) {
    wires.host(`app${n}`, `10.96.0.1${n}/24`);
    wires.server(`app${n}`, `app${n}`, 8080);
  }
  folder = join(wires.folder, 'haproxy');
  mkdirSync(folder);
  writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig(config));
  startHaproxy();
  plane = new HaproxyPlane(config, join(folder, haproxySocketName));
  caller = wires.caller('me');
  const patience = { timeout: 10_000, interval: 50 };
  await vi.waitFor(() => plane.open(), patience);
  await vi.waitFor(async () => {
    const answers = tally(await caller.get(`http://${vip}/`, 4));
    expect(answers).toEqual({ app1: 2, app2: 2 });
  }, patience);
});
afterAll(() => {
  plane?.release();
  wires?.close();
});
beforeEach(() => plane.apply(tables()));

test('weights are shares', async () => {
  await plane.apply(tables({ 'tcp-80 web@app1': { weight: 3 } }));
  expect(tally(await caller.get(`http://${vip}/`, 40))).toEqual({ app1: 30, app2: 10 });
});

test('fo: the heaviest that is up takes everything', async () => {
  const heavy = { 'tcp-82 web@app2': { weight: 2 } };
  await plane.apply(tables(heavy));
  expect(tally(await caller.get(`http://${vip}:82/`, 10))).toEqual({ app2: 10 });
  await plane.apply(tables({ 'tcp-82 web@app2': { weight: 2, up: false } }));
  expect(tally(await caller.get(`http://${vip}:82/`, 10))).toEqual({ app1: 10 });
  await plane.apply(tables(heavy));
  expect(tally(await caller.get(`http://${vip}:82/`, 10))).toEqual({ app2: 10 });
});

test('a drained server keeps its connection and gets no new one', async () => {
  await plane.apply(tables({ 'tcp-80 web@app2': { weight: 0 } }));
  expect(await caller.over('drained', `http://${vip}/`)).toBe('app1');
  await plane.apply(tables({ 'tcp-80 web@app1': { weight: 0 } }));
  expect(tally(await caller.get(`http://${vip}/`, 20))).toEqual({ app2: 20 });
  expect(await caller.over('drained', `http://${vip}/`)).toBe('app1');
  expect(await plane.connections()).toContainEqual({
    listen: 'tcp-80',
    server: 'web@app1',
    active: 1,
    inactive: 0,
  });
  expect(await plane.reset('tcp-80', 'web@app1')).toBe(1);
  // HAProxy ends a session it was told to in a turn of its own.
  await vi.waitFor(async () =>
    expect(
      (await plane.connections()).find((c) => c.listen === 'tcp-80' && c.server === 'web@app1')?.active,
    ).toBe(0),
  );
});

test("a dead server's connections end at once, the sorry server answers only when none is left", async () => {
  await plane.apply(tables({ 'tcp-80 web@app2': { weight: 0 } }));
  expect(await caller.over('dead', `http://${vip}/`)).toBe('app1');
  await plane.apply(tables({ 'tcp-80 web@app1': { up: false } }));
  await expect.poll(() => plane.connections().then((all) => all[0]?.active)).toBe(0);
  expect(tally(await caller.get(`http://${vip}/`, 6))).toEqual({ app2: 6 });
  await plane.apply(tables({ 'tcp-80 web@app1': { up: false }, 'tcp-80 web@app2': { up: false } }));
  expect(tally(await caller.get(`http://${vip}/`, 6))).toEqual({ app3: 6 });
});

test('a client stays with its server, and a drained server loses its clients', async () => {
  const [mine] = await caller.get(`http://${vip}:81/`, 1);
  expect(tally(await caller.get(`http://${vip}:81/`, 10))).toEqual({ [mine!]: 10 });
  await plane.apply(tables({ [`tcp-81 web@${mine}`]: { weight: 0 } }));
  const other = mine === 'app1' ? 'app2' : 'app1';
  expect(tally(await caller.get(`http://${vip}:81/`, 10))).toEqual({ [other]: 10 });
});

test('a haproxy that was started again is told everything again', async () => {
  await plane.apply(tables({ 'tcp-80 web@app1': { up: false } }));
  haproxy.kill('SIGKILL');
  await ended(haproxy);
  await expect(plane.apply(tables())).rejects.toThrow(/haproxy does not answer on/);
  const refused = plane.apply(tables({ 'tcp-80 web@app1': { up: false } }));
  await expect(refused).rejects.toThrow();
  startHaproxy();
  await expect
    .poll(async () => tally(await caller.get(`http://${vip}/`, 4)), { timeout: 10_000 })
    .toEqual({ app2: 4 });
});

test('a server that haproxy does not know is an error that says what to do', async () => {
  const stranger: Table[] = [
    { listen: config.listens[0]!, servers: [{ server: server(9), weight: 1, up: true, sorry: false }] },
  ];
  await expect(plane.apply(stranger)).rejects.toThrow(/No such server.*phalanx up/s);
});
