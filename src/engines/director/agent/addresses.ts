import { networkInterfaces } from 'node:os';

/** One spelling of each address: 'FD00:0::1' and 'fd00::1' are the same. */
function canonical(address: string): string {
  return address.includes(':')
    ? new URL(`http://[${address.split('%')[0]}]/`).hostname.slice(1, -1)
    : address;
}

/**
 * Which of the VIPs this host holds now. An address on the loopback is a real server's, for direct routing, and one on
 * an interface without a carrier (libuv lists running interfaces only) is held by nobody's reckoning.
 */
export function held(vips: string[], interfaces = networkInterfaces()): Record<string, boolean> {
  const here = new Set<string>();
  for (const addresses of Object.values(interfaces))
    for (const a of addresses ?? []) if (!a.internal) here.add(canonical(a.address));
  return Object.fromEntries(vips.map((vip) => [vip, here.has(canonical(vip))]));
}
