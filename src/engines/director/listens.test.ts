import { describe, expect, it } from 'vitest';
import type { Check } from '../../check/check.ts';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Engine, Member } from '../engine.ts';
import { listensOf } from './listens.ts';
import { directorRules } from './rules.ts';
import { type DirectorSpec, schema } from './schema.ts';

const page: Check = { kind: 'http', path: '/', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 2 };
const broker: Check = { kind: 'amqp', intervalMs: 500, timeoutMs: 1000, rise: 1, fall: 2 };

/** An engine whose members have a port for clients and one for people, with a check of its own. */
const engine: Engine = {
  type: 'queue',
  schema,
  packages: () => [],
  members: (service) =>
    service.hosts.map(
      (host): Member => ({
        name: `${service.name}@${host}`,
        service: service.name,
        host,
        command: '',
        env: {},
        files: [],
        limits: {},
        ports: [
          { proto: 'tcp', port: 5672 },
          { proto: 'tcp', port: 15_672, name: 'management', check: page },
        ],
        stop: { signal: 'TERM', timeoutMs: 0 },
        data: [],
        kind: 'queue',
      }),
    ),
};

function cluster(listen: object[]): { cluster: Cluster; director: Service<DirectorSpec> } {
  const director: Service<DirectorSpec> = {
    name: 'front',
    type: 'director',
    hosts: ['lb1'],
    uses: [],
    spec: schema.parse({ vip: '10.0.0.100', listen }),
  };
  const jobs: Service = { name: 'jobs', type: 'queue', hosts: ['h1'], uses: [], spec: { check: broker } };
  const host = (name: string, n: number) => ({
    name,
    kind: 'lab' as const,
    address: `10.0.0.${n}`,
    root: '',
  });
  return {
    director,
    cluster: {
      name: 'c',
      file: '/c.yaml',
      folder: '/',
      home: '/h',
      network: { cidr: '10.0.0.0/24', prefix: 24, machine: '10.0.0.254' },
      hosts: { lb1: host('lb1', 11), h1: host('h1', 12) },
      services: { front: director, jobs },
      secrets: {},
      releases: {},
    },
  };
}

const listens = (listen: object[]) => {
  const made = cluster(listen);
  return listensOf(made.director, made.cluster, () => engine).map(({ servers, check }) => [
    servers.map((server) => [server.port, server.checkPort]),
    check,
  ]);
};
const problems = (listen: object[]) => {
  const made = cluster(listen);
  return directorRules(() => engine)(made.director, made.cluster);
};

describe('a service with several ports', () => {
  it('is reached at the one for clients, with its own check', () => {
    expect(listens([{ port: 5672, to: 'jobs' }])).toEqual([[[[5672, 5672]], broker]]);
  });
  it('and at a named one, with the check of that port', () => {
    expect(listens([{ port: 80, to: 'jobs', at: 'management' }])).toEqual([[[[15_672, 15_672]], page]]);
  });
  it('a name that it has not is a mistake, and the nearest is offered', () => {
    expect(problems([{ port: 80, to: 'jobs', at: 'managment' }])).toMatchObject([
      {
        path: ['services', 'front', 'listen', 0, 'at'],
        message: '"jobs" has no port called "managment"',
        hint: expect.stringContaining('management'),
      },
    ]);
  });
  it('with dr, which cannot change a port, it is that port which clients must ask for', () => {
    expect(problems([{ port: 15_672, to: 'jobs', at: 'management', forward: 'dr' }])).toEqual([]);
    expect(problems([{ port: 5672, to: 'jobs', at: 'management', forward: 'dr' }])[0]?.message).toContain(
      'jobs listens on 15672',
    );
  });
});
