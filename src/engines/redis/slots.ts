/** The key space of Redis Cluster. */
export const slotCount = 16_384;

/** Inclusive. */
export type Range = [number, number];

/** Sorted slots as ranges. */
export function ranges(slots: Iterable<number>): Range[] {
  const result: Range[] = [];
  for (const slot of [...slots].sort((a, b) => a - b)) {
    const last = result.at(-1);
    if (last && slot === last[1] + 1) last[1] = slot;
    else result.push([slot, slot]);
  }
  return result;
}

/** The slots of ranges. */
export const slotsIn = (list: Range[]): number[] =>
  list.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));

/** '0-5460, 7000' */
export const showRanges = (list: Range[]): string =>
  list.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(', ');

/** All slots dealt to n shards in runs that differ by one slot at most. */
export function deal(shards: number): Range[] {
  return Array.from({ length: shards }, (_, i) => [
    Math.floor((i * slotCount) / shards),
    Math.floor(((i + 1) * slotCount) / shards) - 1,
  ]);
}

export interface SlotMove {
  from: string;
  to: string;
  slots: number[];
}

/** How far a shard may be from its fair share before slots are moved, as a part of that share. */
export const tolerance = 0.02;

/**
 * The fewest slot moves after which `keep` share all slots: shards not kept give all they have, and the others
 * differ from their share by at most 2%. Nothing moves while they already do: a cluster that somebody balanced by hand within that is left alone.
 * `owned` are the slots of every shard that has any, by name.
 */
export function balance(owned: Map<string, number[]>, keep: string[]): SlotMove[] {
  const have = new Map([...owned].map(([name, slots]) => [name, [...slots].sort((a, b) => a - b)]));
  for (const name of keep) if (!have.has(name)) have.set(name, []);
  const total = [...have.values()].reduce((sum, slots) => sum + slots.length, 0);
  if (keep.length === 0 || total === 0) return [];
  const share = total / keep.length;
  const leaving = [...have.keys()].filter((name) => !keep.includes(name));
  const fair = (name: string): boolean =>
    Math.abs(have.get(name)!.length - share) <= Math.max(1, share * tolerance);
  if (leaving.every((name) => have.get(name)!.length === 0) && keep.every(fair)) return [];

  // Who has most keeps the remainder's extra slots.
  const order = [...keep].sort((a, b) => have.get(b)!.length - have.get(a)!.length || a.localeCompare(b));
  const target = new Map(
    order.map((name, i) => [name, Math.floor(share) + (i < total % keep.length ? 1 : 0)]),
  );
  const moves: SlotMove[] = [];
  const givers = [...leaving.sort(), ...order];
  const takers = order.filter((name) => have.get(name)!.length < target.get(name)!);
  for (const from of givers) {
    const mine = have.get(from)!;
    let spare = mine.length - (target.get(from) ?? 0);
    for (const to of takers) {
      if (spare <= 0) break;
      const theirs = have.get(to)!;
      const count = Math.min(spare, target.get(to)! - theirs.length);
      if (count <= 0) continue;
      const slots = mine.splice(mine.length - count, count);
      theirs.push(...slots);
      spare -= count;
      moves.push({ from, to, slots });
    }
  }
  return moves;
}
