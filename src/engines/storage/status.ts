import type { Cluster } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import type { StatusRow } from '../engine.ts';
import { brickHosts, type LiveServer, type StorageLive, strangers, strayed, volumeOf } from './live.ts';
import { majority, memberName, mountHosts, mountName, mountPoint, type StorageService } from './seats.ts';

/** Each copy and each mount; and, when most copies are away, what that means and who is missing. */
export function storageStatus(
  service: StorageService,
  cluster: Cluster,
  live: StorageLive | undefined,
): StatusRow[] {
  if (!live) return [];
  const lost = lostSentence(service, cluster, live);
  return [
    ...service.hosts.map((host) => serverRow(service, cluster, live, live.servers[host]!, lost)),
    ...mountHosts(service, cluster).map((host) => mountRow(service, cluster, live, host, lost)),
  ];
}

/** What the loss of most copies means, and who is missing; undefined while there are enough. */
export function lostSentence(
  service: StorageService,
  cluster: Cluster,
  live: StorageLive,
): string | undefined {
  const volume = volumeOf(live);
  if (volume === undefined) return undefined;
  const hosts = brickHosts(volume, cluster);
  const missing = hosts.filter((host) => !live.servers[host ?? '']?.online);
  const there = hosts.length - missing.length;
  if (there >= majority(hosts.length)) return undefined;
  const who = missing.map((host) => {
    const server = live.servers[host ?? ''];
    const alone = server?.silent === undefined && server?.volume?.quorum === false;
    const why = alone ? 'stopped its brick, cut off from the others' : server?.silent;
    return `${host ? memberName(service, host) : 'an unknown host'} ${why ?? 'has no brick running'}`;
  });
  return `quorum lost: ${there} of ${hosts.length} copies are there and ${majority(hosts.length)} are needed: reads and writes are refused (${who.join('; ')})`;
}

function serverRow(
  service: StorageService,
  cluster: Cluster,
  live: StorageLive,
  server: LiveServer,
  lost: string | undefined,
): StatusRow {
  const volume = server.volume ?? volumeOf(live);
  const hosts = volume ? brickHosts(volume, cluster) : [];
  const arbiter = volume?.arbiter === true && hosts.at(-1) === server.host;
  const { disk } = server;
  const row = {
    service: service.name,
    name: memberName(service, server.host),
    host: server.host,
    role: arbiter ? 'arbiter' : 'copy',
    facts: {
      ...(service.hosts.length > 1 && server.silent === undefined
        ? { peers: `${server.peers.length}/${service.hosts.length - 1}` }
        : {}),
      ...(disk && server.silent === undefined ? { 'to heal': String(disk.pending) } : {}),
      ...(disk?.free === undefined || arbiter ? {} : { free: sizeText(rounded(disk.free)) }),
    },
  };
  if (server.silent !== undefined) return { ...row, health: 'down', why: server.silent };
  if (lost) return { ...row, health: 'down', why: lost };
  if (!volume) return { ...row, health: 'degraded', why: 'there is no volume yet: phalanx up' };
  if (!hosts.includes(server.host))
    return { ...row, health: 'degraded', why: 'the volume has no copy here yet: phalanx up' };
  if (disk?.brick === false)
    return { ...row, health: 'down', why: 'its copy is gone (an empty disk?): phalanx up copies it anew' };
  if (!server.online) return { ...row, health: 'down', why: 'its brick does not run: phalanx up' };
  if (live.splitBrain)
    return {
      ...row,
      health: 'degraded',
      why: `${live.splitBrain} entries in split brain: no copy is better than the others (docs/storage.md)`,
    };
  if (disk && disk.pending > 0)
    return { ...row, health: 'degraded', why: `${disk.pending} entries here that another copy lacks yet` };
  const left = strangers(service, cluster, { ...live, servers: { [server.host]: server } });
  if (left.length > 0)
    return {
      ...row,
      health: 'degraded',
      why: `${left.join(', ')} left, and counts for the quorum as long as the pool has it: phalanx up`,
    };
  return { ...row, health: 'ok' };
}

function mountRow(
  service: StorageService,
  cluster: Cluster,
  live: StorageLive,
  host: string,
  lost: string | undefined,
): StatusRow {
  const mount = live.mounts[host]!;
  const astray = strayed(live, host);
  const there = mount.bricks.filter(({ connected }) => connected).length;
  const row = {
    service: service.name,
    name: mountName(service, mount.host),
    host: mount.host,
    role: 'mount',
    facts: {
      at: mountPoint(service, cluster),
      ...(mount.bricks.length > 0 ? { copies: `${there}/${mount.bricks.length}` } : {}),
    },
  };
  if (mount.broken !== undefined) return { ...row, health: 'down', why: lost ?? mount.broken };
  if (mount.bricks.length > 0 && there < majority(mount.bricks.length))
    return {
      ...row,
      health: 'down',
      why: lost ?? `it reaches ${there} of ${mount.bricks.length} copies: its reads and writes are refused`,
    };
  if (astray) return { ...row, health: 'degraded', why: `${astray}: phalanx up` };
  if (there < mount.bricks.length)
    return { ...row, health: 'degraded', why: `it reaches ${there} of ${mount.bricks.length} copies` };
  return { ...row, health: 'ok' };
}

/** To two figures: free space is no exact number. */
function rounded(bytes: number): number {
  const unit = 2 ** (10 * Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return Math.round(bytes / unit) * unit;
}
