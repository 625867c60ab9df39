import { expect, test } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Engine, Member } from '../engine.ts';
import { directorMembers } from './members.ts';
import { type DirectorSpec, schema } from './schema.ts';
import { directorWays } from './ways.ts';

const engine = {
  members: () => [{ name: 'web@h3', host: 'h3', ports: [{ proto: 'tcp', port: 80 }] } as Member],
} as unknown as Engine;

/** Two hosts with these director services, in this order, before a third's real server and a fourth's. */
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
    api: { name: 'api', type: 'app', hosts: ['h3', 'h4'], uses: [], spec: {} },
  };
  for (const [name, spec] of Object.entries(directors))
    services[name] = {
      name,
      type: 'director',
      hosts: ['h1', 'h2'],
      uses: [],
      spec: schema.parse({ listen: [{ port: 80, to: 'web', forward: 'fullnat' }], ...spec }),
    };
  const hosts = { h1: host(1), h2: host(2), h3: host(3), h4: host(4) };
  return { name: 'c', hosts, services, secrets: {} } as unknown as Cluster;
}

/** A file of a director's member on a host. */
function file(of: Cluster, service: string, part: string, host: string): string | undefined {
  const members = directorMembers(of.services[service] as Service<DirectorSpec>, of, () => engine);
  const member = members.find((one) => one.part === part && one.host === host);
  const name = `${part === 'vrrp' ? 'keepalived' : part}.conf`;
  return member?.files.find(({ path }) => path === name)?.content;
}

test('adverts to the other directors only are of the family of the VIPs that they name', () => {
  const speaks = (...vip: string[]) =>
    file(cluster({ front: { vip, unicast: true } }), 'front', 'vrrp', 'h1')!.match(
      /unicast_src_ip (\S+)\n {2}unicast_peer \{\n {4}(\S+)\n/,
    )!;
  expect(speaks('fd00::100').slice(1)).toEqual(['fd00::1', 'fd00::2']);
  expect(speaks('10.0.0.100', 'fd00::100').slice(1)).toEqual(['10.0.0.1', '10.0.0.2']);
});

test('directors by fullnat on one pair of hosts do not speak to each other’s conntrackd, nor of the same servers', () => {
  const to = (name: string) => ({ port: 80, to: name, forward: 'fullnat' });
  const of = cluster({
    direct: { vip: '10.0.0.99', listen: [{ port: 80, to: 'web', forward: 'dr' }] },
    front: { vip: '10.0.0.100' },
    second: { vip: '10.0.0.101', listen: [to('api')] },
    third: { vip: '10.0.0.102', listen: [to('web')] },
  });
  const told = (service: string) => {
    const text = file(of, service, 'conntrackd', 'h1');
    return {
      port: text && /^ +Port (\d+)$/m.exec(text)![1],
      servers: text && /Address Accept \{\n([^}]*)\}/.exec(text)![1]!.match(/\S+$/gm),
      own: text?.match(/^ +(?:LockFile|Path) \/r\/members\/(\S+)\/conntrackd/gm),
      spoken: directorWays(of.services[service] as Service<DirectorSpec>, of).flatMap(({ name, port }) =>
        name === `UDP ${port}` ? `${port}` : [],
      ),
    };
  };
  const own = (service: string) =>
    ['  LockFile', '    Path'].map((word) => `${word} /r/members/${service}.conntrackd@h1/conntrackd`);
  expect(told('front')).toEqual({
    port: '3781',
    servers: ['10.0.0.3', 'fd00::3'],
    own: own('front'),
    spoken: ['3781'],
  });
  expect(told('second')).toEqual({
    port: '3782',
    servers: ['10.0.0.4', 'fd00::4'],
    own: own('second'),
    spoken: ['3782'],
  });
  // All of its flows are told of by the first one's.
  for (const service of ['direct', 'third'])
    expect(told(service)).toEqual({ port: undefined, servers: undefined, own: undefined, spoken: [] });
});
