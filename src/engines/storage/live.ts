import type { Cluster } from '../../file/cluster.ts';
import { hostAt, mountHosts, type StorageService, uuidOf } from './seats.ts';
import { timingOf } from './timing.ts';

/** A data host as it was found. */
export interface LiveServer {
  host: string;
  /** Why its glusterd does not answer; absent: it does. */
  silent?: string;
  /** UUIDs of the peers that its glusterd is connected to, and that are full members of the pool. */
  peers: string[];
  /** UUIDs of all others of the pool, whether they are there or not: each counts for the quorum of glusterds. Absent: it does not answer. */
  pool?: string[];
  /** The volume, as its glusterd knows it. */
  volume?: LiveVolume;
  /** Its own brick's process runs. */
  online: boolean;
  /** What lies on its disk; absent when the host does not answer. */
  disk?: {
    /** The brick's folder holds a copy. */
    brick: boolean;
    /** Entries that this copy knows another one to lack. */
    pending: number;
    /** Bytes free. */
    free?: number;
  };
}

/** The volume as a glusterd knows it. */
export interface LiveVolume {
  started: boolean;
  /** Bricks as gluster names them, ADDRESS:/folder, in its order. */
  bricks: string[];
  arbiter: boolean;
  options: Record<string, string>;
  /** Enough glusterds see each other; without that each stops its own brick. */
  quorum: boolean;
}

/** A mount as it was found on its host. */
export interface LiveMount {
  host: string;
  /** Why it cannot be used; absent: it is there and answers. */
  broken?: string;
  /** Its host does not answer. */
  away?: boolean;
  /** The bricks as this client knows them, in its volume's order; empty when it cannot tell. */
  bricks: { address: string; connected: boolean }[];
}

/** The storage as it was found: the file's hosts, and those that the volume still has a copy on. */
export interface StorageLive {
  /** By host. */
  servers: Record<string, LiveServer>;
  mounts: Record<string, LiveMount>;
  /** Entries of which no copy is better than the other; absent when there was no cause to ask, or no answer. */
  splitBrain?: number;
}

export const answering = (live: StorageLive): LiveServer[] =>
  Object.values(live.servers).filter(({ silent }) => silent === undefined);

/** The volume as the best connected glusterd knows it. */
export function volumeOf(live: StorageLive): LiveVolume | undefined {
  return answering(live)
    .filter(({ volume }) => volume !== undefined)
    .sort((a, b) => b.peers.length - a.peers.length)[0]?.volume;
}

const addressOf = (brick: string): string => brick.slice(0, brick.indexOf(':/'));

/** Hosts whose bricks the volume has, in its order; undefined for an address that is nobody's. */
export const brickHosts = (volume: LiveVolume, cluster: Cluster): (string | undefined)[] =>
  volume.bricks.map((brick) => hostAt(cluster, addressOf(brick))?.name);

/**
 * Why the mount has to be made anew to be whole again; undefined when it need not. GlusterFS's client asks the servers that it knows one after the
 * other for the volume, and stays with the last of its list (glusterfsd-mgmt.c, "Exhausted all volfile servers"): when that one is dead for
 * good, no change of the volume ever reaches it.
 */
export function strayed(live: StorageLive, host: string): string | undefined {
  const volume = volumeOf(live);
  const mount = live.mounts[host];
  if (volume === undefined || mount === undefined || mount.away) return undefined;
  const real = volume.bricks.map(addressOf);
  const gone = mount.bricks.map(({ address }) => address).filter((address) => !real.includes(address));
  if (gone.length > 0) return `it follows a copy at ${gone.join(', ')}, which the volume has no more`;
  if (mount.bricks.length > 0 && mount.bricks.length < real.length)
    return `it knows ${mount.bricks.length} of ${real.length} copies`;
  const there = Object.values(live.servers).filter(({ online }) => online).length;
  return mount.broken !== undefined && there * 2 > real.length ? `it is broken: ${mount.broken}` : undefined;
}

export const pendingOf = (live: StorageLive): number =>
  Math.max(0, ...Object.values(live.servers).map(({ disk }) => disk?.pending ?? 0));

