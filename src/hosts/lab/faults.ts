import type { Cluster } from '../../file/cluster.ts';
import { HostUnreachable } from '../host.ts';
import { machine } from '../machine.ts';
import { bootHost } from './boot.ts';
import { emptyPartition, emptyWeather, healNetwork, mendHost, partitionTable, weatherTable } from './mend.ts';
import { hostNamespace, hostRoot, portName, switchNamespace, uplinkPort } from './names.ts';
import { killAll, notElsewhere } from './network.ts';
import { partitionedAlias } from './observe.ts';
import { childrenOf, initOf, inodeOf, namespaceInode, processes, stateOf } from './processes.ts';

/*
 * What can happen to a machine, done to a lab host for real. Each resolves when it has happened and rejects when it
 * could not; each may be repeated.
 */

/** Pulls the host's network cable: its port at the switch goes down, and with it the carrier of its eth0. */
export function cutCable(cluster: Cluster, host: string): Promise<void> {
  return must(`ip -n ${switchNamespace(cluster.name)} link set dev ${portName(host)} down`);
}

/** Plugs the cable in again. */
export function mendCable(cluster: Cluster, host: string): Promise<void> {
  return must(`ip -n ${switchNamespace(cluster.name)} link set dev ${portName(host)} up`);
}

/** Kills process 1 of the host, and so, by the kernel, all of them; resolves when none is left. */
export function powerOff(cluster: Cluster, host: string): Promise<void> {
  return must(killAll(cluster, host));
}

/** Boots a host that was powered off; its supervisor starts what is not meant to be down. */
export function powerOn(cluster: Cluster, host: string): Promise<void> {
  const entry = cluster.hosts[host];
  if (entry === undefined) throw new Error(`${host} is not a host of cluster ${cluster.name}`);
  return must(bootHost(cluster, entry));
}

/**
 * Stops every process of the host where it stands: its kernel still answers pings and holds connections, nothing above
 * does. By SIGSTOP, process 1 first so that nothing is started anew, until a whole pass finds nothing running. (A cgroup freezer
 * would do it at once, but is not writable everywhere, and in version 1 a frozen process cannot even be killed.)
 */
