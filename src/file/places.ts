import type { z } from 'zod';
import {
  type Address,
  allocate,
  around,
  type HostAddresses,
  type HostToAddress,
  inRange,
  networkOf,
  parseAddress,
  parseRange,
  type Range,
  rangeText,
} from './addresses.ts';
import type { HostEntry, Network, Problem, Service } from './cluster.ts';
import type { root } from './schema.ts';
import { sshName } from './ssh.ts';

type Root = z.infer<typeof root>;
type Path = (string | number)[];

/** What the file says of where things are. */
export interface Written {
  name: string;
  /** The cluster's folder on the control machine. */
  home: string;
  hosts: Record<string, Root['hosts'][string] | undefined>;
  network: Root['network'];
  services: Record<string, Service>;
  existing: Record<string, HostAddresses>;
  /** False when `network` or a VIP, which the network may follow from, is wrong: then nothing is said about what lies in it. */
  networkKnown: boolean;
}

/** Where everything of the cluster lives on a real machine. */
export const machineRoot = (cluster: string): string => `/var/lib/phalanx/${cluster}`;

interface Vip {
  address: string;
  service: string;
  path: Path;
}

/** The network, every host with its addresses, and what is wrong with hosts, network and VIPs. */
export function place(written: Written): {
  network: Network;
  hosts: Record<string, HostEntry>;
  problems: Problem[];
} {
  const problems: Problem[] = [];
  const vips = vipsOf(written.services);
  const network = networkOf(
    written.name,
    explicit(written.network),
    vips.map(({ address }) => address),
  );
  const lab: HostToAddress[] = [];
  const ssh: HostToAddress[] = [];
  const hosts: Record<string, HostEntry> = {};
  for (const [name, value] of Object.entries(written.hosts)) {
    const host: HostToAddress = { name };
    const address = value?.address ?? addressIn(value?.ssh);
    if (address !== undefined) host.address = address;
    if (value?.address6 !== undefined) host.address6 = value.address6;
    hosts[name] = { name, kind: 'lab', address: '', root: `${written.home}/hosts/${name}` };
    if (value?.ssh === undefined) {
      if (value?.disk !== undefined) hosts[name]!.disk = value.disk;
      if (value?.clock !== undefined) hosts[name]!.clock = value.clock;
      lab.push(host);
      continue;
    }
    for (const part of ['disk', 'clock'] as const)
      if (value[part] !== undefined)
        problems.push({
          path: ['hosts', name, part],
          message: `${name} is a real machine, which has its own ${part}`,
        });
    hosts[name] = { ...hosts[name]!, kind: 'ssh', ssh: value.ssh, root: machineRoot(written.name) };
    ssh.push(host);
    problems.push(...sshAddress(host, value.ssh, network));
  }
  const taken = [...vips, ...ssh].flatMap((one) => {
    const { address, address6 } = one as HostToAddress;
    return [address, address6].filter((each) => each !== undefined);
  });
  const { addresses, missing } = allocate(lab, network, taken, written.existing);
  for (const { name, address, address6 } of [...ssh, ...lab]) {
    const given = addresses[name] ?? {
      address: address ?? '',
      ...(address6 === undefined ? {} : { address6 }),
    };
    Object.assign(hosts[name]!, given);
  }
  problems.push(...duplicates(hosts, written.hosts));
  if (!written.networkKnown) return { network, hosts, problems };
  if (missing.length > 0)
    problems.push(tooSmall(network, missing, lab.length + taken.length, written.network));
  problems.push(
    ...lab.flatMap((host) => hostOutside(host, network)),
    ...vips.flatMap((vip) => vipProblems(vip, network, lab.length > 0)),
    ...vipsInUse(vips, hosts),
  );
  return { network, hosts, problems };
}

function explicit(network: Root['network']): { ipv4?: Range; ipv6?: Range } {
  if (network === undefined) return {};
  if ('first' in network) return network.family === 4 ? { ipv4: network } : { ipv6: network };
  const { ipv4, ipv6 } = network;
  return { ...(ipv4 === undefined ? {} : { ipv4 }), ...(ipv6 === undefined ? {} : { ipv6 }) };
}

/** VIPs are what a director's `vip` gives; parts that broke the schema are not there. */
function vipsOf(services: Record<string, Service>): Vip[] {
  return Object.values(services).flatMap(({ name, type, spec }) => {
    const vips = type === 'director' ? (spec as { vip?: unknown } | undefined)?.vip : undefined;
    if (!Array.isArray(vips)) return [];
    return vips.flatMap((address, index): Vip[] =>
      typeof address === 'string' ? [{ address, service: name, path: ['services', name, 'vip', index] }] : [],
    );
  });
}

/** The address in `root@203.0.113.7`, when it is one. */
function addressIn(ssh: string | undefined): string | undefined {
  const host = ssh === undefined ? undefined : sshName(ssh).host;
  return host !== undefined && parseAddress(host)?.family === 4 ? host : undefined;
}

