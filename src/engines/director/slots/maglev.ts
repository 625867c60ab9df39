/**
 * Consistent hashing by a table that every director fills alike (Maglev: A Fast and Reliable Software Network Load
 * Balancer, NSDI 2016, section 3.4). A client's hash picks a slot, the slot names the server.
 *
 * The table is filled over all configured servers. The slots of those that cannot take connections now are lent out
 * one by one: slot s tries the owners of a fixed sequence of slots until one is usable. So a server that goes
 * moves exactly its own slots, comes back to exactly those, and what other servers hold never depends on the order
 * in which servers failed; plain Maglev moves a few others as well.
 */

export interface Entry {
  /** Equal on all directors: the seed of the server's permutation. */
  name: string;
  mark: number;
  /** As configured; its share of the table. */
  weight: number;
  /** Takes new connections now. */
  usable: boolean;
}

/** Table sizes: primes, so that every step visits every slot. About a hundred slots a server keep shares within a per cent or so. */
const primes = [4093, 16381, 65537];

/** Size of the table for that many configured servers: 4093 up to 40, 16381 up to 160, else 65537. */
export function tableSize(servers: number): number {
  return primes.find((prime) => prime >= servers * 100) ?? 65537;
}

/** The whole table: a mark for each slot; [] when no server is usable. The order of the entries does not matter. */
export function maglev(entries: readonly Entry[], size = tableSize(entries.length)): number[] {
  const sorted = entries.filter((entry) => entry.weight > 0).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (!sorted.some((entry) => entry.usable)) return [];
  const owner = fill(sorted, size);
  const usable = sorted.flatMap((entry, index) => (entry.usable ? [index] : []));
  const table = new Array<number>(size);
  for (let slot = 0; slot < size; slot++) {
    let index = owner[slot]!;
    for (let attempt = 1; !sorted[index]!.usable; attempt++) {
      const draw = mix(Math.imul(slot + 1, 0x9e3779b1) ^ Math.imul(attempt, 0x85ebca6b));
      // With hardly anyone left the sequence would be long: after 64 draws take any, which moves a few more.
      index = attempt < 64 ? owner[draw % size]! : usable[draw % usable.length]!;
    }
    table[slot] = sorted[index]!.mark;
  }
  return table;
}

/** Maglev's population, with as many turns for each server as its weight gives it of the table. */
function fill(sorted: readonly Entry[], size: number): Int32Array {
  const total = sorted.reduce((sum, entry) => sum + entry.weight, 0);
  const most = Math.max(...sorted.map((entry) => entry.weight));
  const offset = sorted.map((entry) => digest(entry.name, 0x50484c58) % size);
  const skip = sorted.map((entry) => (digest(entry.name, 0x6d616776) % (size - 1)) + 1);
  const next = new Float64Array(sorted.length);
  const credit = new Float64Array(sorted.length);
  const owner = new Int32Array(size).fill(-1);
  let filled = 0;
  while (filled < size && total > 0) {
    for (let i = 0; i < sorted.length && filled < size; i++) {
      credit[i]! += sorted[i]!.weight / most;
      for (; credit[i]! >= 1 - 1e-9 && filled < size; credit[i]!--) {
        let slot = (offset[i]! + next[i]! * skip[i]!) % size;
        while (owner[slot] !== -1) {
          next[i]!++;
          slot = (slot + skip[i]!) % size;
        }
        owner[slot] = i;
        next[i]!++;
        filled++;
      }
    }
  }
  return owner;
}

/** FNV-1a over the name, started from a seed and mixed: the same everywhere, for ever. */
function digest(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/** Murmur3's finalizer: every bit of the input changes half the bits of the result. */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