/** The file's hosts that the volume has, that answer, and whose folder holds no copy: a new disk, or an emptied one. */
export function lostBricks(service: StorageService, cluster: Cluster, live: StorageLive): string[] {
  const volume = volumeOf(live);
  if (volume === undefined) return [];
  return brickHosts(volume, cluster).flatMap((host) =>
    host !== undefined && service.hosts.includes(host) && live.servers[host]?.disk?.brick === false
      ? [host]
      : [],
  );
}

/**
 * The options that a volume of these bricks is to have: of the copies that there are, not of those that the file asks for. While the one waits for the other, as
 * a reshape that holds does, copies keep what they need to be safe.
 */
export function wantedOptions(
  service: StorageService,
  cluster: Cluster,
  bricks: string[],
): Record<string, string> {
  const timing = timingOf(service);
  const hosts = [...service.hosts, ...mountHosts(service, cluster)].map(
    (host) => cluster.hosts[host]!.address,
  );
  const allowed = [...new Set([...hosts, ...bricks.map(addressOf)])].sort();
  return {
    // A write needs more than half of the copies, and a copy that is cut off from the others takes none.
    'cluster.quorum-type': 'auto',
    'cluster.server-quorum-type': bricks.length > 1 ? 'server' : 'none',
    'network.ping-timeout': String(timing.pingTimeout),
    'cluster.heal-timeout': String(timing.healTimeout),
    'auth.allow': allowed.join(','),
    'diagnostics.brick-log-level': 'WARNING',
    'diagnostics.client-log-level': 'WARNING',
  };
}

/** Those of the wanted options that the volume has not. */
export function differingOptions(
  service: StorageService,
  cluster: Cluster,
  volume: LiveVolume,
): [string, string][] {
  return Object.entries(wantedOptions(service, cluster, volume.bricks)).filter(
    ([name, value]) => volume.options[name] !== value,
  );
}

/** The bricks' hosts and the file's: which are in both, which have to come, which have to go. */
export function difference(
  service: StorageService,
  cluster: Cluster,
  volume: LiveVolume,
): { coming: string[]; going: string[] } {
  const now = brickHosts(volume, cluster);
  return {
    coming: service.hosts.filter((host) => !now.includes(host)),
    going: volume.bricks.filter((_, i) => !service.hosts.includes(now[i] ?? '')),
  };
}

/**
 * Who is still in the pool of the file's hosts and not on them any more, by host where the cluster knows it. Dead or stopped, each of them counts for the
 * quorum of glusterds: with one of four gone the loss of one more stops all bricks.
 */
export function strangers(service: StorageService, cluster: Cluster, live: StorageLive): string[] {
  const own = service.hosts.map((host) => uuidOf(service, cluster, host));
  const pools = service.hosts.flatMap((host) => live.servers[host]?.pool ?? []);
  const all = Object.keys({ ...cluster.former, ...cluster.hosts });
  return [...new Set(pools)]
    .filter((uuid) => !own.includes(uuid))
    .map((uuid) => all.find((host) => uuidOf(service, cluster, host) === uuid) ?? `the glusterd ${uuid}`);
}

/** Every glusterd of the file answers and is connected to every other; says who is not. */
export function notYetTogether(
  service: StorageService,
  cluster: Cluster,
  live: StorageLive,
  hosts = service.hosts,
): string | undefined {
  for (const host of hosts) {
    const server = live.servers[host];
    if (server === undefined || server.silent !== undefined)
      return `${service.name}@${host}: ${server?.silent ?? 'not looked at'}`;
    const missing = hosts.find(
      (other) => other !== host && !server.peers.includes(uuidOf(service, cluster, other)),
    );
    if (missing !== undefined) return `${service.name}@${host} is not connected to ${missing}`;
  }
  return undefined;
}

/** Entries to be healed, in words; undefined when there are none. */
export function healSentence(live: StorageLive): string | undefined {
  const pending = pendingOf(live);
  return pending === 0 ? undefined : `${pending} entries to heal`;
}
