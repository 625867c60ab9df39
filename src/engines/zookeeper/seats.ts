import type { Cluster, Service } from '../../file/cluster.ts';
import type { Server } from './ensemble.ts';
import type { ZooKeeperSpec } from './schema.ts';

export type ZooKeeperService = Service<ZooKeeperSpec>;

/** One server of the ensemble as the file has it. */
export interface Seat extends Server {
  /** Member name: locks@data1 */
  name: string;
  host: string;
}

export const memberName = (service: { name: string }, host: string): string => `${service.name}@${host}`;

/** The servers that the file asks for, voters first. */
export function seatsOf(service: ZooKeeperService, cluster: Cluster): Seat[] {
  const { spec } = service;
  return [...service.hosts, ...spec.observers].map((host, i) => ({
    name: memberName(service, host),
    host,
    id: cluster.ids?.[`${service.name}/${host}`] ?? 0,
    role: i < service.hosts.length ? 'participant' : 'observer',
    address: cluster.hosts[host]!.address,
    peerPort: spec.peerPort,
    electionPort: spec.electionPort,
    port: spec.port,
  }));
}

/** Hosts that once had a member and that the file no longer has here, as far as the cluster still knows them: data may be there. */
export function formerSeats(
  service: ZooKeeperService,
  cluster: Cluster,
): { name: string; host: string; id: number }[] {
  const own = `${service.name}/`;
  const now = new Set([...service.hosts, ...service.spec.observers]);
  return Object.entries(cluster.ids ?? {}).flatMap(([key, id]) => {
    const host = key.slice(own.length);
    const known = host in cluster.hosts || host in (cluster.former ?? {});
    return key.startsWith(own) && known && !now.has(host)
      ? [{ name: memberName(service, host), host, id }]
      : [];
  });
}

/** The host whose server has, or had, that number; undefined when it is none of ours. */
export function hostOf(service: { name: string }, cluster: Cluster, id: number): string | undefined {
  const own = `${service.name}/`;
  const found = Object.entries(cluster.ids ?? {}).find(([name, kept]) => kept === id && name.startsWith(own));
  return found?.[0].slice(own.length);
}
