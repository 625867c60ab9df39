import type { Step } from '../../engines/engine.ts';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import { bootHost } from './boot.ts';
import { healNetwork, mendHost } from './mend.ts';
import {
  createHost,
  createNetwork,
  elsewhereText,
  hostMark,
  nameHosts,
  networkMark,
  removeHost,
} from './network.ts';
import type { LabHostObserved, LabObserved, Taken } from './observe.ts';

export interface LabPlan {
  steps: Step[];
  /** What stands in the way, a sentence each that says what to do; when not empty there are no steps. */
  refusals: string[];
}

const timeoutMs = 60_000;

/**
 * What has to be done so that the lab is as the file says: one step for the network, and for each host one to make it and
 * one to power it on; hosts that the file no longer has are removed first, for their addresses may be given anew.
 * Pure.
 */
export function planLab(cluster: Cluster, observed: LabObserved): LabPlan {
  const hosts = Object.values(cluster.hosts).filter((host) => host.kind === 'lab');
  if (hosts.length > 0 && observed.elsewhere !== undefined) {
    return { steps: [], refusals: [elsewhereText(cluster, observed.elsewhere)] };
  }
  if (hosts.length > 0 && observed.taken !== undefined) {
    return { steps: [], refusals: [takenSentence(cluster, observed.taken)] };
  }
  const refusals = hosts.flatMap((host) => [
    ...diskChanged(host, observed),
    ...clockChanged(host, observed.hosts[host.name]),
  ]);
  if (refusals.length > 0) return { steps: [], refusals };
  const wanted = new Set(hosts.map((host) => host.name));
  const removals = Object.keys(observed.hosts)
    .filter((name) => !wanted.has(name))
    .map((name) => hostStep('remove', name, 'no longer in the file', [], removeHost(cluster, name)));
  if (hosts.length === 0) return { steps: removals, refusals: [] };
  const removed = removals.map(({ id }) => id);
  const network = networkSteps(cluster, observed, removed);
  const before = [...removed, ...network.map(({ id }) => id)];
  const each = hosts.flatMap((host) => hostSteps(cluster, host, observed.hosts[host.name], before));
  return { steps: [...removals, ...network, ...each], refusals: [] };
}

function networkSteps(cluster: Cluster, observed: LabObserved, needs: string[]): Step[] {
  const { network } = observed;
  const why = !network.present
    ? 'does not exist'
    : network.mark !== networkMark(cluster.network)
      ? network.mark === undefined
        ? 'was left half made'
        : 'has other addresses'
      : network.uplink
        ? undefined
        : 'the machine has no way into it';
  const steps: Step[] = [];
  const add = (verb: string, because: string, script: string) =>
    steps.push({
      id: `${verb} network`,
      verb,
      target: cluster.network.cidr,
      why: because,
      needs: [...needs, ...steps.map(({ id }) => id)],
      do: { kind: 'machine', script, timeoutMs },
    });
  if (why !== undefined) add('create', why, createNetwork(cluster));
  else if (!network.hostsFile) add('name', 'hosts or addresses differ', nameHosts(cluster));
  if (network.partitioned) add('mend', 'a partition was left in it', healNetwork(cluster));
  return steps;
}

function hostSteps(
  cluster: Cluster,
  host: HostEntry,
  found: LabHostObserved | undefined,
  needs: string[],
): Step[] {
  const steps: Step[] = [];
  const add = (verb: string, why: string, script: string) =>
    steps.push(hostStep(verb, host.name, why, [...needs, ...steps.map(({ id }) => id)], script));
  const broken = brokenBecause(cluster, host, found);
  if (broken !== undefined) {
    add('create', broken, createHost(cluster, host));
    add('boot', 'powered off', bootHost(cluster, host));
    return steps;
  }
  if (found?.cable === false) add('mend', 'its cable is cut', mendHost(cluster, host.name));
  else if (found?.frozen) add('mend', 'it is frozen', mendHost(cluster, host.name));
  else if (found?.clockOff !== undefined)
    add('mend', `its clock is off by ${found.clockOff} s`, mendHost(cluster, host.name));
  if (found?.init === undefined) add('boot', 'powered off', bootHost(cluster, host));
  return steps;
}

function brokenBecause(
  cluster: Cluster,
  host: HostEntry,
  found: LabHostObserved | undefined,
): string | undefined {
  if (found === undefined) return 'does not exist';
  if (!found.namespace) return 'its namespace is gone';
  if (found.lost) return 'an init of it runs astray';
  if (found.mark === undefined) return 'was left half made';
  if (found.mark !== hostMark(host, cluster.network)) return 'its address differs';
  return undefined;
}

/** A disk is made with its host and keeps its size: nothing is moved from one to another behind anybody's back. */
function diskChanged({ name, disk }: HostEntry, { disks }: LabObserved): string[] {
  if (!(name in disks) || disks[name] === disk) return [];
  const has =
    disks[name] === undefined ? "its files on this machine's disk" : `a disk of ${sizeText(disks[name])}`;
  const wants = disk === undefined ? 'gives it none' : `gives it a disk of ${sizeText(disk)}`;
  return [
    `host ${name} has ${has}, and the file ${wants}: write what it has, or make it anew (phalanx down --purge)`,
  ];
}

/** Which clock a process asks is settled when its host is switched on. */
function clockChanged({ name, clock }: HostEntry, found: LabHostObserved | undefined): string[] {
  if (found?.init === undefined || found.clock === clock) return [];
  const has = found.clock === undefined ? "this machine's clock" : 'a clock of its own';
  const wants = clock === undefined ? 'gives it none' : 'gives it one of its own';
  return [`host ${name} was switched on with ${has}, and the file ${wants}: phalanx down, then up`];
}

function takenSentence(cluster: Cluster, taken: Taken): string {
  const by = taken.cluster === undefined ? 'on this machine' : `by cluster ${taken.cluster}`;
  return `network ${taken.cidr} is already used ${by} (interface ${taken.interface}): set network: in ${cluster.file}`;
}

function hostStep(verb: string, host: string, why: string, needs: string[], script: string): Step {
  return {
    id: `${verb} host ${host}`,
    verb,
    target: host,
    why,
    needs,
    do: { kind: 'machine', script, timeoutMs },
  };
}
