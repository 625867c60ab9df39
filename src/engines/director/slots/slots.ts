import type { Listen, Scheduler, ServerState } from '../tables.ts';
import { type Entry, maglev, tableSize } from './maglev.ts';
import { arrange, counts } from './turns.ts';

/** How a packet's slot is drawn: by a counter, by a hash that both directors compute alike, or there is only one server. */
export type Draw = 'turn' | 'hash' | 'one';

export function drawOf(scheduler: Scheduler): Draw {
  if (scheduler === 'mh' || scheduler === 'sh' || scheduler === 'dh') return 'hash';
  return scheduler === 'fo' ? 'one' : 'turn';
}

/**
 * Who takes new connections now: the servers that are up and have a weight; when there is none, the sorry servers
 * that are up (a sorry server of weight 0 counts as 1: it is there to be used last).
 */
export function usable(states: readonly ServerState[]): ServerState[] {
  const normal = states.filter((state) => !state.sorry && state.up && state.weight > 0);
  if (normal.length > 0) return normal;
  return states
    .filter((state) => state.sorry && state.up)
    .map((state) => (state.weight > 0 ? state : { ...state, weight: 1 }));
}

/**
 * The slot table of a virtual service: marks, in which every usable server has its share; [] when there is none.
 * `states` are the servers that this address family can reach; `current` is what is there and is kept as far as may be.
 */
export function slotTable(
  listen: Listen,
  states: readonly ServerState[],
  markOf: (state: ServerState) => number,
  current: readonly number[],
): number[] {
  const open = usable(states);
  if (open.length === 0) return [];
  const draw = drawOf(listen.scheduler);
  if (draw === 'one') {
    // The highest weight; the first of the file where two are equal (ip_vs_fo.c).
    return [markOf(open.reduce((best, state) => (state.weight > best.weight ? state : best)))];
  }
  if (draw === 'hash') {
    const sorry = open[0]!.sorry;
    const chosen = new Set(open.map((state) => state.server.name));
    const entries: Entry[] = states
      .filter((state) => state.sorry === sorry)
      .map((state) => ({
        name: state.server.name,
        mark: markOf(state),
        weight:
          state.weight > 0
            ? state.weight
            : state.server.weight > 0 || !chosen.has(state.server.name)
              ? state.server.weight
              : 1,
        usable: chosen.has(state.server.name),
      }));
    return maglev(entries, tableSize(entries.length));
  }
  const equal = listen.scheduler === 'rr';
  return arrange(current, counts(open.map((state) => [markOf(state), equal ? 1 : state.weight] as const)));
}
