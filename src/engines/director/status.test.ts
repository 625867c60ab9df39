import { expect, it } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { AgentStatus, ServerStatus } from './agent/status.ts';
import type { DirectorLive } from './observe.ts';
import { type DirectorSpec, schema } from './schema.ts';
import { directorStatus } from './status.ts';

const service = {
  name: 'front',
  hosts: ['lb1', 'lb2'],
  spec: schema.parse({ vip: '10.77.0.100', listen: [{ port: 80, to: 'web' }] }),
} as unknown as Service<DirectorSpec>;

const cluster = { services: { web: { name: 'web', hosts: ['app1', 'app2'] } } } as unknown as Cluster;

const server = (name: string, more: Partial<ServerStatus> = {}): ServerStatus => ({
  listen: 'tcp-80',
  server: name,
  address: '10.77.0.13',
  port: 8080,
  weight: 1,
  effective: 1,
  up: true,
  sorry: false,
  active: 0,
  inactive: 0,
  approximate: false,
  ...more,
});
const director = (holds: string[], servers: ServerStatus[]): DirectorLive => ({
  holds,
  agent: { planes: { 'tcp-80': { plane: 'nftables', why: '' } }, errors: [] } as unknown as AgentStatus,
  servers,
});
const agents = (standby: ServerStatus[]): unknown[] =>
  directorStatus(service, cluster, {
    lb1: director(['10.77.0.100'], [server('web@app1'), server('web@app2')]),
    lb2: director([], standby),
  })
    .filter(({ name }) => name.startsWith('front.agent'))
    .map(({ role, health, why }) => [role, health, why]);

it('a standby that would serve nobody is not ok: the VIP may move to it in the next moment', () => {
  const silent = { up: false, why: 'no answer in 300 ms' };
  expect(agents([server('web@app1'), server('web@app2', silent)])).toEqual([
    ['owner', 'ok', undefined],
    ['standby', 'ok', undefined],
  ]);
  expect(agents([server('web@app1', silent), server('web@app2', silent)])[1]).toEqual([
    'standby',
    'degraded',
    'tcp-80: no real server is healthy (no answer in 300 ms)',
  ]);
  const none = { effective: 0, override: 'weight 0' };
  expect(agents([server('web@app1', silent), server('web@app2', none)])[1]).toEqual([
    'standby',
    'degraded',
    'tcp-80: no real server is healthy (those that are have weight 0)',
  ]);
});

it('a server that has left the file is on its way out, and no trouble of the service', () => {
  const left = { effective: 0, up: false, why: 'refused' };
  const rows = directorStatus(service, cluster, {
    lb1: director(['10.77.0.100'], [server('web@app1'), server('web@app2', left), server('web@app3', left)]),
  }).filter(({ role }) => role === 'real server');
  expect(rows.map(({ health, why }) => [health, why])).toEqual([
    ['ok', undefined],
    ['down', 'refused'],
    ['ok', 'not in the file any more: it goes when its connections have ended'],
  ]);
});
