import type { BasePlan, Member, MemberState, Step } from '../engines/engine.ts';
import { sideBySide } from '../engines/rolling.ts';
import { inRange, parseAddress, parseRange } from '../file/addresses.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import { bootHost } from '../hosts/lab/boot.ts';
import { planLab } from '../hosts/lab/lab.ts';
import { installScript } from '../hosts/packages.ts';
import { unfitMachine } from '../hosts/ssh/facts.ts';
import { leaveUnused } from '../hosts/ssh/leave.ts';
import { handSteps } from './handed.ts';
import { memberSteps, readyStep, removeSteps, unknownMember } from './members.ts';
import { type Engines, type Observed, wantedSettings } from './observe.ts';
import { settingSteps } from './settings.ts';

export interface Plan {
  steps: Step[];
  /** What stands in the way of the whole plan; when not empty nothing may be done. */
  refusals: string[];
  /** Real machines that do not answer, and why: their steps wait for them. */
  away: Record<string, string>;
  /** Real machines that left the file and do not answer: what is on them stays there. */
  lost: string[];
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
  // Also the network: a minimal Debian has not even `ip`.
  const installed = observed.missingPackages.length > 0 ? ['install packages'] : [];
  steps.push(...lab.steps.map((step) => ({ ...step, needs: [...step.needs, ...installed] })));

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

  // Rendered once: a file of ten thousand members takes most of its time here.
  const membersOf = new Map(
    Object.values(cluster.services).map((service) => [
      service.name,
      engines[service.type]!.members(service, cluster),
    ]),
  );
  for (const [name, { missing }] of Object.entries(observed.machines)) {
    if (missing.length === 0 || !(name in cluster.hosts)) continue;
    const id = `install packages on ${name}`;
    steps.push({
      id,
      verb: 'install',
      target: name,
      host: name,
      why: `${missing.join(', ')} missing`,
      needs: [],
      do: { kind: 'script', script: installScript(missing), timeoutMs: 900_000 },
    });
    hostReady.set(name, [...(hostReady.get(name) ?? []), id]);
  }

  const renamed = renamedMembers(cluster, engines, membersOf, observed);
  const lying = lyingMembers(cluster, engines, membersOf, observed);
  const present = [...observed.members.values()].filter((state) => state.present && !renamed.includes(state));
  const leaving = leavingSteps(cluster, [...membersOf.values()].flat(), [...present, ...lying]);
  // Under their machine's former name: they make way for those of its name today, on the same ports, and wait for nobody.
  const renamedStops = [...leaving].flatMap(([name, [stop]]) => (hostOf(name) === stop!.host ? [] : [stop!]));
  const makesWay = new Set(renamedStops.map(({ target }) => target));
  const settings = settingSteps(cluster, wantedSettings(cluster, engines), observed.settings);
  const work: Step[] = [...settings, ...handSteps(cluster, engines, observed.handed)];

