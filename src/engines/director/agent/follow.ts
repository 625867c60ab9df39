import { approximate, dynamicWeights } from '../slots/dynamic.ts';
import type { Connections, Listen, PlaneName, ServerState, Table } from '../tables.ts';

/** Whether the agent must refresh a listen's weights from its connections: nftables cannot look, haproxy and ipvs do so themselves. */
export function follows(listen: Listen, plane: PlaneName | undefined): boolean {
  return plane === 'nftables' && approximate(listen.scheduler);
}

/** The table with weights that make a plane without its scheduler behave nearly like it. `counts` are by 'listen server'. */
export function followed({ listen, servers }: Table, counts: ReadonlyMap<string, Connections>): Table {
  const main = servers.filter((state) => !state.sorry);
  const loads = main.map(({ server, weight, up }) => {
    const count = counts.get(`${listen.name} ${server.name}`);
    return { name: server.name, weight, up, active: count?.active ?? 0, inactive: count?.inactive ?? 0 };
  });
  const weights = dynamicWeights(listen.scheduler, loads);
  const follow = (state: ServerState): ServerState =>
    state.sorry ? state : { ...state, weight: weights.get(state.server.name) ?? state.weight };
  return { listen, servers: servers.map(follow) };
}
