import { expect, test } from 'vitest';
import type { AgentConfig, Listen, RealServer, Table } from '../tables.ts';
import { Leavers } from './leavers.ts';

const server = (name: string): RealServer => ({
  name,
  host: name.split('@')[1]!,
  address: `10.77.0.1${name.at(-1)}`,
  port: 8080,
  checkPort: 8080,
  weight: 1,
});
const config = (names: string[], part: Partial<Listen> = {}): AgentConfig => ({
  cluster: 'shop',
  service: 'front',
  host: 'lb1',
  address: '10.77.0.1',
  peers: [],
  syncPort: 7600,
  vips: ['10.77.0.100'],
  listens: [
    {
      name: 'tcp-80',
      proto: 'tcp',
      ports: [80, 80],
      plane: 'nftables',
      forward: 'nat',
      scheduler: 'rr',
      hashPort: false,
      persistenceMs: 0,
      idleMs: 900_000,
      servers: names.map(server),
      sorry: [],
      check: { kind: 'tcp', intervalMs: 1000, timeoutMs: 500, rise: 1, fall: 2 },
      ...part,
    },
  ],
});
const names = ({ listens }: AgentConfig): string[] => listens[0]!.servers.map(({ name }) => name);
/** The table where only those are up; gives the weights by name. */
function weights(leavers: Leavers, { listens }: AgentConfig, ...up: string[]): Record<string, number> {
  const [listen] = listens;
  const table: Table = {
    listen: listen!,
    servers: listen!.servers.map((one) => ({
      server: one,
      weight: 1,
      up: up.includes(one.name),
      sorry: false,
    })),
  };
  return Object.fromEntries(leavers.settle(table).servers.map((state) => [state.server.name, state.weight]));
}

test('a pool that moves serves from where it was until each that came has been up once', () => {
  const leavers = new Leavers();
  const both = leavers.join(config(['web@a1', 'web@a2']), config(['web@a3', 'web@a4']));
  expect(names(both)).toEqual(['web@a3', 'web@a4', 'web@a1', 'web@a2']);
  const old = ['web@a1', 'web@a2'];
  expect(weights(leavers, both, ...old)).toMatchObject({ 'web@a1': 1, 'web@a2': 1 });
  expect(weights(leavers, both, ...old, 'web@a3')).toMatchObject({ 'web@a1': 1, 'web@a2': 1 });
  expect(leavers.isFree('tcp-80', 'web@a1')).toBe(false);
  // One that was up and died does not bring the old ones back, as long as another serves.
  expect(weights(leavers, both, ...old, 'web@a4')).toEqual({
    'web@a3': 1,
    'web@a4': 1,
    'web@a1': 0,
    'web@a2': 0,
  });
  expect(leavers.isFree('tcp-80', 'web@a1')).toBe(true);
  expect(weights(leavers, both, ...old)).toMatchObject({ 'web@a1': 1, 'web@a2': 1 });
});

test('one that leaves the others gets nothing new at once, and is forgotten when it has nothing left', () => {
  const leavers = new Leavers();
  const three = leavers.join(config(['web@a1', 'web@a2', 'web@a3']), config(['web@a1', 'web@a2']));
  expect(leavers.without(three, () => true)).toBe(three);
  expect(weights(leavers, three, 'web@a1', 'web@a3')).toEqual({ 'web@a1': 1, 'web@a2': 1, 'web@a3': 0 });
  expect(leavers.without(three, () => false)).toBe(three);
  expect(names(leavers.without(three, () => true))).toEqual(['web@a1', 'web@a2']);
  expect(leavers.isFree('tcp-80', 'web@a3')).toBe(false);
});

test('one that comes back while it leaves is as any other; what another change brings is awaited beside what still is', () => {
  const leavers = new Leavers();
  const first = leavers.join(config(['web@a1']), config(['web@a2']));
  const second = leavers.join(first, config(['web@a2', 'web@a3']));
  expect(names(second)).toEqual(['web@a2', 'web@a3', 'web@a1']);
  expect(weights(leavers, second, 'web@a1', 'web@a3')['web@a1']).toBe(1);
  expect(weights(leavers, second, 'web@a1', 'web@a2')['web@a1']).toBe(0);
  const back = leavers.join(second, config(['web@a1', 'web@a2']));
  expect(weights(leavers, back, 'web@a1', 'web@a2')).toEqual({ 'web@a1': 1, 'web@a2': 1, 'web@a3': 0 });
});

test('a virtual service that forwards otherwise, or whose haproxy knows its own servers only, keeps nobody', () => {
  for (const part of [{ forward: 'dr' }, { plane: 'haproxy' }] as const) {
    const next = config(['web@a2'], part);
    expect(names(new Leavers().join(config(['web@a1']), next))).toEqual(['web@a2']);
  }
});
