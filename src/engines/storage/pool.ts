import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { StepFailed, StepHeld } from '../engine.ts';
import {
  answering,
  brickHosts,
  differingOptions,
  healSentence,
  pendingOf,
  type StorageLive,
  volumeOf,
} from './live.ts';
import { observeStorage } from './observe.ts';
import { entryOf, memberName, type StorageService } from './seats.ts';

/** How long glusterds may take to start and to find each other. */
export const readyMs = 60_000;
/** How long a step waits for the other copies to be whole before it holds, once nothing gets better any more. */
const gateMs = 60_000;
/** One command of gluster; it takes a lock of the whole pool. */
const commandMs = 30_000;

export interface Work {
  service: StorageService;
  cluster: Cluster;
  reach: Reach;
  say: (line: string) => void;
}

export const look = ({ service, cluster, reach }: Work): Promise<StorageLive> =>
  observeStorage(service, cluster, reach);

/** Looks again and again until `blocked` names no reason; then gives what was seen. The time starts anew whenever less is to be healed. */
export async function untilOpen(
  work: Work,
  what: string,
  blocked: (live: StorageLive) => string | undefined | Promise<string | undefined>,
  limitMs = gateMs,
): Promise<StorageLive> {
  let deadline = performance.now() + limitMs;
  let said = '';
  let least = Number.POSITIVE_INFINITY;
  for (;;) {
    const live = await look(work);
    const blocker = await blocked(live);
    if (blocker === undefined) return live;
    if (blocker !== said) work.say(blocker);
    said = blocker;
    const pending = pendingOf(live);
    if (pending < least && least < Number.POSITIVE_INFINITY) deadline = performance.now() + limitMs;
    least = Math.min(least, pending);
    if (performance.now() > deadline) throw new StepHeld(`${what}: ${blocker}`);
    await wait(100);
  }
}

/**
 * Runs gluster on a host. Its commands lock the pool, one at a time: one that finds it locked is tried again. Throws StepFailed with what
 * gluster said.
 */
export async function gluster(work: Work, host: string, words: string[]): Promise<string> {
  const { service, cluster, reach, say } = work;
  const folder = memberFolder({ name: memberName(service, host) }, entryOf(cluster, host).root);
  const command = ['./gluster', `--timeout=${commandMs / 1000}`, ...words].map(quote).join(' ');
  const deadline = performance.now() + commandMs;
  for (;;) {
    const { exit, text, stderr } = await reach
      .host(host)
      .run(`cd ${quote(folder)} && ${command}`, { timeoutMs: commandMs + 5_000 });
    if (exit === 0) return text;
    const told = `${text} ${stderr}`.replaceAll(/\s+/g, ' ').trim();
    if (!/another transaction|locking failed|Please try again/i.test(told) || performance.now() > deadline)
      throw new StepFailed(`gluster ${words.slice(0, 2).join(' ')} on ${host}: ${told || `exit ${exit}`}`);
    say(told);
    await wait(500);
  }
}

/** Sets the volume's options that differ, all in one command. */
export async function settle(work: Work, host: string, live: StorageLive): Promise<void> {
  const { service, cluster } = work;
  const differing = differingOptions(service, cluster, volumeOf(live)!);
  if (differing.length > 0) await gluster(work, host, ['volume', 'set', service.name, ...differing.flat()]);
}

/** A host whose glusterd answers, the best connected one first. */
export function speaker(live: StorageLive): string {
  const [best] = answering(live)
    .filter(({ volume }) => volume !== undefined)
    .sort((a, b) => b.peers.length - a.peers.length);
  if (best === undefined) throw new StepFailed('no glusterd answers: see phalanx logs');
  return best.host;
}

/** Why not every copy is there and whole; `spared` may be away. Undefined when nothing is wanting. */
export function wanting(work: Work, live: StorageLive, spared?: string): string | undefined {
  const { service, cluster } = work;
  const volume = volumeOf(live);
  if (volume === undefined) return 'no glusterd that knows the volume answers';
  for (const host of brickHosts(volume, cluster)) {
    if (host === undefined || host === spared || !service.hosts.includes(host)) continue;
    const why = notThere(work, live, host);
    if (why !== undefined) return why;
  }
  if (live.splitBrain) return `${live.splitBrain} entries in split brain`;
  return healSentence(live);
}

/** Why the host's copy is not there; undefined when its brick runs. */
export function notThere({ service }: Work, live: StorageLive, host: string): string | undefined {
  const server = live.servers[host];
  const name = memberName(service, host);
  if (server === undefined || server.silent !== undefined) return `${name}: ${server?.silent ?? 'unknown'}`;
  if (!server.disk?.brick) return `the copy on ${host} is gone`;
  return server.online ? undefined : `the brick of ${name} does not run`;
}

/** Waits until every copy (but the spared host's own) runs and none lacks anything: then one may be away for a while. */
export async function untilWhole(work: Work, what: string, spared?: string): Promise<void> {
  await untilOpen(work, what, (live) => wanting(work, live, spared));
}
