import type { Service } from '../../file/cluster.ts';
import type { DirectorLive, DirectorsLive } from './observe.ts';
import type { DirectorSpec } from './schema.ts';

/**
 * What keeps clients from being served, a sentence each. Every director that answers must be fit to own the VIP, not
 * only the one that has it: it may move in the next moment.
 */
export function notServing(service: Service<DirectorSpec>, live: DirectorsLive): string[] {
  const reasons = service.spec.vip.flatMap((vip) => {
    const owners = Object.keys(live).filter((host) => live[host]!.holds.includes(vip));
    if (owners.length === 1) return [];
    return owners.length === 0 ? [`nobody holds ${vip}`] : [`${owners.join(' and ')} both hold ${vip}`];
  });
  const answering = Object.entries(live).filter(([, found]) => found.unreachable === undefined);
  return [...reasons, ...answering.flatMap(([host, found]) => unfit(host, found))];
}

function unfit(host: string, found: DirectorLive): string[] {
  if (!found.agent) return [`the agent on ${host} does not answer`];
  if (found.agent.revision === 0) return [`the agent on ${host} has not made its tables yet`];
  return unfitListens(found).map(([listen, why]) => `${listen} on ${host}: ${why}`);
}

/** Virtual services that a director cannot serve, as its own agent sees them, each with why. */
export function unfitListens({ agent, servers }: DirectorLive): [listen: string, why: string][] {
  return Object.entries(agent?.planes ?? {}).flatMap(([listen, plane]): [string, string][] => {
    if (plane.plane === 'none' || plane.error) return [[listen, plane.error ?? plane.why]];
    const own = servers.filter((server) => server.listen === listen);
    if (own.length === 0 || own.some((server) => server.up && (server.effective > 0 || server.sorry)))
      return [];
    const why = own.some((server) => server.up)
      ? 'those that are have weight 0'
      : (own[0]!.why ?? 'not checked yet');
    return [[listen, `no real server is healthy (${why})`]];
  });
}
