import { expect, it } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import { directorDoctor } from './doctor.ts';
import { type DirectorSpec, schema } from './schema.ts';

const found = (hosts: string[], servers: string[], listen: object = {}): string[] => {
  const service = {
    name: 'front',
    hosts,
    spec: schema.parse({ vip: '10.77.0.100', listen: [{ port: 80, to: 'web', ...listen }] }),
  } as unknown as Service<DirectorSpec>;
  const cluster = {
    services: { front: service, web: { name: 'web', hosts: servers } },
  } as unknown as Cluster;
  return directorDoctor(service, cluster).findings.map((one) => one.rule);
};

it('finds what has no second: a director, a real server without a sorry server', () => {
  expect(found(['lb1', 'lb2'], ['app1', 'app2'])).toEqual([]);
  expect(found(['lb1'], ['app1', 'app2'])).toEqual(['one-director']);
  expect(found(['lb1', 'lb2'], ['app1'])).toEqual(['one-real-server']);
  expect(found(['lb1', 'lb2'], ['app1'], { sorry: 'closed' })).toEqual([]);
});
