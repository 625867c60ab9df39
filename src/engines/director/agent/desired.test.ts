import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Health } from '../../../check/checker.ts';
import type { AgentConfig, Forward, Listen, PlaneName, RealServer } from '../tables.ts';
import { held } from './addresses.ts';
import { choosePlanes } from './carriers.ts';
import { tablesOf, targetOf } from './desired.ts';
import { followed, follows } from './follow.ts';
import { parseOverride, readOverrides } from './overrides.ts';
import { lastHealth, type ServerStatus, statusText, writeStatus } from './status.ts';

const server = (n: number): RealServer => ({
  name: `web@app${n}`,
  host: `app${n}`,
  address: `10.77.0.1${n}`,
  port: 8080,
  checkPort: 8080,
  weight: n,
});
const listen = (part: Partial<Listen> = {}): Listen => ({
  name: 'tcp-80',
  proto: 'tcp',
  ports: [80, 80],
  plane: 'nftables',
  forward: 'nat',
  scheduler: 'wlc',
  hashPort: false,
  persistenceMs: 0,
  idleMs: 900_000,
  servers: [server(1), server(2)],
  sorry: [server(3)],
  check: { kind: 'http', path: '/healthz', intervalMs: 1000, timeoutMs: 500, rise: 2, fall: 3 },
  ...part,
});
const config = (...listens: Listen[]): AgentConfig => ({
  cluster: 'shop',
  service: 'front',
  host: 'lb1',
  address: '10.77.0.1',
  peers: [],
  syncPort: 7600,
  vips: ['10.77.0.100'],
  listens,
});
const up: Health = { up: true, why: undefined, ms: 1, against: 0 };

test('a server is in with its weight when its checks say so, and out while nothing is known of it', () => {
  const health = (target: { address: string }) => (target.address === '10.77.0.12' ? undefined : up);
  const [table] = tablesOf(config(listen()), health, new Map());
  expect(table?.servers.map((s) => [s.server.name, s.weight, s.up, s.sorry])).toEqual([
    ['web@app1', 1, true, false],
    ['web@app2', 2, false, false],
    ['web@app3', 3, true, true],
  ]);
});

test('what was said at run time outranks the file, in every listen that has the server', () => {
  const overrides = new Map([
    ['web@app1', { kind: 'drain' } as const],
    ['web@app2', { kind: 'weight', weight: 9 } as const],
    ['web@app3', { kind: 'turn', byHand: { kind: 'weight', weight: 9 } } as const],
  ]);
  const tables = tablesOf(config(listen(), listen({ name: 'tcp-81' })), () => up, overrides);
  for (const table of tables) expect(table.servers.map((s) => s.weight)).toEqual([0, 9, 0]);
});

test('a sorry server need only answer its port', () => {
  const one = listen();
  expect(targetOf({ listen: one, server: server(3), sorry: true }).check.kind).toBe('tcp');
  expect(targetOf({ listen: one, server: server(1), sorry: false }).check.kind).toBe('http');
});

test('weights follow connections where the plane cannot look, and when a server goes the others take its place at once', () => {
  expect(follows(listen(), 'nftables')).toBe(true);
  expect(follows(listen(), 'haproxy')).toBe(false);
  expect(follows(listen({ scheduler: 'wrr' }), 'nftables')).toBe(false);
  const counts = new Map([
    ['tcp-80 web@app1', { listen: 'tcp-80', server: 'web@app1', active: 0, inactive: 0 }],
    ['tcp-80 web@app2', { listen: 'tcp-80', server: 'web@app2', active: 9000, inactive: 0 }],
  ]);
  const weights = (health: (t: { address: string }) => Health | undefined) =>
    followed(tablesOf(config(listen()), health, new Map())[0]!, counts).servers.map((s) => s.weight);
  const all = weights(() => up);
  expect(all[0]).toBeGreaterThan(0);
  expect(all[1]).toBe(0);
  expect(weights((t) => (t.address === '10.77.0.11' ? undefined : up))[1]).toBeGreaterThan(0);
});

test('auto takes the first plane that the host offers and says why not an earlier one', () => {
  const auto = listen({ plane: 'auto', scheduler: 'rr' });
  const first = choosePlanes([auto], ['nftables', 'haproxy'], new Map());
  expect(first.get('tcp-80')).toEqual({ plane: 'nftables', why: 'the first that this host offers' });
  const second = choosePlanes([auto], ['ipvs', 'nftables'], new Map([['ipvs', 'no IPVS']]));
  expect(second.get('tcp-80')).toEqual({ plane: 'nftables', why: 'ipvs: no IPVS' });
  // haproxy has no proxy for a listen that does not name it.
  const none = choosePlanes([auto], ['nftables', 'haproxy'], new Map([['nftables', 'no netdev hook']]));
  expect(none.get('tcp-80')).toEqual({
    plane: undefined,
    why: 'nftables: no netdev hook; haproxy: only for what says plane: haproxy',
  });
  expect(choosePlanes([listen({ plane: 'ipvs' })], ['nftables'], new Map()).get('tcp-80')?.why).toContain(
    'use ipvs, nftables or haproxy',
  );
});

