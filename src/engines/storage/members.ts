import type { Cluster } from '../../file/cluster.ts';
import type { HostSetting, Member } from '../engine.ts';
import {
  managementPort,
  memberName,
  mountHosts,
  mountName,
  mountPoint,
  type StorageService,
  uuidOf,
} from './seats.ts';
import {
  answerTest,
  commandScript,
  guardScript,
  mountedTest,
  mountScript,
  noGeoReplication,
  serverScript,
  unmountScript,
  volumeFile,
} from './start.ts';

/** A glusterd with its brick on each data host, a mount on each host of a service that uses it. */
export function storageMembers(service: StorageService, cluster: Cluster): Member[] {
  return [
    ...service.hosts.map((host) => server(service, cluster, host)),
    ...mountHosts(service, cluster).map((host) => mount(service, cluster, host)),
  ];
}

function server(service: StorageService, cluster: Cluster, host: string): Member {
  const peers = service.hosts
    .filter((other) => other !== host)
    .map((other) => `${uuidOf(service, cluster, other)} ${cluster.hosts[other]!.address}\n`);
  return {
    name: memberName(service, host),
    service: service.name,
    host,
    kind: 'brick',
    command: './start',
    env: {},
    files: [
      {
        path: 'start',
        content: serverScript(service, cluster, host),
        mode: 0o755,
        onChange: 'restart',
      },
      { path: 'glusterd.vol', content: volumeFile(service), mode: 0o644, onChange: 'restart' },
      { path: 'gsyncd', content: noGeoReplication, mode: 0o755, onChange: 'restart' },
      // Only for one that starts without state: later glusterd itself knows.
      { path: 'peers', content: peers.join(''), mode: 0o644, onChange: 'nothing' },
      { path: 'gluster', content: commandScript, mode: 0o755, onChange: 'nothing' },
    ],
    limits: {},
    ports: [{ proto: 'tcp', port: managementPort }],
    stop: { signal: 'TERM', timeoutMs: 10_000 },
    data: ['data'],
    // Bricks keep attributes that only root may write (trusted.*), and the files' owners.
    user: 'root',
  };
}

function mount(service: StorageService, cluster: Cluster, host: string): Member {
  const at = mountPoint(service, cluster);
  const servers = service.hosts.map((other) => `${cluster.hosts[other]!.address}\n`).join('');
  return {
    name: mountName(service, host),
    service: service.name,
    host,
    part: 'mount',
    kind: 'mount',
    command: './start',
    env: {},
    files: [
      { path: 'start', content: mountScript(service, cluster, host), mode: 0o755, onChange: 'restart' },
      // Only to begin with: a mount that runs is told of every change by glusterd, and must not go from under an app.
      { path: 'servers', content: servers, mode: 0o644, onChange: 'nothing' },
    ],
    limits: {},
    ports: [],
    stop: { signal: 'TERM', timeoutMs: 10_000 },
    ready: {
      check: {
        kind: 'script',
        command: `${mountedTest(at)} && ${answerTest(at)}`,
        intervalMs: 50,
        timeoutMs: 5_000,
        rise: 1,
        fall: 1,
      },
      port: managementPort,
      timeoutMs: 60_000,
    },
    data: [],
    user: 'root',
  };
}

/** What takes the mount away when it leaves its host. */
export function storageSettings(service: StorageService, cluster: Cluster): HostSetting[] {
  const at = mountPoint(service, cluster);
  return mountHosts(service, cluster).map((host) => ({
    host,
    service: service.name,
    title: `${at} for ${service.name}`,
    check: `grep -qs ' ${at} tmpfs ' /proc/mounts`,
    apply: guardScript(service, cluster),
    undo: unmountScript(service, cluster),
  }));
}
