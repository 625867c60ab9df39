import type { Cluster, Service } from '../../file/cluster.ts';
import type { KafkaSpec } from './schema.ts';

export type KafkaService = Service<KafkaSpec>;

/** One process of the cluster as the file has it. */
export interface Seat {
  /** Member name: events@data1, or events.controller@ctl1 */
  name: string;
  host: string;
  /** node.id, for life. */
  id: number;
  address: string;
  broker: boolean;
  controller: boolean;
}

const controllerPart = 'controller';

export const memberName = (service: { name: string }, host: string, part?: string): string =>
  part ? `${service.name}.${part}@${host}` : `${service.name}@${host}`;

/** Names that need a number for life: a separate controller on a broker's host is a node of its own. */
export const idNames = ({ hosts, spec }: KafkaService): string[] => [
  ...hosts,
  ...spec.controllers.map((host) => `${controllerPart}.${host}`),
];

/** Brokers of the file that are controllers as well: an odd number, so that none is there for nothing. */
function combined({ hosts, spec }: KafkaService): string[] {
  if (spec.controllers.length > 0 || spec.metadata !== undefined) return [];
  return hosts.slice(0, hosts.length >= 3 ? 3 : 1);
}

/** Which Kafka the service runs; a tarball's name says it as well. */
export const versionOf = ({ spec }: KafkaService): string =>
  /kafka_[\d.]+-(\d+\.\d+\.\d+)\.t/.exec(spec.tarball ?? '')?.[1] ??
  spec.version ??
  (spec.metadata === undefined ? '4.3.1' : '3.9.1');

/** The processes that the file asks for, brokers first. */
export function seatsOf(service: KafkaService, cluster: Cluster): Seat[] {
  const both = combined(service);
  const idOf = (name: string): number => cluster.ids?.[`${service.name}/${name}`] ?? 0;
  const brokers = service.hosts.map((host) => ({
    name: memberName(service, host),
    host,
    id: idOf(host),
    address: cluster.hosts[host]!.address,
    broker: true,
    controller: both.includes(host),
  }));
  const controllers = service.spec.controllers
    .filter((host) => host in cluster.hosts)
    .map((host) => ({
      name: memberName(service, host, controllerPart),
      host,
      id: idOf(`${controllerPart}.${host}`),
      address: cluster.hosts[host]!.address,
      broker: false,
      controller: true,
    }));
  return [...brokers, ...controllers];
}

/** A process that has, or had, a node id, whether the file still has it or not. */
export type Node = Pick<Seat, 'name' | 'host' | 'id' | 'broker'>;

function nodesOf(service: KafkaService, cluster: Cluster): Node[] {
  const own = `${service.name}/`;
  return Object.entries(cluster.ids ?? {}).flatMap(([key, id]) => {
    if (!key.startsWith(own)) return [];
    const rest = key.slice(own.length);
    const host = rest.startsWith(`${controllerPart}.`) ? rest.slice(controllerPart.length + 1) : rest;
    const broker = host === rest;
    return [{ name: memberName(service, host, broker ? undefined : controllerPart), host, id, broker }];
  });
}

/** The process that has, or had, that node id; undefined when it is none of ours. */
export const nodeOf = (service: KafkaService, cluster: Cluster, id: number): Node | undefined =>
  nodesOf(service, cluster).find((node) => node.id === id);

/** Processes that the file no longer has, on hosts that the cluster still knows: data may be there. */
export function formerNodes(service: KafkaService, cluster: Cluster): Node[] {
  const now = new Set(seatsOf(service, cluster).map(({ name }) => name));
  const known = (host: string): boolean => host in cluster.hosts || host in (cluster.former ?? {});
  return nodesOf(service, cluster).filter(({ name, host }) => !now.has(name) && known(host));
}

/** Copies of a partition when nothing else is said, and how many of them must have a record. */
export function copies(
  service: KafkaService,
  replication?: number,
): { replication: number; minInsync: number } {
  const count = replication ?? Math.min(3, service.hosts.length);
  return { replication: count, minInsync: Math.min(2, count) };
}
