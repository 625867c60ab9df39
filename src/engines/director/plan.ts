import type { Cluster, Service } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { registering } from '../app/register.ts';
import { type BasePlan, type EngineAction, type Step, StepFailed } from '../engine.ts';
import { rolling } from '../rolling.ts';
import { notServing } from './fitness.ts';
import { agentFolder, agentName } from './members.ts';
import { type DirectorLive, type DirectorsLive, watchDirectors } from './observe.ts';
import type { DirectorSpec } from './schema.ts';
import { inTurn, putBackId, undrainStep, until } from './turn.ts';

/** Longest that an agent may take to look at its tables and make them again. */
const mendMs = 10_000;

/**
 * Directors change one host after the other, the VIP's owner last, so that it moves at most once; at the end the
 * plan waits until clients are really served. A drain that an interrupted change left behind is taken back; one by hand stays.
 */
export function planDirectors(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  live: DirectorsLive | undefined,
  base: BasePlan,
): Step[] {
  const ownsVip = (host: string): number => (live?.[host]?.holds.length ? 1 : 0);
  const members = [...base.members].sort((a, b) => ownsVip(a.host) - ownsVip(b.host));
  const behind = service.spec.listen.flatMap(({ to }) => registering(cluster.services[to]!));
  // An agent that is told to follow a registry while members are still coming into it would drop those.
  const steps = rolling({ ...base, members }).map((step) =>
    step.verb === 'reload' || step.verb === 'restart'
      ? { ...step, after: [...(step.after ?? []), ...behind] }
      : step,
  );
  for (const [host, found] of Object.entries(live ?? {})) {
    const drained = new Set(
      found.servers.filter((server) => inTurn(server.override)).map((server) => server.server),
    );
    for (const server of drained)
      steps.push({
        ...undrainStep(service, cluster, host, server, 'left out by a change that was cut short'),
        id: putBackId(service.name, server, host),
      });
  }
  for (const [host, found] of Object.entries(live ?? {}))
    steps.push(...mendSteps(service, cluster, host, found));
  if (steps.length > 0 || !live || notServing(service, live).length > 0)
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

/** Tables that a hand has edited are made again; the agent does so whenever it is told to look. */
function mendSteps(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  { agent }: DirectorLive,
): Step[] {
  const drift = agent?.drift ?? [];
  if (drift.length === 0) return [];
  const folder = agentFolder(cluster.hosts[host]!.root, service.name, host);
  const settled = `head -n 1 status.jsonl | grep -q '"drift":\\[\\]'`;
  return [
    {
      id: `mend ${service.name} at ${host}`,
      verb: 'mend',
      target: agentName(service.name, host),
      host,
      service: service.name,
      why: `its tables were edited by hand: ${drift.slice(0, 3).join('; ')}${drift.length > 3 ? `; and ${drift.length - 3} more` : ''}`,
      needs: [],
      do: {
        kind: 'script',
        script: `cd ${quote(folder)} || exit 1
: > overrides/.mend.tmp && rm -f overrides/.mend.tmp || exit 1
${until(settled, mendMs)} || { echo 'its tables are edited again and again: who else runs ipvsadm here?' >&2; exit 1; }`,
        timeoutMs: mendMs + 5_000,
      },
    },
  ];
}

/** Carries out `serve`: waits until clients are served. */
export async function performDirector(
  action: EngineAction,
  service: Service<DirectorSpec>,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  let reasons: string[] = ['no director answers'];
  let said: string | undefined;
  await watchDirectors(service, cluster, reach, Number(action.args['timeoutMs']), (live) => {
    reasons = notServing(service, live);
    if (reasons[0] !== undefined && reasons[0] !== said) say(reasons[0]);
    said = reasons[0];
    return reasons.length === 0;
  });
  if (reasons.length > 0) throw new StepFailed(`${reasons.join('; ')}. See phalanx status and phalanx logs`);
}
