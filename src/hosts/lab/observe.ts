import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import type { Cluster } from '../../file/cluster.ts';
import { asksOwnClock, clockFile } from './clock.ts';
import { diskImage } from './disk.ts';
import {
  bridge,
  formerAlias,
  hostNamespace,
  hostRoot,
  hostsFile,
  portName,
  readAlias,
  switchNamespace,
  uplinkAlias,
  uplinkName,
  uplinkPort,
} from './names.ts';
import { hostsText } from './network.ts';
import { commandOf, initOf, isInit, namespaceInode, processes, stateOf } from './processes.ts';

/** What exists on this machine of a cluster's lab. A value: `planLab` works on it alone. */
export interface LabObserved {
  network: {
    /** The switch namespace exists. */
    present: boolean;
    /** The bridge's ifalias: set last, so that it says the network is whole, and with which addresses. */
    mark?: string;
    /** The machine's interface is there, ours, up, with the address of the file. */
    uplink: boolean;
    /** Every lab host's /etc/hosts is as the cluster has it. */
    hostsFile: boolean;
    /** A partition's rules drop frames in the switch. */
    partitioned: boolean;
  };
  /** Every host of which anything exists, also those that the file no longer has. */
  hosts: Record<string, LabHostObserved>;
  /** Of the file's hosts that have files from before: the size of the disk of their own, bytes; undefined: they are on this machine's. */
  disks: Record<string, number | undefined>;
  /** A lab of this name stands on this machine from another home: there. Nothing of it is told here, for nothing of it is ours. */
  elsewhere?: string;
  /** Someone else uses an address range of this cluster on this machine. */
  taken?: Taken;
}

export interface LabHostObserved {
  namespace: boolean;
  /** The port's ifalias: set last. */
  mark?: string;
  /** The port at the switch is up. */
  cable: boolean;
  /** Powered on and not frozen: scripts can run on it. */
  up: boolean;
  /** Process 1, as the machine sees it; undefined: powered off. */
  init?: number;
  frozen: boolean;
  /** What runs there asks a clock of the host's own; absent: the machine's, or nothing runs. */
  clock?: 'own';
  /** By how many seconds that clock is wrong, as +60; absent: it is not. */
  clockOff?: string;
  /** An init that lost its namespace's name or its pid file: it can only be killed. */
  lost: boolean;
}

export interface Taken {
  cidr: string;
  interface: string;
  /** The other cluster's name, where it is one. */
  cluster?: string;
}

interface Link {
  ifname: string;
  flags: string[];
  master?: string;
  ifalias?: string;
}

/** Looks at namespaces, links, addresses and processes; changes nothing. One fork whatever the number of hosts. */
export async function observeLab(cluster: Cluster): Promise<LabObserved> {
  const { name, network } = cluster;
  const present = namespaceInode(switchNamespace(name)) !== undefined;
  const links = present ? await linksOf(switchNamespace(name)) : new Map<string, Link>();
  const uplink = networkInterfaces()[uplinkName(name)] ?? [];
  const has = (address: string | undefined, prefix: number | undefined) =>
    address === undefined || uplink.some((at) => at.cidr === `${address}/${prefix}`);
  const mark = links.get(bridge)?.ifalias;
  const observed: LabObserved = {
    network: {
      present,
      ...(mark === undefined ? {} : { mark }),
      uplink:
        isOurs(cluster) &&
        has(network.machine, network.prefix) &&
        has(network.machine6, network.prefix6) &&
        plugged(links.get(uplinkPort)),
      hostsFile: textOf(hostsFile(cluster)) === hostsText(cluster),
      partitioned: links.get(uplinkPort)?.ifalias === partitionedAlias,
    },
    hosts: {},
    disks: disksOf(cluster),
  };
  const elsewhere = homeElsewhere(cluster);
  if (elsewhere !== undefined) return { ...observed, elsewhere };
  const lost = initsByCommand(cluster);
  for (const host of hostNames(cluster, links, lost)) {
    const found = observeHost(cluster, host, links, lost.get(host));
    if (found !== undefined) observed.hosts[host] = found;
  }
  const taken = takenBy(cluster);
  return taken === undefined ? observed : { ...observed, taken };
}

function disksOf(cluster: Cluster): Record<string, number | undefined> {
  const disks: Record<string, number | undefined> = {};
  for (const { kind, name, root } of Object.values(cluster.hosts)) {
    if (kind !== 'lab') continue;
    const bytes = statSync(diskImage(root), { throwIfNoEntry: false })?.size;
    if (bytes !== undefined || entriesOf(`${root}/members`).length > 0) disks[name] = bytes;
  }
  return disks;
}

/** What the switch's uplink port is called while a partition's rules are in place. */
export const partitionedAlias = 'partitioned';

function observeHost(
  cluster: Cluster,
  host: string,
  links: Map<string, Link>,
  byCommand: number | undefined,
): LabHostObserved | undefined {
  const ns = hostNamespace(cluster.name, host);
  const namespace = namespaceInode(ns) !== undefined;
  const port = links.get(portName(host));
  const root = hostRoot(cluster, host);
  const init = initOf(root, ns);
  const lost = byCommand !== undefined && byCommand !== init;
  if (!namespace && port === undefined && init === undefined && !lost) return undefined;
  const mark = port?.master === bridge ? port.ifalias : undefined;
  const frozen = init !== undefined && stateOf(init) === 'T';
  const clock = asksOwnClock(init, root);
  const clockOff = clock ? textOf(clockFile(root))?.trim() : undefined;
  return {
    namespace,
    ...(mark === undefined ? {} : { mark }),
    cable: plugged(port),
    ...(init === undefined ? {} : { init }),
    up: init !== undefined && !frozen,
    frozen,
    ...(clock ? { clock: 'own' } : {}),
    ...(clockOff === undefined || clockOff === '+0' ? {} : { clockOff }),
    lost,
  };
}

