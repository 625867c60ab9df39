import type { Scheduler } from '../tables.ts';

/** A real server as the dynamic schedulers see it: `active` and `inactive` are connections counted a moment ago. */
export interface Load {
  name: string;
  weight: number;
  active: number;
  inactive: number;
  up: boolean;
}

/** Connections given out between two counts: a server's slots say how many of the next 128 it gets. */
const round = 128;

/** Whether the plane holds this scheduler by refreshed weights rather than exactly. */
export function approximate(scheduler: Scheduler): boolean {
  return ['lc', 'wlc', 'lblc', 'lblcr', 'sed', 'nq', 'ovf'].includes(scheduler);
}

/**
 * Slots for the next round of connections, for the schedulers that look at connection counts. The scheduler's own
 * rule is played forward for 128 arrivals from the counts given, and each server gets as many slots as it would get
 * arrivals. So it is exact at the moment of counting and errs as connections end or arrivals exceed 128 before the
 * next count; the error is that of counts one refresh interval old.
 *
 * - lc, wlc: least (active * 256 + inactive), divided by the weight for wlc (ip_vs_wlc.c). Near exact.
 * - sed: least (active + 1) / weight. Near exact.
 * - nq: an idle server first, else sed. Two arrivals in one interval may meet on a server that was idle for both.
 * - ovf: the highest weight until its active connections reach its weight, then the next (ip_vs_ovf.c). May overshoot
 *   by what arrives within one interval. All full: refuses in the kernel; here the highest weight takes them.
 * - lblc, lblcr: as wlc. Their locality is per destination address, and behind a VIP there is one destination;
 *   for transparent caches, where there are many, use plane ipvs.
 *
 * Servers down or of weight 0 get none; they are in the result with 0. Schedulers that need no counts get their weights back.
 */
export function dynamicWeights(scheduler: Scheduler, servers: readonly Load[]): Map<string, number> {
  const result = new Map<string, number>();
  for (const server of servers) result.set(server.name, 0);
  const open = servers.filter((server) => server.up && server.weight > 0);
  if (!approximate(scheduler)) {
    for (const server of open) result.set(server.name, server.weight);
    return result;
  }
  if (open.length === 0) return result;
  const size = Math.max(round, open.length);
  const heap = new Heap(open.map((server) => ({ server, given: 0, cost: cost(scheduler, server, 0) })));
  for (let k = 0; k < size; k++) {
    const least = heap.first();
    least.given++;
    least.cost = cost(scheduler, least.server, least.given);
    heap.settle();
    result.set(least.server.name, least.given);
  }
  return result;
}

/** What the next connection costs on this server after `given` more: the least is taken. */
function cost(scheduler: Scheduler, server: Load, given: number): number {
  const active = server.active + given;
  switch (scheduler) {
    case 'lc':
      return active * 256 + server.inactive;
    case 'sed':
      return (active + 1) / server.weight;
    case 'nq':
      return active === 0 ? -1 / server.weight : (active + 1) / server.weight;
    case 'ovf':
      // Room left: the highest weight; full: after all who have room.
      return active < server.weight ? -server.weight : 1e9 - server.weight;
    default:
      return (active * 256 + server.inactive) / server.weight;
  }
}

interface Candidate {
  server: Load;
  given: number;
  cost: number;
}

/** Least cost on top; equal costs in the order of the file. */
class Heap {
  private readonly items: { candidate: Candidate; order: number }[];
  constructor(candidates: Candidate[]) {
    this.items = candidates.map((candidate, order) => ({ candidate, order }));
    this.items.sort((a, b) => a.candidate.cost - b.candidate.cost || a.order - b.order);
  }
  first(): Candidate {
    return this.items[0]!.candidate;
  }
  /** Puts the first one where it now belongs. */
  settle(): void {
    const { items } = this;
    const less = (a: number, b: number) =>
      items[a]!.candidate.cost - items[b]!.candidate.cost || items[a]!.order - items[b]!.order;
    let at = 0;
    for (;;) {
      let smallest = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < items.length && less(child, smallest) < 0) smallest = child;
      }
      if (smallest === at) return;
      [items[at], items[smallest]] = [items[smallest]!, items[at]!];
      at = smallest;
    }
  }
}
