import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
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

/**
 * What the uplink's ifalias says, so that no name alone makes an interface ours: the cluster, and where its state lies, for a cluster of this name may stand on
 * this machine from another PHALANX_HOME. One word, in which neither the shell nor ip(8) finds anything to read.
 */
export function uplinkAlias({ name, home }: Pick<Cluster, 'name' | 'home'>): string {
  const word = encodeURIComponent(realPath(home)).replaceAll('%2F', '/');
  const alias = `phalanx ${name} ${word}`;
  // IFALIASZ is 256, with the NUL.
  if (alias.length < 256) return alias;
  return `phalanx ${name} sha256:${createHash('sha256').update(word).digest('hex')}`;
}

/** What it said before homes were told of: such a lab is taken for ours. */
export const formerAlias = ({ name }: Pick<Cluster, 'name'>): string => `phalanx ${name}`;

/** Whose an uplink with this ifalias is; undefined for what is no uplink of a lab. */
export function readAlias(alias: string | undefined): { cluster: string; home?: string } | undefined {
  const [, cluster, home] = /^phalanx ([a-z][a-z0-9-]*)(?: (\S+))?$/.exec(alias ?? '') ?? [];
  if (cluster === undefined) return undefined;
  return { cluster, ...(home === undefined ? {} : { home: decoded(home) }) };
}

function decoded(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

/** The same for every way to write it, whether it is there yet or not. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const whole = resolve(path);
    return whole === '/' ? whole : join(realPath(dirname(whole)), basename(whole));
  }
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
