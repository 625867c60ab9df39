import type { Cluster, Problem } from '../../file/cluster.ts';
import { mountHosts, mountPoint, type StorageService } from './seats.ts';

/** Rules across keys and hosts that the schema cannot say. */
export function storageCheck(service: StorageService, cluster: Cluster): Problem[] {
  const { spec, hosts, name } = service;
  const problems: Problem[] = [];
  const problem = (key: string[], message: string, hint?: string): void => {
    problems.push({ path: ['services', name, ...key], message, ...(hint ? { hint } : {}) });
  };
  if (name === 'all') problem([], 'gluster takes "all" for every volume', 'call it something else');
  if (hosts.length === 2)
    problem(
      ['hosts'],
      'two copies need each other: alone, neither could know that the other has not been written to',
      'name a third host; with `arbiter: true` it keeps names only, and needs next to no disk',
    );
  else if (hosts.length > 3)
    problem(['hosts'], `${hosts.length} copies make every write wait for all of them`, 'name 3 hosts, or 1');
  if (spec.arbiter && hosts.length !== 3)
    problem(['arbiter'], 'an arbiter is the last of three hosts', 'name 3 hosts');
  const at = mountPoint(service, cluster);
  const users = mountHosts(service, cluster);
  const lab = users.find((host) => cluster.hosts[host]?.kind === 'lab');
  if (lab !== undefined && !at.startsWith('/run/'))
    problem(
      ['at'],
      `${lab} is a lab host: its disk is this machine's, and only /run is its own`,
      'name a path below /run, or leave it out; the app finds it in its environment',
    );
  for (const other of Object.values(cluster.services)) {
    if (other.type !== service.type || other.name <= name) continue;
    const shared = mountHosts(other, cluster).find((host) => users.includes(host));
    if (shared !== undefined && mountPoint(other as StorageService, cluster) === at)
      problem(['at'], `${shared} has ${other.name} there already`, 'each needs a path of its own');
  }
  return problems;
}
