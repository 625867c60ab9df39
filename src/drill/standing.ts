import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeWhole } from '../cluster/state.ts';
import type { Cluster } from '../file/cluster.ts';
import { HostUnreachable, type Reach } from '../hosts/host.ts';
import { heal } from '../hosts/lab/faults.ts';
import { hostNamespace } from '../hosts/lab/names.ts';
import { namespaceInode } from '../hosts/lab/processes.ts';
import { faults, verbOf } from './faults.ts';

/** A fault that a drill made and has not healed yet, as kept in the cluster's home: what kill -9 of a drill leaves to be found. */
export interface Standing {
  service: string;
  fault: string;
  host: string;
  member?: string;
  /** ISO 8601. */
  since: string;
  /** The drill's process, and when it was started, as /proc/PID/stat has it: process ids are used again. */
  pid: number;
  started: string;
}

const pathOf = (cluster: Cluster): string => join(cluster.home, 'fault.json');

/** Remembers a fault; called before it is made, so that whatever happens after, it can be found. */
export function remember(
  cluster: Cluster,
  fault: Pick<Standing, 'service' | 'fault' | 'host' | 'member'>,
): void {
  const standing: Standing = {
    ...fault,
    since: new Date().toISOString(),
    pid: process.pid,
    started: startOf(process.pid) ?? '',
  };
  writeWhole(pathOf(cluster), `${JSON.stringify(standing)}\n`);
}

export function forget(cluster: Cluster): void {
  rmSync(pathOf(cluster), { force: true });
}

/** The fault that stands, and whether the drill that made it still runs and will heal it. */
export function standingFault(cluster: Cluster): { fault: Standing; running: boolean } | undefined {
  let text: string;
  try {
    text = readFileSync(pathOf(cluster), 'utf8');
  } catch {
    return undefined;
  }
  const fault = JSON.parse(text) as Standing;
  return { fault, running: startOf(fault.pid) === fault.started };
}

/** Says what a killed drill left standing. Undefined: nothing, or the drill still runs and will heal it. */
export function leftOver(cluster: Cluster): string | undefined {
  const left = standingFault(cluster);
  return left && !left.running
    ? `a drill was killed and its fault still stands: ${standingText(left.fault)}`
    : undefined;
}

/** 'cut-owner of front on lb1, since 12:00:00' */
export function standingText({ service, fault, host, member, since }: Standing): string {
  return `${fault} of ${service} on ${member ?? host}, since ${since}`;
}

/**
 * Heals everything of the lab, and the fault that stands where it was made; then forgets it. Safe to repeat. Rejects with
 * HostUnreachable, and forgets nothing, where that is a machine that does not answer.
 */
export async function healAll(cluster: Cluster, reach: Reach): Promise<void> {
  const left = standingFault(cluster)?.fault;
  // The service, and even the host, may have left the file since; the fault stands there all the same.
  const known = { ...cluster, hosts: { ...cluster.former, ...cluster.hosts } };
  // Whatever that comes to: a frozen member of a real machine does not wait for a lab that is half gone.
  const failed = await heal(cluster).then(
    () => undefined,
    (error: Error) => error,
  );
  if (left !== undefined && left.host in known.hosts && !goneWithItsHost(known, left))
    await faults[verbOf(left.fault) ?? '']?.heal({ cluster: known, reach, target: left });
  if (failed !== undefined) throw failed;
  forget(cluster);
}

/** Processes, cables and clocks of a lab host end with it; what was written to its disk stays. */
const goneWithItsHost = (cluster: Cluster, { host, fault }: Standing): boolean =>
  cluster.hosts[host]!.kind === 'lab' &&
  verbOf(fault) !== 'full-disk' &&
  namespaceInode(hostNamespace(cluster.name, host)) === undefined;

/** Heals what a killed drill left, as far as it can be reached. Gives a sentence that says what it did; undefined when nothing was left. Called with the cluster's lock held. */
export async function healLeftOver(cluster: Cluster, reach: Reach): Promise<string | undefined> {
  const left = leftOver(cluster);
  if (left === undefined) return undefined;
  try {
    await healAll(cluster, reach);
    return `${left}; it is healed now`;
  } catch (error) {
    if (error instanceof HostUnreachable) return `${left}; not healed: ${error.message}`;
    throw error;
  }
}

/** When the process was started, in clock ticks after boot (field 22 of proc(5)'s stat); undefined when it is gone. */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
