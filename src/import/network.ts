import { type Address, around, inRange, parseAddress, type Range } from '../file/addresses.ts';

/** The narrowest and widest networks that are written, by family. */
const usual = { 4: 24, 6: 64 } as const;
const widest = { 4: 16, 6: 32 } as const;
const widestForVips = { 4: 8, 6: 16 } as const;

/**
 * A network that holds the VIPs and, where that is not too wide, `others` too; with room for `hosts`. No address of
 * them is its first, its last, or the machine's. Undefined where even the VIPs lie too far from each other.
 */
export function networkFor(
  family: 4 | 6,
  vips: readonly string[],
  others: readonly string[],
  hosts: number,
): Range | undefined {
  const of = (addresses: readonly string[]): Address[] =>
    addresses.flatMap((text) => {
      const address = parseAddress(text);
      return address?.family === family ? [address] : [];
    });
  const must = of(vips);
  if (must.length === 0) return undefined;
  const all = [...must, ...of(others)];
  return covering(family, all, hosts, widest[family]) ?? covering(family, must, hosts, widestForVips[family]);
}

function covering(family: 4 | 6, addresses: Address[], hosts: number, limit: number): Range | undefined {
  for (let prefix = usual[family]; prefix >= limit; prefix--) {
    const range = around(addresses[0]!, prefix);
    const room = range.last - range.first - 2n;
    // The machine's own end of a lab: the last usable IPv4 address, and ::fe.
    const machine = family === 4 ? range.last - 1n : range.first + 0xfen;
    const good = addresses.every(
      (address) =>
        inRange(range, address) &&
        address.value !== range.first &&
        address.value !== machine &&
        (family === 6 || address.value !== range.last),
    );
    if (good && room >= BigInt(hosts + addresses.length)) return range;
  }
  return undefined;
}
