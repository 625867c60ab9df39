import type { Cluster } from '../../file/cluster.ts';
import { type RedisService, seatsOf } from './seats.ts';

/**
 * Who copies from whom, in mode replication, as the file says it with its first member as master: child -> parent; undefined when that
 * is a circle. Read as a tree without a direction: hung up at whoever is master now it keeps its edges, so a failover
 * along an edge leaves everybody's place as it is.
 */
export function parents(service: RedisService, cluster: Cluster): Map<string, string> | undefined {
  const names = seatsOf(service, cluster).map((seat) => seat.name);
  const { upstream, depth } = service.spec;
  const named = (child: string): string | undefined => upstream?.[child];
  const root = upstream ? (names.find((name) => named(name) === undefined) ?? names[0]!) : names[0]!;
  const result = new Map<string, string>();
  const others = names.filter((name) => name !== root);
  others.forEach((name, i) => {
    result.set(name, upstream ? (named(name) ?? root) : i % depth === 0 ? root : others[i - 1]!);
  });
  for (const name of others) {
    let at: string | undefined = name;
    for (let steps = 0; at !== undefined; steps++) {
      if (steps > names.length) return undefined;
      at = result.get(at);
    }
  }
  return result;
}

/**
 * Whom each member is to copy from while `master` is master: the tree hung up at it, and for a member whose upstream is not `alive`
 * the nearest one on the way to the master that is.
 */
export function upstreams(
  service: RedisService,
  cluster: Cluster,
  master: string,
  alive: (member: string) => boolean,
): Map<string, string> {
  const edges = new Map<string, string[]>();
  for (const [child, parent] of parents(service, cluster) ?? [])
    for (const [from, to] of [
      [child, parent],
      [parent, child],
    ] as const)
      edges.set(from, [...(edges.get(from) ?? []), to]);
  const result = new Map<string, string>();
  const queue = [master];
  const seen = new Set(queue);
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    for (const next of edges.get(name) ?? []) {
      if (seen.has(next)) continue;
      seen.add(next);
      result.set(next, name === master || alive(name) ? name : result.get(name)!);
      queue.push(next);
    }
  }
  return result;
}