function sshAddress({ name, address, address6 }: HostToAddress, ssh: string, network: Network): Problem[] {
  const path = ['hosts', name, 'address'];
  if (address === undefined)
    return [
      {
        path,
        message: `"address" is missing: "${ssh}" is a name, and members listen on an address`,
        hint: 'add for example `address: 203.0.113.7`',
      },
    ];
  if (network.cidr6 === undefined || address6 !== undefined) return [];
  return [
    {
      path: [...path.slice(0, 2), 'address6'],
      message: '"address6" is missing: the cluster has an IPv6 VIP',
    },
  ];
}

function duplicates(hosts: Record<string, HostEntry>, written: Written['hosts']): Problem[] {
  const owner = new Map<string, string>();
  const all = Object.values(hosts);
  // Those with an address of their own come last, so that the mistake is said where the file has a line for it.
  const own = ({ name }: HostEntry) =>
    written[name]?.address !== undefined || written[name]?.ssh !== undefined;
  return [...all.filter((host) => !own(host)), ...all.filter(own)].flatMap((host) =>
    (['address', 'address6'] as const).flatMap((key): Problem[] => {
      const address = host[key];
      if (address === undefined || address === '') return [];
      const other = owner.get(address);
      owner.set(address, host.name);
      if (other === undefined) return [];
      return [
        { path: ['hosts', host.name, key], message: `${address} is already the address of host "${other}"` },
      ];
    }),
  );
}

function tooSmall(network: Network, missing: string[], wanted: number, written: Root['network']): Problem {
  const names =
    missing.length > 3
      ? `${missing.slice(0, 3).join(', ')} and ${missing.length - 3} more`
      : missing.join(', ');
  const prefix = 31 - Math.floor(Math.log2(wanted + 3));
  const range = around(parseAddress(network.cidr.split('/')[0]!)!, prefix);
  return {
    path: written === undefined ? ['hosts', missing[0]!] : ['network'],
    message: `the network ${network.cidr} has no address left for ${names}`,
    hint: `name a larger one, for example \`network: ${rangeText(range)}\``,
    atKey: written === undefined,
  };
}

function rangesOf(network: Network): Range[] {
  return [network.cidr, network.cidr6].flatMap((cidr) => {
    const range = cidr === undefined ? 'none' : parseRange(cidr);
    return typeof range === 'string' ? [] : [range];
  });
}

/** Why an address cannot be given to anything in the network. */
function unusable(
  text: string,
  network: Network,
  lab: boolean,
): { message: string; hint?: string } | undefined {
  const address = parseAddress(text) as Address;
  const range = rangesOf(network).find(({ family }) => family === address.family);
  if (range === undefined || !inRange(range, address))
    return {
      message: `${text} is outside the cluster's network ${range === undefined ? network.cidr : rangeText(range)}`,
      hint: `name the network that holds it: \`network: ${rangeText(around(address, address.family === 4 ? 24 : 64))}\``,
    };
  if (address.value === range.first) return { message: `${text} is the network's own address` };
  if (address.family === 4 && address.value === range.last)
    return { message: `${text} is the network's broadcast address` };
  if (lab && (text === network.machine || text === network.machine6))
    return { message: `${text} is this machine's own address in the network` };
  return undefined;
}

function hostOutside(host: HostToAddress, network: Network): Problem[] {
  return (['address', 'address6'] as const).flatMap((key): Problem[] => {
    const address = host[key];
    const skip = address === undefined || (key === 'address6' && network.cidr6 === undefined);
    const why = skip ? undefined : unusable(address, network, true);
    return why === undefined ? [] : [{ path: ['hosts', host.name, key], ...why }];
  });
}

function vipProblems({ address, path }: Vip, network: Network, lab: boolean): Problem[] {
  const why = unusable(address, network, lab);
  return why === undefined ? [] : [{ path, ...why, message: `VIP ${why.message}` }];
}

function vipsInUse(vips: Vip[], hosts: Record<string, HostEntry>): Problem[] {
  const host = new Map<string, string>();
  for (const { name, address, address6 } of Object.values(hosts)) {
    host.set(address, name);
    if (address6 !== undefined) host.set(address6, name);
  }
  const claimed = new Map<string, string>();
  return vips.flatMap(({ address, service, path }): Problem[] => {
    const other = claimed.get(address);
    claimed.set(address, other ?? service);
    const owner = host.get(address);
    if (owner !== undefined)
      return [
        {
          path,
          message: `VIP ${address} is the address of host "${owner}"`,
          hint: 'choose one that no host has',
        },
      ];
    if (other === undefined || other === service) return [];
    return [
      {
        path,
        message: `VIP ${address} is already claimed by "${other}"`,
        hint: 'one director service holds a VIP',
      },
    ];
  });
}
