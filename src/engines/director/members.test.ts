import { expect, test } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Engine, Member } from '../engine.ts';
import { directorMembers } from './members.ts';
import { type DirectorSpec, schema } from './schema.ts';

const engine = {
  members: () => [{ name: 'web@h3', host: 'h3', ports: [{ proto: 'tcp', port: 80 }] } as Member],
} as unknown as Engine;

/** Two hosts with these director services, in this order, before a third's real server. */
function cluster(directors: Record<string, object>): Cluster {
  const host = (n: number) => ({
    name: `h${n}`,
    kind: 'lab',
    address: `10.0.0.${n}`,
    address6: `fd00::${n}`,
    root: '/r',
  });
  const services: Record<string, Service> = {
    web: { name: 'web', type: 'app', hosts: ['h3'], uses: [], spec: {} },
  };
  for (const [name, spec] of Object.entries(directors))
    services[name] = {
      name,
      type: 'director',
      hosts: ['h1', 'h2'],
      uses: [],
      spec: schema.parse({ listen: [{ port: 80, to: 'web', forward: 'fullnat' }], ...spec }),
    };
  const hosts = { h1: host(1), h2: host(2), h3: host(3) };
  return { name: 'c', hosts, services, secrets: {} } as unknown as Cluster;
}

/** A file of a director's member on a host. */
function file(of: Cluster, service: string, part: string, host: string): string {
  const members = directorMembers(of.services[service] as Service<DirectorSpec>, of, () => engine);
  const member = members.find((one) => one.part === part && one.host === host)!;
  return member.files.find(({ path }) => path === `${part === 'vrrp' ? 'keepalived' : part}.conf`)!.content;
}

test('adverts to the other directors only are of the family of the VIPs that they name', () => {
  const speaks = (...vip: string[]) =>
    file(cluster({ front: { vip, unicast: true } }), 'front', 'vrrp', 'h1').match(
      /unicast_src_ip (\S+)\n {2}unicast_peer \{\n {4}(\S+)\n/,
    )!;
  expect(speaks('fd00::100').slice(1)).toEqual(['fd00::1', 'fd00::2']);
  expect(speaks('10.0.0.100', 'fd00::100').slice(1)).toEqual(['10.0.0.1', '10.0.0.2']);
});
