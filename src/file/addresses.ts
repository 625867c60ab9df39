import { isIPv4, isIPv6 } from 'node:net';
import type { Network } from './cluster.ts';

/** An IP address as a number, so that networks are arithmetic. */
export interface Address {
  family: 4 | 6;
  value: bigint;
}

/** The address that `text` writes, or undefined; zone indices (`fe80::1%eth0`) are no address of a cluster. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { family: 4, value: number4(text) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const dotted = /[^:]+\.[^:]+$/.exec(text)?.[0];
  let rest = text;
  if (dotted !== undefined) {
    const low = number4(dotted);
    rest = `${text.slice(0, -dotted.length)}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = '', tail] = rest.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const words = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return { family: 6, value: words.reduce((sum, word) => (sum << 16n) | BigInt(`0x${word}`), 0n) };
}

function number4(text: string): bigint {
  return text.split('.').reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** The one way an address is written (RFC 5952 for IPv6), so that equal addresses are equal text. */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const words = Array.from({ length: 8 }, (_, index) =>
    ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  let best = { start: 0, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (words[start + length] === '0') length++;
    if (length > best.length) best = { start, length };
  }
  if (best.length < 2) return words.join(':');
  return `${words.slice(0, best.start).join(':')}::${words.slice(best.start + best.length).join(':')}`;
}

/** `text` as formatAddress writes it; text that is no address stays as it is. */
export function canonical(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : formatAddress(address);
}

/** A network's bounds: `first` is its own address, `last` its broadcast address (IPv4) or last address (IPv6). */
export interface Range {
  family: 4 | 6;
  prefix: number;
  first: bigint;
  last: bigint;
}

/** The range of `10.77.0.0/24`; a string says what is wrong with it. */
export function parseRange(text: string): Range | string {
  const [written = '', length, more] = text.split('/');
  const address = parseAddress(written);
  if (address === undefined || length === undefined || more !== undefined || !/^\d{1,3}$/.test(length))
    return 'not a network: write for example 10.77.0.0/24';
  const prefix = Number(length);
  const [short, long] = address.family === 4 ? [8, 29] : [16, 112];
  if (prefix < short || prefix > long)
    return `a prefix of /${prefix} is not possible here: from /${short} to /${long}`;
  const range = around(address, prefix);
  if (range.first !== address.value) return `bits are set behind the prefix: write ${rangeText(range)}`;
  return range;
}

/** The network of that prefix length that holds the address. */
export function around(address: Address, prefix: number): Range {
  const size = 1n << BigInt((address.family === 4 ? 32 : 128) - prefix);
  const first = address.value - (address.value % size);
  return { family: address.family, prefix, first, last: first + size - 1n };
}

export function rangeText(range: Range): string {
  return `${formatAddress({ family: range.family, value: range.first })}/${range.prefix}`;
}

export function inRange(range: Range, address: Address): boolean {
  return range.family === address.family && address.value >= range.first && address.value <= range.last;
}

/**
 * The cluster's network: what the file says, else the /24 (IPv6: /64) around the first VIP, else one of 10.64.0.0/10
 * by the cluster's name, so that two clusters on a machine seldom meet. The machine is the last usable IPv4 address and ::fe.
 */
export function networkOf(name: string, explicit: { ipv4?: Range; ipv6?: Range }, vips: string[]): Network {
  const addresses = vips.flatMap((vip) => parseAddress(vip) ?? []);
  const vip4 = addresses.find((address) => address.family === 4);
  const vip6 = addresses.find((address) => address.family === 6);
  const range = explicit.ipv4 ?? around(vip4 ?? byName(name), 24);
  const network: Network = {
    cidr: rangeText(range),
    prefix: range.prefix,
    machine: formatAddress({ family: 4, value: range.last - 1n }),
  };
  if (vip6 === undefined && explicit.ipv6 === undefined) return network;
  const range6 = explicit.ipv6 ?? around(vip6!, 64);
  network.cidr6 = rangeText(range6);
  network.prefix6 = range6.prefix;
  network.machine6 = formatAddress({ family: 6, value: range6.first + 0xfen });
  return network;
}

/** An address in 10.64.0.0/10 by the FNV-1a hash of the name. */
function byName(name: string): Address {
  let hash = 0x811c9dc5;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193) >>> 0;
  return { family: 4, value: number4(`10.${64 + (hash % 64)}.${(hash >>> 8) % 256}.0`) };
}

/** A host's addresses, as a cluster keeps them for life. */
export interface HostAddresses {
  address: string;
  address6?: string;
}

/** A host that needs an address; what the file says itself is already there. */
export interface HostToAddress {
  name: string;
  address?: string;
  address6?: string;
}

/**
 * Gives each host its addresses, in the order of the file from .11 (::11) upward. A host that already has one keeps it,
 * wherever it stands in the file now; only an address outside the network (which was changed) is given anew. Addresses
 * of hosts that left stay reserved for their return until nothing else is free. `taken` are VIPs and other addresses
 * that are nobody's to have. `missing` are the hosts that found the network full.
 */
export function allocate(
  hosts: HostToAddress[],
  network: Network,
  taken: Iterable<string>,
  existing: Record<string, HostAddresses>,
): { addresses: Record<string, HostAddresses>; missing: string[] } {
  const four = family(hosts, 'address', network.cidr, [...taken, network.machine], existing);
  const six =
    network.cidr6 === undefined
      ? new Map<string, string>()
      : family(hosts, 'address6', network.cidr6, [...taken, network.machine6!], existing);
  const addresses: Record<string, HostAddresses> = {};
  const missing: string[] = [];
  for (const { name } of hosts) {
    const address = four.get(name);
    const address6 = six.get(name);
    if (address === undefined || (network.cidr6 !== undefined && address6 === undefined)) missing.push(name);
    else addresses[name] = address6 === undefined ? { address } : { address, address6 };
  }
  return { addresses, missing };
}

function family(
  hosts: HostToAddress[],
  key: 'address' | 'address6',
  cidr: string,
  taken: string[],
  existing: Record<string, HostAddresses>,
): Map<string, string> {
  const range = parseRange(cidr);
  if (typeof range === 'string') throw new Error(`${cidr}: ${range}`);
  const given = new Map<string, string>();
  const used = new Set(taken);
  for (const host of hosts) {
    const kept = Object.hasOwn(existing, host.name) ? existing[host.name]?.[key] : undefined;
    const stays = kept !== undefined && inRange(range, parseAddress(kept) ?? { family: 4, value: -1n });
    const own = host[key] ?? (stays ? kept : undefined);
    if (own === undefined) continue;
    given.set(host.name, own);
    used.add(own);
  }
  const left = new Set<string>();
  for (const former of Object.values(existing)) {
    const address = former[key];
    if (address !== undefined && !used.has(address)) left.add(address);
  }
  const free = candidates(range);
  const reuse: string[] = [];
  for (const host of hosts) {
    if (given.has(host.name)) continue;
    let next = free.next();
    while (!next.done && (used.has(next.value) || left.has(next.value))) {
      if (left.has(next.value)) reuse.push(next.value);
      next = free.next();
    }
    const address = next.done ? reuse.shift() : next.value;
    if (address !== undefined) given.set(host.name, address);
  }
  return given;
}

/** Usable addresses in the order they are given out: from the 11th upward, then the ten below. */
function* candidates(range: Range): Generator<string> {
  const start = range.family === 4 ? 11n : 0x11n;
  for (let value = range.first + start; value < range.last; value++)
    yield formatAddress({ family: range.family, value });
  for (let value = range.first + 1n; value < range.first + start && value < range.last; value++)
    yield formatAddress({ family: range.family, value });
}