test('a real server on a director’s own host: auto takes the plane that reaches it, or says that none does', () => {
  const directors = ['lb1', 'app1'];
  const choose = (forward: Forward, broken: [PlaneName, string][] = []) =>
    choosePlanes([listen({ plane: 'auto', forward })], ['ipvs', 'nftables'], new Map(broken), directors).get(
      'tcp-80',
    )!;
  expect(choose('nat').plane).toBe('ipvs');
  for (const forward of ['nat', 'dr'] as const) {
    const { plane, why } = choose(forward, [['ipvs', 'no IPVS']]);
    expect(plane).toBeUndefined();
    expect(why).toBe(
      `ipvs: no IPVS; nftables: nftables cannot forward by ${forward} to web@app1, on a director's own host: use plane haproxy or forward fullnat for tcp-80, or other hosts`,
    );
  }
  expect(choose('fullnat', [['ipvs', 'no IPVS']]).plane).toBe('nftables');
});

test.each([
  ['drain\n', { kind: 'drain' }],
  ['weight 0', { kind: 'weight', weight: 0 }],
  ['weight 65535\n', { kind: 'weight', weight: 65535 }],
  ['weight 65536', undefined],
  ['weight -1', undefined],
  ['', undefined],
  ['turn', { kind: 'turn' }],
  ['turn drain\n', { kind: 'turn', byHand: { kind: 'drain' } }],
  ['turn weight 7', { kind: 'turn', byHand: { kind: 'weight', weight: 7 } }],
  ['turn turn', undefined],
  ['drain web@app1', undefined],
])('override %j', (text, override) => {
  expect(parseOverride(text)).toEqual(override);
});

test('half-written overrides are not read, wrong ones are named', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-agent-'));
  mkdirSync(join(folder, 'overrides'));
  writeFileSync(join(folder, 'overrides', '.web@app1'), 'drain');
  writeFileSync(join(folder, 'overrides', 'web@app2'), 'drain');
  writeFileSync(join(folder, 'overrides', 'web@app3'), 'sink');
  const { byServer, errors } = readOverrides(folder);
  expect([...byServer.keys()]).toEqual(['web@app2']);
  expect(errors).toEqual(["overrides/web@app3: expected 'drain' or 'weight N' (0 to 65535)"]);
  rmSync(folder, { recursive: true });
});

const row: ServerStatus = {
  listen: 'tcp-80',
  server: 'web@app1',
  address: '10.77.0.11',
  port: 8080,
  weight: 1,
  effective: 0,
  override: 'drain',
  up: true,
  sorry: false,
  active: 3,
  inactive: 1,
  approximate: false,
};
const head = {
  pid: 1,
  since: 2,
  host: 'lb1',
  planes: {},
  vips: {},
  peers: {},
  revision: 3,
  config: 'x',
  rss: 4,
  drift: [],
  errors: [],
};

test('the status is lines that a shell can grep: fixed order, no spaces', () => {
  const { approximate, listen: name, ...rest } = row;
  expect(statusText(head, [{ approximate, ...rest, listen: name }]).split('\n')[1]).toBe(
    '{"listen":"tcp-80","server":"web@app1","address":"10.77.0.11","port":8080,"weight":1,"effective":0,"override":"drain","up":true,"sorry":false,"active":3,"inactive":1,"approximate":false}',
  );
});

test('an agent that starts again knows what the last one knew, unless that was long ago', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-agent-'));
  expect(lastHealth(folder, Date.now()).size).toBe(0);
  writeStatus(folder, statusText(head, [row, { ...row, server: 'web@app2', up: false }]));
  expect([...lastHealth(folder, Date.now())]).toEqual([
    ['tcp-80 web@app1', true],
    ['tcp-80 web@app2', false],
  ]);
  const old = Date.now() / 1000 - 120;
  utimesSync(join(folder, 'status.jsonl'), old, old);
  expect(lastHealth(folder, Date.now()).size).toBe(0);
  rmSync(folder, { recursive: true });
});

test('a VIP is held when an interface other than the loopback has it, however it is spelt', () => {
  const a = (address: string, internal = false) => ({ address, internal }) as never;
  const interfaces = { lo: [a('10.77.0.100', true)], eth0: [a('10.77.0.1'), a('fd77::100')] };
  expect(held(['10.77.0.100', 'FD77:0::100', '10.77.0.1'], interfaces)).toEqual({
    '10.77.0.100': false,
    'FD77:0::100': true,
    '10.77.0.1': true,
  });
});