  const stepsOf = new Map<string, Step[]>();
  for (const service of Object.values(cluster.services)) {
    const engine = engines[service.type]!;
    const members = membersOf.get(service.name)!;
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
      ready: (member) => readyStep(member, cluster),
      leaving: new Map(
        [...leaving].filter(([name]) => serviceOf(name) === service.name && !makesWay.has(name)),
      ),
      dismiss: (member) =>
        Object.values(cluster.services)
          .flatMap((other) => engines[other.type]!.dismiss?.(other, cluster, member, service) ?? [])
          .filter((step) => !(step.host! in observed.unreachable)),
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

  const made = settings.filter(({ verb }) => verb === 'set');
  const settledOn = Map.groupBy(made, (step) => step.host!);
  // Nobody waits for what leaves: that may itself wait for those who come in the place of its users.
  const leave = new Set([...leaving.values()].flat().map(({ id }) => id));
  const idsOf = (services: string[]): string[] =>
    services.flatMap((name) => (stepsOf.get(name) ?? []).map((step) => step.id));
  for (const service of Object.values(cluster.services)) {
    const used = idsOf(service.uses).filter((id) => !leave.has(id));
    const follows = engines[service.type]!.follows?.(service) ?? [];
    const followed = idsOf(follows);
    // Of a service that moves: who follows it is told when those that come are ready, as far as they get ready.
    const coming = follows
      .filter((name) => [...leaving.keys()].some((member) => serviceOf(member) === name))
      .filter((name) => !reaches(cluster, name, service.name))
      .flatMap((name) => comers(stepsOf.get(name) ?? []));
    for (const step of stepsOf.get(service.name)!) {
      const starts = step.verb === 'start' || step.verb === 'restart';
      const settledHere = starts ? (settledOn.get(step.host!) ?? []).map((setting) => setting.id) : [];
      const stopped = renamedStops.filter(
        ({ host, target }) =>
          step.verb === 'start' && host === step.host && serviceOf(target) === service.name,
      );
      // What a service uses comes first, but a broken Redis does not keep the web from starting.
      const before = [
        ...(starts ? used : step.verb === 'serve' ? [...followed, ...made.map((one) => one.id)] : []),
        ...(step.verb === 'reload' ? coming : []),
      ];
      // Started anew it no longer knows whom it was sending to.
      const first = step.verb === 'restart' ? coming : [];
      work.push({
        ...step,
        needs: starts
          ? [...step.needs, ...settledHere, ...first, ...stopped.map(({ id }) => id)]
          : step.needs,
        ...(before.length > 0 ? { after: [...(step.after ?? []), ...before] } : {}),
      });
    }
  }

  const planned = new Set(work.map((step) => step.id));
  for (const left of leaving.values()) work.push(...left.filter((step) => !planned.has(step.id)));

  for (const step of afterUsers(work, engines)) {
    const host = step.host;
    const before = host ? (hostReady.get(host) ?? []) : [];
    steps.push(before.length === 0 ? step : { ...step, needs: [...new Set([...before, ...step.needs])] });
  }
  const former = Object.values(cluster.former ?? {}).filter(({ kind }) => kind === 'ssh');
  const lost = former.map(({ name }) => name).filter((name) => name in observed.unreachable);
  const before = steps.map(({ id }) => id);
  for (const host of former)
    if (!(host.name in observed.unreachable)) steps.push(leaveStep(host, steps, before));
  const unfit = Object.entries(observed.machines).flatMap(([name, facts]) => {
    const host = cluster.hosts[name];
    return host === undefined ? [] : unfitMachine(name, host.address, facts);
  });
  const refusing = Object.entries(observed.refusing).flatMap(([name, why]) =>
    name in cluster.hosts ? [why] : [],
  );
  const away = Object.fromEntries(
    Object.entries(observed.unreachable).filter(([name]) => cluster.hosts[name]?.kind === 'ssh'),
  );
  // What is there, or is not, nobody knows.
  const told = steps.map((step) =>
    step.host !== undefined && step.host in away ? { ...step, why: `${step.host} does not answer` } : step,
  );
  return {
    steps: formerHostsLast(cluster, startedInTurn(cluster, told, lying)),
    refusals: [
      ...lab.refusals,
      ...unfit,
      ...refusing,
      ...renamed.map(renamedText),
      ...told.filter(({ refuses }) => refuses).map(({ target, why }) => `${target}: ${why}`),
    ],
    away,
    lost,
  };
}

/** The last step of each member that is started and does not run yet. */
function comers(steps: Step[]): string[] {
  const started = new Set(steps.filter(({ verb }) => verb === 'start').map(({ target }) => target));
  return [...started].map(
    (name) =>
      steps.findLast(({ target, verb }) => target === name && (verb === 'start' || verb === 'ready'))!.id,
  );
}

/** Whether a service uses another, itself or by those that it uses. */
function reaches(cluster: Cluster, from: string, to: string, passed = new Set<string>()): boolean {
  if (passed.has(from)) return false;
  passed.add(from);
  return (cluster.services[from]?.uses ?? []).some(
    (name) => name === to || reaches(cluster, name, to, passed),
  );
}

/**
 * What members use of their host is taken away only when they have ended, or run again without it: a setting that nobody
 * needs any more, and a member that carries something for others of its host (a mount).
 */
function afterUsers(work: Step[], engines: Engines): Step[] {
  const carries = ({ target }: Step): boolean =>
    Object.values(engines).some(({ carries }) => carries?.(target) === true);
  const ends = Map.groupBy(
    work.filter(({ verb, host }) => host !== undefined && (verb === 'stop' || verb === 'restart')),
    ({ host }) => host!,
  );
  return work.map((step) => {
    const users = (ends.get(step.host ?? '') ?? []).filter((one) => !carries(one)).map(({ id }) => id);
    if (step.verb === 'unset') return { ...step, needs: [...step.needs, ...users] };
    return step.verb === 'stop' && carries(step) ? { ...step, needs: [...step.needs, ...users] } : step;
  });
}

/** A real machine that left the file is left as it was, last of all, when nothing of it is in use there any more. */
function leaveStep({ name, root }: HostEntry, steps: Step[], before: string[]): Step {
  return {
    id: `leave ${name}`,
    verb: 'leave',
    target: name,
    host: name,
    why: 'the file no longer has it',
    needs: steps.filter(({ host }) => host === name).map(({ id }) => id),
    after: before,
    do: { kind: 'script', script: leaveUnused(root), timeoutMs: 60_000 },
  };
}

const hostOf = (member: string): string => member.slice(member.indexOf('@') + 1);

/**
 * Members of a machine that the file now calls by another name, and that have data. Their engines know them by name: by the new one the machine would have none of its
 * data, and by the old one, which is no host's, nobody can be asked to let it go. Apps have nothing that others know of.
 */
function renamedMembers(
  cluster: Cluster,
  engines: Engines,
  membersOf: Map<string, Member[]>,
  observed: Observed,
): MemberState[] {
  return [...observed.members.values()].filter(
    ({ name, host, present }) =>
      present && hostOf(name) !== host && holdsData(cluster, engines, membersOf, name),
  );
}

const renamedText = ({ name, host }: MemberState): string =>
  `${host}: it has ${name} with its data, and was called ${hostOf(name)} then: give it that name back. To rename it, take it out of the file, phalanx up, and put it in under its new name`;

/** Steps that take members off their hosts which the file no longer has there, by member name. */
function leavingSteps(
  cluster: Cluster,
  members: Member[],
  present: Pick<MemberState, 'name' | 'host'>[],
): Map<string, Step[]> {
  const wanted = new Set(members.map((member) => member.name));
  const leaving = new Map<string, Step[]>();
  for (const { name, host } of present) {
    const root = (cluster.hosts[host] ?? cluster.former?.[host])?.root;
    if (wanted.has(name) || root === undefined) continue;
    const because = { why: 'the file no longer has it', purge: false };
    leaving.set(name, removeSteps(unknownMember(name), host, root, because));
  }
  return leaving;
}

/**
 * Members that left the file and lie on hosts that are off and are to be switched on. Not those that have something to hand over before they leave: they are
 * started with their host, and leave in order when their engine has seen them.
 */
function lyingMembers(
  cluster: Cluster,
  engines: Engines,
  membersOf: Map<string, Member[]>,
  observed: Observed,
): Pick<MemberState, 'name' | 'host'>[] {
  const wanted = new Set([...membersOf.values()].flat().map(({ name }) => name));
  const leaves = (name: string): boolean =>
    !wanted.has(name) && !holdsData(cluster, engines, membersOf, name);
  return Object.entries(observed.lying)
    .filter(([host]) => host in cluster.hosts)
    .flatMap(([host, names]) => names.filter(leaves).map((name) => ({ name, host })));
}

/** Whether the member's service has an engine that asks its members for their data; of what the file has no service for nobody knows. */
function holdsData(
  cluster: Cluster,
  engines: Engines,
  membersOf: Map<string, Member[]>,
  name: string,
): boolean {
  const service = cluster.services[serviceOf(name)];
  if (service === undefined || engines[service.type]!.observe === undefined) return false;
  const members = membersOf.get(service.name)!;
  const alike = members.filter((member) => partOf(member.name) === partOf(name));
  return (alike.length > 0 ? alike : members).some(({ data }) => data.length > 0);
}

/**
 * A host that is switched on starts what its disk has from before: another version, or what left meanwhile. So whatever this plan starts on it, or takes off it, waits for
 * its own step; all else, which no step of this plan would start, comes up with the host.
 */
function startedInTurn(cluster: Cluster, steps: Step[], lying: Pick<MemberState, 'name' | 'host'>[]): Step[] {
  const gone = new Set(lying.map(({ name }) => name));
  const waiting = steps.filter(
    ({ verb, target }) => verb === 'start' || (verb === 'stop' && gone.has(target)),
  );
  return steps.map((step) => {
    const host = cluster.hosts[step.target];
    if (step.verb !== 'boot' || step.do.kind !== 'machine' || host === undefined) return step;
    const paused = waiting.filter((one) => one.host === host.name).map(({ target }) => target);
    return { ...step, do: { ...step.do, script: bootHost(cluster, host, [...new Set(paused)]) } };
  });
}

const partOf = (member: string): string => member.slice(0, member.indexOf('@'));

/** The service of a member: names are service@host or service.part@host. */
const serviceOf = (member: string): string => /^[^.@]*/.exec(member)![0];

/**
 * A host that left the file is powered off only when the members on it have left in order, and nothing waits for that: unless
 * its address is needed by another, or by the machine, or lies in a network that is no longer the cluster's.
 */
function formerHostsLast(cluster: Cluster, steps: Step[]): Step[] {
  const taken = new Set([
    ...Object.values(cluster.hosts).map((host) => host.address),
    cluster.network.machine,
  ]);
  const range = parseRange(cluster.network.cidr);
  const stays = (host: string): boolean => {
    const address = cluster.former?.[host]?.address;
    const parsed = parseAddress(address ?? '');
    return (
      address !== undefined &&
      !taken.has(address) &&
      parsed !== undefined &&
      typeof range !== 'string' &&
      inRange(range, parsed)
    );
  };
  const last = new Set(
    steps
      .filter((step) => step.verb === 'remove' && step.host === undefined && stays(step.target))
      .map((step) => step.id),
  );
  if (last.size === 0) return steps;
  const early = steps.map((step) => ({ ...step, needs: step.needs.filter((id) => !last.has(id)) }));
  return early.map((step) =>
    last.has(step.id)
      ? { ...step, needs: early.filter((one) => one.host === step.target).map((one) => one.id) }
      : step,
  );
}
