import type { Cluster, HostEntry, Service } from '../../file/cluster.ts';
import type { RedisSpec } from './schema.ts';

/** Where one process of the service sits. */
export interface Seat {
  /** Member name: cart@data1, its second member on the host cart.2@data1, a sentinel cart.sentinel@data1. */
  name: string;
  part?: string;
  host: string;
  address: string;
  port: number;
}

export type RedisService = Service<RedisSpec>;

export const shardsOf = (spec: RedisSpec): number => (spec.mode === 'cluster' ? (spec.shards ?? 3) : 1);

/** Replicas that each master is to have. */
export function replicasOf(service: RedisService): number {
  const { spec } = service;
  return spec.replicas ?? (spec.mode === 'cluster' ? 1 : Math.max(service.hosts.length - 1, 1));
}

/** Replicas in touch that a master needs to accept writes. */
export function minReplicasOf(service: RedisService): number {
  return service.spec.minReplicas ?? (replicasOf(service) >= 2 ? 1 : 0);
}

/** Sentinels that the service is to have; odd by default, because an even one adds no host that may be lost. */
export function sentinelsOf(service: RedisService): number {
  if (service.spec.mode !== 'sentinel') return 0;
  const hosts = service.hosts.length;
  return service.spec.sentinels ?? Math.max(3, hosts % 2 === 0 ? hosts - 1 : hosts);
}

export const quorumOf = (service: RedisService): number =>
  service.spec.quorum ?? Math.floor(sentinelsOf(service) / 2) + 1;

/**
 * The data members: dealt to the hosts in turn, so that a larger number only adds members and moves none, and the
 * nth on a host keeps its name and port whatever the number. Who of them is master is not said here: Redis says it.
 */
export function seatsOf(service: RedisService, cluster: Cluster): Seat[] {
  const count = shardsOf(service.spec) * (1 + replicasOf(service));
  return Array.from({ length: count }, (_, i) =>
    seat(service, cluster, service.hosts[i % service.hosts.length]!, Math.floor(i / service.hosts.length)),
  );
}

function seat(service: RedisService, cluster: Cluster, host: string, nth: number): Seat {
  const part = nth === 0 ? undefined : String(nth + 1);
  return {
    name: part ? `${service.name}.${part}@${host}` : `${service.name}@${host}`,
    ...(part ? { part } : {}),
    host,
    address: entryOf(cluster, host).address,
    port: service.spec.port + nth,
  };
}

/** A host of the cluster, or one that has left the file and is not yet taken down. */
export const entryOf = (cluster: Cluster, host: string): HostEntry =>
  (cluster.hosts[host] ?? cluster.former?.[host])!;

/** The name that a member of the service at this address and port has or had; undefined when it can be none of ours. */
export function seatAt(
  service: RedisService,
  cluster: Cluster,
  address: string,
  port: number,
): Seat | undefined {
  const all = [...Object.values(cluster.hosts), ...Object.values(cluster.former ?? {})];
  const host = all.find((one) => one.address === address);
  const nth = port - service.spec.port;
  return host && nth >= 0 && nth < 100 ? seat(service, cluster, host.name, nth) : undefined;
}

export function sentinelSeatsOf(service: RedisService, cluster: Cluster): Seat[] {
  return service.hosts.slice(0, sentinelsOf(service)).map((host) => ({
    name: `${service.name}.sentinel@${host}`,
    part: 'sentinel',
    host,
    address: cluster.hosts[host]!.address,
    port: service.spec.sentinelPort,
  }));
}