export async function freeze(cluster: Cluster, host: string): Promise<void> {
  const init = initOf(hostRoot(cluster, host), hostNamespace(cluster.name, host));
  if (init === undefined) throw new HostUnreachable(host, 'is down, so cannot be frozen');
  const own = inodeOf(init, 'pid');
  signalAll([init], 'SIGSTOP');
  const deadline = performance.now() + 10_000;
  for (;;) {
    const running = processes().filter(
      (pid) => inodeOf(pid, 'pid') === own && !/[TtZX]/.test(stateOf(pid) ?? 'X'),
    );
    if (running.length === 0) return;
    if (performance.now() > deadline) throw new Error(`${host}: processes ${running.join(' ')} do not stop`);
    // Who has called vfork(2) stops only once its child has called exec: a child that was stopped before goes on for that long.
    for (const pid of running) if (stateOf(pid) === 'D') signalAll(childrenOf(pid), 'SIGCONT');
    signalAll(running, 'SIGSTOP');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Lets a frozen host go on. */
export async function thaw(cluster: Cluster, host: string): Promise<void> {
  const init = initOf(hostRoot(cluster, host), hostNamespace(cluster.name, host));
  if (init === undefined) throw new HostUnreachable(host, 'is down, so cannot be thawed');
  const own = inodeOf(init, 'pid');
  signalAll(
    processes().filter((pid) => inodeOf(pid, 'pid') === own),
    'SIGCONT',
  );
}

/** Stands for the machine itself (where the lab's clients are) in a group of `partition`; no host can be called so. */
export const machineSide = uplinkPort;

/**
 * Cuts the network between the groups: frames between hosts of different groups are dropped in the switch, also ARP and
 * multicast. Hosts in no group are still heard by all. Replaces an earlier partition in one transaction.
 */
export function partition(cluster: Cluster, groups: string[][]): Promise<void> {
  const ports = groups.map((group) => group.map((host) => (host === machineSide ? host : portName(host))));
  const set = (names: string[]) => `{ ${names.map((name) => `"${name}"`).join(', ')} }`;
  const rules = ports.flatMap((from, at) => {
    const others = ports.filter((_, index) => index !== at).flat();
    if (from.length === 0 || others.length === 0) return [];
    return [
      `add rule bridge ${partitionTable} forward iifname ${set(from)} oifname ${set(others)} counter drop`,
    ];
  });
  const ns = switchNamespace(cluster.name);
  // The mark first: a partition that nobody can see would be worse than a mark without one.
  return must(`ip -n ${ns} link set dev ${uplinkPort} alias ${partitionedAlias} || exit 1
nsenter --net=/run/netns/${ns} nft -f - <<'PHALANX_NFT'
${emptyPartition}
add table bridge ${partitionTable}
add chain bridge ${partitionTable} forward { type filter hook forward priority 0; policy accept; }
${rules.join('\n')}
PHALANX_NFT
`);
}

/** Frames from the host are dropped in the switch: it hears everybody, and nobody hears it. Replaces earlier bad weather. */
export function deafen(cluster: Cluster, host: string): Promise<void> {
  return weather(cluster, [`iifname "${portName(host)}" counter drop`]);
}

/** A share (0 to 1) of the frames from and to the host is dropped at random. Replaces earlier bad weather. */
export function lose(cluster: Cluster, host: string, share: number): Promise<void> {
  const some = `numgen random mod 1000 < ${Math.round(share * 1000)} counter drop`;
  return weather(cluster, [`iifname "${portName(host)}" ${some}`, `oifname "${portName(host)}" ${some}`]);
}

/** Ends every partition, `deafen` and `lose`. */
export function mendNetwork(cluster: Cluster): Promise<void> {
  return must(healNetwork(cluster));
}

function weather(cluster: Cluster, rules: string[]): Promise<void> {
  return must(`nsenter --net=/run/netns/${switchNamespace(cluster.name)} nft -f - <<'PHALANX_NFT'
${emptyWeather}
add table bridge ${weatherTable}
add chain bridge ${weatherTable} forward { type filter hook forward priority 1; policy accept; }
${rules.map((rule) => `add rule bridge ${weatherTable} forward ${rule}`).join('\n')}
PHALANX_NFT
`);
}

/**
 * Narrows what the host receives to `kbit` a second with at most 50 ms of queue, by a token bucket at its port (tc-tbf(8)). The
 * kernels that we meet have no netem, so there is no added delay beyond that queue's.
 */
export function slow(cluster: Cluster, host: string, kbit: number): Promise<void> {
  return must(
    `tc -n ${switchNamespace(cluster.name)} qdisc replace dev ${portName(host)} root tbf rate ${kbit}kbit burst 16kb latency 50ms`,
  );
}

/** Takes the narrow place away. */
export function widen(cluster: Cluster, host: string): Promise<void> {
  return must(mendHost(cluster, host));
}

/** Undoes every fault of the lab: no partition, every cable plugged in, nothing frozen, every host that there is powered on. What is missing is for `up` to make. */
export async function heal(cluster: Cluster): Promise<void> {
  const hosts = Object.values(cluster.hosts).filter((host) => host.kind === 'lab');
  if (hosts.length === 0) return;
  await must(notElsewhere(cluster));
  await must(healNetwork(cluster));
  await Promise.all(
    hosts.map(async (host) => {
      await must(mendHost(cluster, host.name));
      if (namespaceInode(hostNamespace(cluster.name, host.name)) !== undefined)
        await must(bootHost(cluster, host));
    }),
  );
}

function signalAll(pids: number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // Gone meanwhile.
    }
  }
}

async function must(script: string): Promise<void> {
  const { exit, stderr } = await machine.run(script);
  if (exit !== 0) throw new Error(stderr.trim() || `exit status ${exit}`);
}
