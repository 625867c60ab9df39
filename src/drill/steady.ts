import { setTimeout as sleep } from 'node:timers/promises';
import { type Engines, type Observed, observe } from '../cluster/observe.ts';
import { wantedMembers } from '../cluster/plan.ts';
import type { Drills } from '../engines/drill.ts';
import { StepFailed } from '../engines/engine.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import type { World } from './run.ts';

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

/**
 * How the service is drilled now (undefined: it cannot be), and what is not as it should be; waits for that to become nothing, for at most
 * so many milliseconds or until the drill is interrupted.
 */
export async function steady(
  { cluster, engines, reach, say, signal }: World,
  service: Service,
  waitMs: number,
): Promise<{ drills: Drills | undefined; before: string[] }> {
  const deadline = performance.now() + waitMs;
  let said = '';
  for (;;) {
    const { observed, troubles } = await troublesNow(cluster, engines, reach);
    const live = observed.live[service.name];
    const found = await engines[service.type]!.drills!(service, cluster, reach, live).catch(
      (error: Error) => error,
    );
    if (found instanceof Error && !(found instanceof StepFailed)) throw found;
    const drills = found instanceof Error ? undefined : found;
    const before = [...troubles, ...(found instanceof Error ? [found.message] : unwhole(found, live))];
    if (before.length === 0 || performance.now() > deadline || signal.aborted) return { drills, before };
    if (before[0] !== said) say(`waiting until the cluster is steady: ${before[0]}`);
    said = before[0]!;
    await sleep(200);
  }
}
