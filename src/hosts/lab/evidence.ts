import type { Cluster } from '../../file/cluster.ts';
import { machine } from '../machine.ts';
import { partitionTable, weatherTable } from './mend.ts';
import { hostNamespace, hostRoot, portName, switchNamespace } from './names.ts';
import { initOf, inodeOf, processes, stateOf } from './processes.ts';

/*
 * What the kernel says after a fault: proof that it took effect, for a drill's history. Each gives undefined for as
 * long as there is none.
 */

/** The host's port at the switch is down, and its own interface has lost its carrier. */
export async function cableIsCut(cluster: Cluster, host: string): Promise<object | undefined> {
  const port = `ip -n ${switchNamespace(cluster.name)} -j link show dev ${portName(host)}`;
  const own = `ip -n ${hostNamespace(cluster.name, host)} -j link show dev eth0`;
  const [at, eth0] = await Promise.all([linkOf(port), linkOf(own)]);
  if (at === undefined || at.flags.includes('UP') || eth0 === undefined || eth0.flags.includes('LOWER_UP'))
    return undefined;
  return { port: at.ifname, state: at.operstate, eth0: eth0.operstate };
}

/** Process 1 of the host is gone. */
export function isPoweredOff(cluster: Cluster, host: string): object | undefined {
  return initOf(hostRoot(cluster, host), hostNamespace(cluster.name, host)) === undefined
    ? { init: 'gone' }
    : undefined;
}

/** Every process of the host is stopped. */
export function isFrozen(cluster: Cluster, host: string): object | undefined {
  const init = initOf(hostRoot(cluster, host), hostNamespace(cluster.name, host));
  const own = init === undefined ? undefined : inodeOf(init, 'pid');
  if (own === undefined) return undefined;
  const states = processes()
    .filter((pid) => inodeOf(pid, 'pid') === own)
    .map((pid) => stateOf(pid) ?? 'X');
  return states.every((state) => /[TZX]/.test(state)) ? { processes: states.length, state: 'T' } : undefined;
}

/** Frames that a partition or bad weather has dropped by now. */
export async function droppedFrames(cluster: Cluster): Promise<object | undefined> {
  const enter = `nsenter --net=/run/netns/${switchNamespace(cluster.name)} nft list table bridge`;
  const { text } = await machine.run(
    `${enter} ${partitionTable} 2>/dev/null; ${enter} ${weatherTable} 2>/dev/null; :`,
  );
  const packets = [...text.matchAll(/counter packets (\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
  return packets > 0 ? { framesDropped: packets } : undefined;
}

/** The token bucket at the host's port has held frames back or dropped them. */
export async function isNarrowed(cluster: Cluster, host: string): Promise<object | undefined> {
  const { text } = await machine.run(
    `tc -n ${switchNamespace(cluster.name)} -s qdisc show dev ${portName(host)} root`,
  );
  const [, dropped, over] = /dropped (\d+), overlimits (\d+)/.exec(text) ?? [];
  if (!text.includes('tbf') || Number(over) === 0) return undefined;
  return { rate: /rate (\S+)/.exec(text)?.[1], heldBack: Number(over), dropped: Number(dropped) };
}

interface Link {
  ifname: string;
  flags: string[];
  operstate: string;
}

async function linkOf(command: string): Promise<Link | undefined> {
  const { text, exit } = await machine.run(command);
  return exit === 0 ? (JSON.parse(text) as Link[])[0] : undefined;
}
