import type { Cluster, HostEntry, Service } from '../../file/cluster.ts';
import type { RabbitSpec } from './schema.ts';

export type RabbitService = Service<RabbitSpec>;

/** Erlang takes letters, digits, - and _ before the @ (net_kernel), so the service's name can stand there as it is. */
export const nodeAt = (service: string, address: string): string => `rabbit-${service}@${address}`;

export const addressOfNode = (node: string): string => node.slice(node.indexOf('@') + 1);

/** The host's entry, also of one that has left the file. */
export function entryOf(cluster: Cluster, host: string): HostEntry {
  const entry = cluster.hosts[host] ?? cluster.former?.[host];
  if (!entry) throw new Error(`${host} is not a host of cluster ${cluster.name}`);
  return entry;
}

export const nodeOf = (service: Service, cluster: Cluster, host: string): string =>
  nodeAt(service.name, entryOf(cluster, host).address);

export const memberName = (service: Service, host: string): string => `${service.name}@${host}`;

/** The host a node is on; undefined when no host of the cluster, present or former, has its address. */
export function hostOfNode(cluster: Cluster, node: string): string | undefined {
  const address = addressOfNode(node);
  const all = [...Object.values(cluster.hosts), ...Object.values(cluster.former ?? {})];
  return all.find((host) => host.address === address)?.name;
}

/** A node as a person knows it: by its host, else by its own name. */
export const nodeText = (cluster: Cluster, node: string): string => hostOfNode(cluster, node) ?? node;

export const managementPort = (spec: Pick<RabbitSpec, 'port' | 'management'>): number =>
  spec.management ?? spec.port + 10_000;

/** RabbitMQ's own rule: the distribution's port is the AMQP port + 20000. */
export const distributionPort = (spec: Pick<RabbitSpec, 'port'>): number => spec.port + 20_000;

/** The administrator that Phalanx itself uses. `guest` is never made. */
export const adminUser = 'phalanx';

/** The user that services which `use` this one are given. */
export const appUser = (service: Service): string => service.name;

/** Names of generated secrets, below the service's name. */
export const secretNames = (service: RabbitService): string[] => [
  'cookie',
  'admin',
  'password',
  ...Object.keys(service.spec.users).map((name) => `user-${name}`),
];

export const isFast = (service: RabbitService): boolean =>
  service.spec.timing === undefined
    ? (service.promise?.rto ?? Number.POSITIVE_INFINITY) < 10_000
    : service.spec.timing === 'fast';
