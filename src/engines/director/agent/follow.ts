import type { Connections, Listen, PlaneName, Scheduler, Table } from '../tables.ts';

/** Weights by server name that make a plane without this scheduler behave nearly like it, from the connections now. */
export type Follow = (table: Table, connections: Connections[]) => Map<string, number>;

/** Schedulers that look at the connections of each server for every new one. */
const looking: ReadonlySet<Scheduler> = new Set(['lc', 'wlc', 'sed', 'nq', 'ovf', 'lblc', 'lblcr']);

/** Whether the agent must refresh weights for a listen: nftables cannot look, haproxy and ipvs do so themselves. */
export function follows(listen: Listen, plane: PlaneName): boolean {
  return plane === 'nftables' && looking.has(listen.scheduler);
}
