import { createHash } from 'node:crypto';
import type { Cluster } from '../../file/cluster.ts';

/*
 * What the kernel's objects of a lab are called. Cluster and host names are [a-z][a-z0-9-]*, so that neither a dot nor
 * an underscore can be part of one: names made with them are ambiguous with none of the user's.
 */

/** The network namespace that holds the cluster's bridge. */
export function switchNamespace(cluster: string): string {
  return `phalanx.${cluster}`;
}

/** The network namespace that is a host's. */
export function hostNamespace(cluster: string, host: string): string {
  return `phalanx.${cluster}.${host}`;
}

/** The one interface that the machine itself sees of a cluster: at most 15 characters, as IFNAMSIZ asks. */
export function uplinkName(cluster: string): string {
  return `phx-${shortened(cluster, 11)}`;
}

/** What the uplink's ifalias says, so that no name alone makes an interface ours. */
export function uplinkAlias(cluster: string): string {
  return `phalanx ${cluster}`;
}

/** The bridge in the switch namespace. */
export const bridge = 'lan';

/** The uplink's other end, in the switch namespace. */
export const uplinkPort = '_machine';

/** A host's port at the switch: its own name where an interface can be called so. */
export function portName(host: string): string {
  // `all` and `default` are the kernel's own folders beside the interfaces in /proc/sys/net/ipv4/conf.
  const reserved = host === bridge || host === 'lo' || host === 'all' || host === 'default';
  return reserved ? `${host}_` : shortened(host, 15);
}

function shortened(name: string, length: number): string {
  if (name.length <= length) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 6);
  return `${name.slice(0, length - 7)}_${hash}`;
}

/** Where a lab host's files lie; also of one that is no longer in the file, or is a real machine there by now (--hosts): what the lab has of it is not where a machine has it. */
export function hostRoot(cluster: Cluster, host: string): string {
  const known = cluster.hosts[host];
  return known?.kind === 'lab' ? known.root : `${cluster.home}/hosts/${host}`;
}

/** The file that is every lab host's /etc/hosts, by a bind mount. */
export function hostsFile(cluster: Cluster): string {
  return `${cluster.home}/lab/hosts`;
}
