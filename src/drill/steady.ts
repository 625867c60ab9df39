import { type Engines, type Observed, observe } from '../cluster/observe.ts';
import { wantedMembers } from '../cluster/plan.ts';
import type { Drills } from '../engines/drill.ts';
import type { Cluster } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';

/**
 * What is not as it should be in the whole cluster, a sentence each: what `status` would not call ok. A drill begins
 * only when there is nothing, and is over only when there is nothing again.
 */
export function troubles(cluster: Cluster, engines: Engines, observed: Observed): string[] {
  const hosts = Object.entries(observed.unreachable).map(([host, why]) => `${host}: ${why}`);
  const members = wantedMembers(cluster, engines)
    .filter((member) => !(member.host in observed.unreachable))
    .filter((member) => !observed.members.get(member.name)?.running)
    .map(
      (member) =>
        `${member.name}: ${observed.members.get(member.name)?.present ? 'not running' : 'not set up'}`,
    );
  const live = Object.values(cluster.services).flatMap((service) =>
    (engines[service.type]!.status?.(service, cluster, observed.live[service.name]) ?? [])
      .filter((row) => row.health !== 'ok')
      .map((row) => `${service.name} ${row.name}: ${row.why ?? row.health}`),
  );
  return [...hosts, ...members, ...live];
}

/** Why the drilled service is not whole, as far as only its drills know. */
export const unwhole = (drills: Drills, live: unknown): string[] => [
  ...drills.unserved(live),
  ...(drills.unfinished?.(live) ?? []),
];

export async function troublesNow(
  cluster: Cluster,
  engines: Engines,
  reach: Reach,
): Promise<{ observed: Observed; troubles: string[] }> {
  const observed = await observe(cluster, engines, reach);
  return { observed, troubles: troubles(cluster, engines, observed) };
}