function plugged(link: Link | undefined): boolean {
  return link !== undefined && link.master === bridge && link.flags.includes('UP');
}

/** Names of hosts in the file, in /run/netns, at the switch and among the processes. */
function hostNames(cluster: Cluster, links: Map<string, Link>, lost: Map<string, number>): Set<string> {
  const names = new Set<string>(lost.keys());
  for (const host of Object.values(cluster.hosts)) if (host.kind === 'lab') names.add(host.name);
  const prefix = hostNamespace(cluster.name, '');
  for (const entry of entriesOf('/run/netns'))
    if (entry.startsWith(prefix)) names.add(entry.slice(prefix.length));
  for (const link of links.values()) {
    const marked = /^phalanx host (\S+) /.exec(link.ifalias ?? '');
    if (marked) names.add(marked[1]!);
  }
  return names;
}

/** Inits of the cluster by their command line, `s6-svscan ... ROOT/scan`, whatever has become of their namespace. */
function initsByCommand(cluster: Cluster): Map<string, number> {
  const found = new Map<string, number>();
  const { hosts, home } = cluster;
  // Reading what every process of the machine is called takes longer than all else here.
  if (Object.values(hosts).every(({ kind }) => kind === 'ssh') && !existsSync(`${home}/hosts`)) return found;
  const roots = new Map(Object.values(hosts).map((host) => [`${host.root}/scan`, host.name]));
  const elsewhere = `${home}/hosts/`;
  for (const pid of processes()) {
    const scan = commandOf(pid).at(-1);
    if (scan === undefined || !scan.endsWith('/scan')) continue;
    const dropped = scan.startsWith(elsewhere) ? scan.slice(elsewhere.length, -'/scan'.length) : '';
    const host = roots.get(scan) ?? (/^[a-z][a-z0-9-]*$/.test(dropped) ? dropped : undefined);
    if (host !== undefined && isInit(pid)) found.set(host, pid);
  }
  return found;
}

async function linksOf(namespace: string): Promise<Map<string, Link>> {
  const { stdout } = await promisify(execFile)('ip', ['-n', namespace, '-j', 'link', 'show']);
  const links = JSON.parse(stdout === '' ? '[]' : stdout) as Link[];
  return new Map(links.map((link) => [link.ifname, link]));
}

function isOurs(cluster: Cluster): boolean {
  const alias = aliasOf(uplinkName(cluster.name));
  return alias === uplinkAlias(cluster) || alias === formerAlias(cluster);
}

function homeElsewhere(cluster: Cluster): string | undefined {
  const uplink = readAlias(aliasOf(uplinkName(cluster.name)));
  return uplink?.cluster === cluster.name && !isOurs(cluster) ? uplink.home : undefined;
}

/** The first interface or route of the machine, other than this cluster's own, that has part of the cluster's network. */
export function takenBy(cluster: Cluster): Taken | undefined {
  const own = isOurs(cluster) ? uplinkName(cluster.name) : undefined;
  const ranges = [cluster.network.cidr, cluster.network.cidr6].filter((cidr) => cidr !== undefined);
  for (const used of [...interfaceRanges(), ...routeRanges(textOf('/proc/net/route') ?? '')]) {
    if (used.interface === own) continue;
    const cidr = ranges.find((range) => overlap(range, used.cidr));
    if (cidr === undefined) continue;
    const other = readAlias(aliasOf(used.interface))?.cluster;
    return { cidr, interface: used.interface, ...(other === undefined ? {} : { cluster: other }) };
  }
  return undefined;
}

interface Range {
  cidr: string;
  interface: string;
}

function interfaceRanges(): Range[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.flatMap(({ cidr }) => (cidr === null ? [] : [{ cidr, interface: name }])),
  );
}

/** /proc/net/route (proc(5)): addresses as little-endian hexadecimal. A route wider than /8 stands for "everything else". */
export function routeRanges(text: string): Range[] {
  const ranges: Range[] = [];
  for (const line of text.split('\n').slice(1)) {
    const [name, destination, , , , , , mask] = line.split('\t');
    if (name === undefined || destination === undefined || mask === undefined) continue;
    const bytes = (hex: string) => [...Buffer.from(hex, 'hex')].reverse();
    const prefix = bytes(mask).reduce((bits, byte) => bits + byte.toString(2).replaceAll('0', '').length, 0);
    if (prefix >= 8) ranges.push({ interface: name, cidr: `${bytes(destination).join('.')}/${prefix}` });
  }
  return ranges;
}

/** Whether two ranges of addresses have one in common; different families never do. */
export function overlap(one: string, other: string): boolean {
  return contains(one, other) || contains(other, one);
}

function contains(outer: string, inner: string): boolean {
  const [address, prefix] = outer.split('/') as [string, string];
  const family = address.includes(':') ? 'ipv6' : 'ipv4';
  const [base] = inner.split('/') as [string];
  if (base.includes(':') !== (family === 'ipv6')) return false;
  const list = new BlockList();
  list.addSubnet(address, Number(prefix), family);
  return list.check(base, family);
}

function aliasOf(link: string): string | undefined {
  return textOf(`/sys/class/net/${link}/ifalias`)?.trimEnd();
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
