import type { BasePlan, Member, Step } from '../engines/engine.ts';
import { sideBySide } from '../engines/rolling.ts';
import type { Cluster } from '../file/cluster.ts';
import { planLab } from '../hosts/lab/lab.ts';
import { installScript } from '../hosts/packages.ts';
import { memberSteps, removeSteps, unknownMember } from './members.ts';
import { type Engines, type Observed, wantedSettings } from './observe.ts';
import { settingSteps } from './settings.ts';

export interface Plan {
  steps: Step[];
  /** What stands in the way of the whole plan; when not empty nothing may be done. */
  refusals: string[];
}

/** Every member that the file asks for. */
export function wantedMembers(cluster: Cluster, engines: Engines): Member[] {
  return Object.values(cluster.services).flatMap((service) =>
    engines[service.type]!.members(service, cluster),
  );
}

/**
 * What `up` will do and why: the same value is printed by `plan` and carried out by `up`. Pure: of the file
 * (`cluster`) and of what was found (`observed`) only. Live roles come from the engines' own observation.
 */
export function plan(cluster: Cluster, engines: Engines, observed: Observed): Plan {
  const lab = planLab(cluster, observed.lab);
  const steps: Step[] = [];

  if (observed.missingPackages.length > 0) {
    steps.push({
      id: 'install packages',
      verb: 'install',
      target: 'this machine',
      why: `${observed.missingPackages.join(', ')} missing`,
      needs: [],
      do: { kind: 'machine', script: installScript(observed.missingPackages), timeoutMs: 900_000 },
    });
  }
  const afterInstall = (step: Step): Step =>
    observed.missingPackages.length > 0 && step.verb === 'boot'
      ? { ...step, needs: [...step.needs, 'install packages'] }
      : step;
  steps.push(...lab.steps.map(afterInstall));

  // Whatever happens on a host waits for the host.
  const hostReady = new Map<string, string[]>();
  for (const step of lab.steps) {
    if (step.verb === 'remove') continue;
    const hosts = step.target in cluster.hosts ? [step.target] : Object.keys(cluster.hosts);
    for (const host of hosts) hostReady.set(host, [...(hostReady.get(host) ?? []), step.id]);
  }
  if (observed.missingPackages.length > 0)
    for (const host of Object.keys(cluster.hosts))
      hostReady.set(host, [...(hostReady.get(host) ?? []), 'install packages']);

  const settings = settingSteps(cluster, wantedSettings(cluster, engines), observed.settings);
  const work: Step[] = [...settings];

  const stepsOf = new Map<string, Step[]>();
  for (const service of Object.values(cluster.services)) {
    const engine = engines[service.type]!;
    const members = engine.members(service, cluster);
    const base: BasePlan = {
      members,
      observed: new Map(
        members.flatMap((member) => {
          const state = observed.members.get(member.name);
          return state ? [[member.name, state] as const] : [];
        }),
      ),
      byMember: new Map(
        members.map((member) => [
          member.name,
          memberSteps(member, observed.members.get(member.name), cluster),
        ]),
      ),
      around: (member) => {
        const before: Step[] = [];
        const after: Step[] = [];
        for (const other of Object.values(cluster.services)) {
          const turn = engines[other.type]!.around?.(other, cluster, member);
          before.push(...(turn?.before ?? []));
          after.push(...(turn?.after ?? []));
        }
        // A director that cannot be reached cannot be told; it must not hold up the others.
        const reachable = (step: Step): boolean => !(step.host! in observed.unreachable);
        return { before: before.filter(reachable), after: after.filter(reachable) };
      },
    };
    const own = engine.plan
      ? engine.plan(service, cluster, observed.live[service.name], base)
      : sideBySide(base);
    stepsOf.set(service.name, own);
  }

  const idsOf = (services: string[]): string[] =>
    services.flatMap((name) => (stepsOf.get(name) ?? []).map((step) => step.id));
  for (const service of Object.values(cluster.services)) {
    const settled = settings.filter((step) => step.service === service.name);
    const used = idsOf(service.uses);
    const followed = idsOf(engines[service.type]!.follows?.(service) ?? []);
    for (const step of stepsOf.get(service.name)!) {
      const starts = step.verb === 'start' || step.verb === 'restart';
      const settledHere = settled
        .filter((setting) => setting.host === step.host)
        .map((setting) => setting.id);
      // What a service uses comes first, but a broken Redis does not keep the web from starting.
      const before = starts
        ? used
        : step.verb === 'serve'
          ? [...followed, ...settled.map((one) => one.id)]
          : [];
      work.push({
        ...step,
        needs: starts ? [...step.needs, ...settledHere] : step.needs,
        ...(before.length > 0 ? { after: [...(step.after ?? []), ...before] } : {}),
      });
    }
  }

  const wanted = new Set(wantedMembers(cluster, engines).map((member) => member.name));
  for (const state of observed.members.values()) {
    if (!state.present || wanted.has(state.name)) continue;
    const root = cluster.hosts[state.host]?.root;
    if (root)
      work.push(
        ...removeSteps(unknownMember(state.name), state.host, root, {
          why: 'the file no longer has it',
          purge: false,
        }),
      );
  }

  for (const step of work) {
    const host = step.host;
    const before = host ? (hostReady.get(host) ?? []) : [];
    steps.push({ ...step, needs: [...new Set([...before, ...step.needs])] });
  }
  return { steps, refusals: lab.refusals };
}
