import type { Cluster } from '../../file/cluster.ts';
import { type RedisService, seatsOf } from './seats.ts';

/**
 * Who copies from whom, in mode replication, as the file says it with its first member as master: child -> parent; undefined when that
 * is a circle.
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
 * Whom each member is to copy from while `master` is master: the file's tree with the master and the file's first member in each other's places, so that
 * chains keep their length whoever leads. For a member whose upstream is not `alive` it is the nearest one on the way to the master that is.
 * Parents come before their children.
 */
export function upstreams(
  service: RedisService,
  cluster: Cluster,
  master: string,
  alive: (member: string) => boolean,
): Map<string, string> {
  const tree = parents(service, cluster) ?? new Map<string, string>();
  const names = seatsOf(service, cluster).map((seat) => seat.name);
  const root = names.find((name) => !tree.has(name)) ?? master;
  const trade = (name: string): string => (name === master ? root : name === root ? master : name);
  const above = (name: string): string => trade(tree.get(trade(name)) ?? root);
  const depth = (name: string): number => (name === master ? 0 : 1 + depth(above(name)));
  const result = new Map<string, string>();
  for (const name of names.filter((one) => one !== master).sort((a, b) => depth(a) - depth(b))) {
    const parent = above(name);
    result.set(name, parent === master || alive(parent) ? parent : result.get(parent)!);
  }
  return result;
}
