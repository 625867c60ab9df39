import { isIPv6 } from 'node:net';
import type { Listen, RealServer } from '../../tables.ts';

/** One virtual service on one VIP: it has connection maps and chains of its own. */
export interface Instance {
  listen: Listen;
  vip: string;
  family: 4 | 6;
  /** Suffix of its chains and maps: tcp_80_10_77_0_100. */
  name: string;
  /** Suffix of what all its VIPs of one family share: tcp_80_4. */
  shared: string;
  /** More than one port: the port is kept, and is part of every key. */
  range: boolean;
}

/** nftables names know letters, digits and '_' safely everywhere. */
export function nftName(text: string): string {
  return text.replace(/[^A-Za-z0-9]/g, '_');
}

export function instances(listens: readonly Listen[], vips: readonly string[]): Instance[] {
  return listens.flatMap((listen) =>
    vips.map((vip) => {
      const family = isIPv6(vip) ? 6 : 4;
      return {
        listen,
        vip: plainAddress(vip),
        family,
        name: `${nftName(listen.name)}_${nftName(plainAddress(vip))}`,
        shared: `${nftName(listen.name)}_${family}`,
        range: listen.ports[0] !== listen.ports[1],
      };
    }),
  );
}

/** An address as nft prints it: IPv6 in its shortest form, lower case. */
export function plainAddress(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]/`).hostname.slice(1, -1) : address;
}

/** The server's address in that family. */
export function addressIn(server: RealServer, family: 4 | 6): string | undefined {
  const address = family === 6 ? server.address6 : server.address;
  return address === undefined ? undefined : plainAddress(address);
}

/** 'ip' or 'ip6': the protocol word of rules. */
export function word(family: 4 | 6): 'ip' | 'ip6' {
  return family === 6 ? 'ip6' : 'ip';
}

/** IP protocol number, as nft -nn prints it. */
export function number(proto: 'tcp' | 'udp'): string {
  return proto === 'tcp' ? '6' : '17';
}

/** A duration in nft's words. */
export function duration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
