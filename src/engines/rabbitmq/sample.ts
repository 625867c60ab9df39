import type { Cluster } from '../../file/cluster.ts';
import type { Definitions } from './definitions.ts';
import type { QueueView, RabbitLive, View } from './live.ts';
import { nodeAt, type RabbitService } from './names.ts';
import { schema } from './schema.ts';

/** Values for the tests of this folder: a service on hosts h1, h2, ... at 10.93.0.11, .12, ... */
export function sample(
  hosts: string[],
  spec: Record<string, unknown> = {},
  former: string[] = [],
): { service: RabbitService; cluster: Cluster } {
  const service: RabbitService = {
    name: 'jobs',
    type: 'rabbitmq',
    hosts,
    uses: [],
    spec: schema.parse(spec),
  };
  const entry = (name: string): Cluster['hosts'][string] => ({
    name,
    kind: 'lab',
    address: `10.93.0.1${name.slice(1)}`,
    root: `/root/${name}`,
  });
  const cluster: Cluster = {
    name: 'c',
    file: '/c.yaml',
    folder: '/',
    home: '/home/c',
    network: { cidr: '10.93.0.0/24', prefix: 24, machine: '10.93.0.254' },
    hosts: Object.fromEntries(hosts.map((name) => [name, entry(name)])),
    former: Object.fromEntries(former.map((name) => [name, entry(name)])),
    services: { jobs: service },
    secrets: { 'jobs/admin': 'admin-word', 'jobs/password': 'app-word', 'jobs/cookie': 'cookie-word' },
    releases: {},
  };
  return { service, cluster };
}

export const node = (host: string): string => nodeAt('jobs', `10.93.0.1${host.slice(1)}`);

export const quorum = (name: string, members: string[], online = members): QueueView => ({
  name,
  vhost: '/',
  type: 'quorum',
  durable: true,
  arguments: { 'x-queue-type': 'quorum' },
  leader: node(online[0] ?? members[0]!),
  members: members.map(node),
  online: online.map(node),
});

export const classic = (
  name: string,
  on: string,
  mirrors: string[] = [],
  more: Partial<QueueView> = {},
): QueueView => ({
  name,
  vhost: '/',
  type: 'classic',
  durable: true,
  arguments: {},
  messages: 0,
  node: node(on),
  slave_nodes: mirrors.map(node),
  synchronised_slave_nodes: mirrors.map(node),
  ...more,
});

export const nothing: Definitions = {
  users: [],
  vhosts: [{ name: '/' }],
  permissions: [],
  policies: [],
  queues: [],
  exchanges: [],
  bindings: [],
};

export const view = (
  hosts: string[],
  queues: QueueView[],
  down: string[] = [],
  definitions: Definitions = nothing,
): View => ({
  from: hosts.find((host) => !down.includes(host))!,
  nodes: hosts.map((host) => ({ name: node(host), type: 'disc', running: !down.includes(host) })),
  queues,
  definitions,
});

export const liveOf = (of: View, blank: Record<string, boolean>): RabbitLive => ({
  view: of,
  hosts: Object.fromEntries(Object.entries(blank).map(([host, is]) => [host, { blank: is }])),
});
