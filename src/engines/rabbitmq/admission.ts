import type { Cluster } from '../../file/cluster.ts';
import { forgetHint } from '../forget.ts';
import type { HostLive } from './live.ts';
import { entryOf, memberName, type RabbitService } from './names.ts';

/** How nodes without data come in: as the beginning of a cluster, or into the one that is there. */
export type Admission =
  | { how: 'begin'; seed: string; join: string[] }
  | { how: 'join'; hosts: string[]; full: string[] }
  /** A sentence: why nothing may begin, and what to do. */
  | { how: 'refuse'; why: string };

interface Found extends Pick<HostLive, 'blank' | 'admitted' | 'others' | 'nodes'> {
  snapshot?: unknown;
}

const serves = ({ nodes, snapshot }: Found): boolean => nodes !== undefined || snapshot !== undefined;
const hasData = ({ blank, admitted }: Found): boolean => blank === false || admitted === true;

/**
 * What becomes of those of `hosts` that have no data, by what was found of every host that has some of the service's or may have. A cluster
 * begins only where nobody has data, under whatever address, and everybody could be asked: otherwise all that was ever queued would be left behind. Pure.
 */
export function admission(
  service: RabbitService,
  cluster: Cluster,
  places: Record<string, Found>,
  hosts: string[],
): Admission | undefined {
  const blank = hosts.filter((host) => places[host]?.blank === true && !places[host].admitted);
  if (blank.length === 0) return undefined;
  const renamed = renamedText(service, cluster, places);
  if (renamed) return { how: 'refuse', why: renamed };
  // One that was let in before, and has no data yet, is part of it too: perhaps it is the one that begins it.
  const full = Object.keys(places).filter((host) => hasData(places[host]!));
  if (full.length > 0) return { how: 'join', hosts: blank, full };
  const unknown = Object.keys(places).filter((host) => places[host]!.blank === undefined);
  if (unknown.length > 0) return { how: 'refuse', why: unknownText(cluster, unknown) };
  const seed = service.hosts.find((host) => blank.includes(host) && !service.spec.ram.includes(host));
  if (!seed) return { how: 'refuse', why: 'no disk node is there to begin the cluster' };
  return { how: 'begin', seed, join: blank.filter((host) => host !== seed) };
}

/**
 * Why no cluster may begin beside data of nodes that had other addresses; undefined where there is none, or where a host of the service has some
 * under the address that it has now. What lies on a host that the service has left may be long forgotten. Pure.
 */
export function renamedText(
  service: RabbitService,
  cluster: Cluster,
  places: Record<string, Found>,
): string | undefined {
  const all = Object.entries(places);
  if (all.some(([host, of]) => serves(of) || (service.hosts.includes(host) && hasData(of)))) return undefined;
  const found = all.flatMap(([host, { others = [] }]) =>
    others.map((node) => `${host} has that of ${node} (${mnesiaFolder(service, cluster, host)}/${node})`),
  );
  if (found.length === 0) return undefined;
  return `the data of ${service.name} belongs to nodes with other addresses, and RabbitMQ's nodes are named by theirs: ${found.join('; ')}. Give the hosts back the addresses that they had (\`network\`, and \`address\` of each host) and run up again; or, to begin anew without that data, move these folders away`;
}

function unknownText(cluster: Cluster, unknown: string[]): string {
  const them = unknown.length === 1 ? 'it' : 'them';
  return `${unknown.join(', ')} cannot be asked whether the cluster's data is there, and no other host has any: bring ${them} back and run up again${forgetHint(cluster, unknown)}`;
}

/**
 * What to do where the data is only with nodes that the file no longer has and that do not run, as which `up` starts none; undefined
 * where it is elsewhere too. Pure.
 */
export function leftBehindText(service: RabbitService, cluster: Cluster, full: string[]): string | undefined {
  if (full.some((host) => service.hosts.includes(host))) return undefined;
  const folders = full.map((host) => mnesiaFolder(service, cluster, host));
  return `the data of ${service.name} is on ${full.join(', ')}, where the file no longer has it, and nothing runs there: put ${full.join(', ')} back under \`hosts\` and run up again, then take away one after the other what is to leave; or, to begin anew without that data, move ${folders.join(', ')} away`;
}

const mnesiaFolder = (service: RabbitService, cluster: Cluster, host: string): string =>
  `${entryOf(cluster, host).root}/members/${memberName(service, host)}/data/mnesia`;
