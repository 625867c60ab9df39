import type { Cluster, Service } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { type BasePlan, type EngineAction, type Step, StepFailed } from '../engine.ts';
import { rolling } from '../rolling.ts';
import { type DirectorsLive, observeDirectors } from './observe.ts';
import type { DirectorSpec } from './schema.ts';
import { undrainStep } from './turn.ts';

/**
 * Directors change one host after the other, the VIP's owner last, so that it moves at most once; at the end the
 * plan waits until clients are really served. A drain that an interrupted change left behind is taken back.
 */
export function planDirectors(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  live: DirectorsLive | undefined,
  base: BasePlan,
): Step[] {
  const ownsVip = (host: string): number => (live?.[host]?.holds.length ? 1 : 0);
  const members = [...base.members].sort((a, b) => ownsVip(a.host) - ownsVip(b.host));
  const steps = rolling({ ...base, members });
  for (const [host, found] of Object.entries(live ?? {})) {
    const drained = new Set(
      found.servers.filter((server) => server.override === 'drain').map((server) => server.server),
    );
    for (const server of drained)
      steps.push(undrainStep(service, cluster, host, server, 'left out by a change that was cut short'));
  }
  const serving = Object.values(live ?? {}).some((found) => found.holds.length > 0);
  if (steps.length > 0 || !serving)
    steps.push({
      id: `serve ${service.name}`,
      verb: 'serve',
      target: service.name,
      service: service.name,
      why: 'until one director owns the VIP and finds a real server for each port',
      needs: steps.filter((step) => step.verb !== 'undrain').map((step) => step.id),
      do: { kind: 'engine', service: service.name, action: { name: 'serve', args: { timeoutMs: 15_000 } } },
    });
  return steps;
}

/** What keeps clients from being served, a sentence each; empty when each VIP has one owner with a live agent and servers. */
export function notServing(service: Service<DirectorSpec>, live: DirectorsLive): string[] {
  const reasons: string[] = [];
  for (const vip of service.spec.vip) {
    const owners = Object.entries(live).filter(([, found]) => found.holds.includes(vip));
    if (owners.length === 0) reasons.push(`nobody holds ${vip}`);
    if (owners.length > 1) reasons.push(`${owners.map(([host]) => host).join(' and ')} both hold ${vip}`);
  }
  for (const [host, found] of Object.entries(live).filter(([, one]) => one.holds.length > 0)) {
    if (!found.agent) reasons.push(`the agent on ${host} does not answer`);
    for (const [listen, plane] of Object.entries(found.agent?.planes ?? {})) {
      if (plane.plane === 'none' || plane.error)
        reasons.push(`${listen} on ${host}: ${plane.error ?? plane.why}`);
      const own = found.servers.filter((server) => server.listen === listen);
      if (own.length > 0 && !own.some((server) => server.up && (server.effective > 0 || server.sorry)))
        reasons.push(`${listen} on ${host}: no real server is healthy (${own[0]!.why ?? 'not checked yet'})`);
    }
  }
  return reasons;
}

/** Carries out `serve`: waits until clients are served. */
export async function performDirector(
  action: EngineAction,
  service: Service<DirectorSpec>,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  const deadline = performance.now() + Number(action.args['timeoutMs']);
  let said: string | undefined;
  for (;;) {
    const reasons = notServing(service, await observeDirectors(service, cluster, reach));
    if (reasons.length === 0) return;
    if (reasons[0] !== said) say(reasons[0]!);
    said = reasons[0];
    if (performance.now() > deadline)
      throw new StepFailed(`${reasons.join('; ')}. See phalanx status and phalanx logs`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
