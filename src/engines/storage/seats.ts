import { createHash } from 'node:crypto';
import type { Cluster, HostEntry, Service } from '../../file/cluster.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import type { StorageSpec } from './schema.ts';

export type StorageService = Service<StorageSpec>;

/** The port of glusterd; its peers look for each other there, whatever it is told (GF_DEFAULT_BASE_PORT). */
export const managementPort = 24007;
/** Ports that bricks take, one a host: below the range from which the kernel gives ports to clients. */
export const brickPorts = { from: 24010, to: 24019 };

export const memberName = (service: { name: string }, host: string): string => `${service.name}@${host}`;
export const mountName = (service: { name: string }, host: string): string => `${service.name}.mount@${host}`;
export const isMount = (member: string): boolean => /^[^.@]+\.mount@/.test(member);

/** Hosts that have the directory: those of every service that uses it, in the order of the file. */
export function mountHosts(service: { name: string }, cluster: Cluster): string[] {
  const users = Object.values(cluster.services).filter(({ uses }) => uses.includes(service.name));
  return [...new Set(users.flatMap(({ hosts }) => hosts))];
}

/** Where they have it: the same path everywhere. In /run, which every host has for itself, also in the lab. */
export const mountPoint = (service: StorageService, cluster: Cluster): string =>
  service.spec.at ?? `/run/phalanx/${cluster.name}/${service.name}`;

/**
 * The identity of a host's glusterd: the same for life, also when its disk is replaced, so that the others know it again. Any UUID will
 * do; this one has the form of version 4.
 */
export function uuidOf(service: { name: string }, cluster: Cluster, host: string): string {
  const hash = createHash('sha256').update(`${cluster.name}/${service.name}/${host}`).digest('hex');
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

/** Where a host's copy lies. */
export const brickFolder = (service: { name: string }, host: HostEntry): string =>
  `${memberFolder({ name: memberName(service, host.name) }, host.root)}/data/brick`;

/** A host's copy as gluster names it. */
export const brickName = (service: { name: string }, host: HostEntry): string =>
  `${host.address}:${brickFolder(service, host)}`;

/** The host, of the file or formerly of it, that has the address of a brick. */
export function hostAt(cluster: Cluster, address: string): HostEntry | undefined {
  return [...Object.values(cluster.hosts), ...Object.values(cluster.former ?? {})].find(
    (host) => host.address === address,
  );
}

/** A host that the file has, or had. */
export const entryOf = (cluster: Cluster, host: string): HostEntry =>
  (cluster.hosts[host] ?? cluster.former?.[host])!;

/** Copies that a write needs: more than half. */
export const majority = (copies: number): number => Math.floor(copies / 2) + 1;
