/**
 * Round robin as a ring of slots: a counter modulo the ring's length picks a slot, a slot names a server. A
 * server's share is its number of slots, exactly.
 */

/** Longest ring: bounds the memory of a virtual service and the time to load it. */
export const maxSlots = 65536;
/** Below this sum weights are taken as they are, so that changing one weight never changes the unit of the others. */
const asTheyAre = 4096;

/**
 * Slots of each server, in proportion to the weights. Exact while the sum of the weights divided by their greatest
 * common divisor is at most 65536; beyond, weights are scaled down and each server is off by at most half a slot
 * (at least one slot each, so a share is off by at most N/65536 of the whole). Weights of 0 are left out.
 */
export function counts(weights: readonly (readonly [id: number, weight: number])[]): Map<number, number> {
  let sum = 0;
  let divisor = 0;
  for (const [, weight] of weights) {
    sum += weight;
    divisor = gcd(divisor, weight);
  }
  const unit = sum <= asTheyAre || divisor === 0 ? 1 : divisor;
  const scale = sum / unit > maxSlots ? maxSlots / sum : 1 / unit;
  const result = new Map<number, number>();
  for (const [id, weight] of weights) if (weight > 0) result.set(id, Math.max(1, Math.round(weight * scale)));
  return result;
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

/** A new ring: each server's slots as evenly spaced as they can be, servers of equal weight in the order given. */
export function interleave(wanted: ReadonlyMap<number, number>): number[] {
  let total = 0;
  for (const count of wanted.values()) total += count;
  const place: { at: number; order: number; id: number }[] = [];
  let order = 0;
  for (const [id, count] of wanted) {
    for (let k = 0; k < count; k++) place.push({ at: ((k + 0.5) / count) * total, order, id });
    order++;
  }
  place.sort((a, b) => a.at - b.at || a.order - b.order);
  return place.map((slot) => slot.id);
}

/**
 * The ring for new counts that keeps as many slots of `current` as can be: changing one server's count by d changes
 * at most 2d slots, whatever the length of the ring. A server that gets more takes places spread over the
 * ring, and who stood there moves to the end; one that gets less leaves holes that the ring's last slots fill.
 * When more than half would change anyway the ring is made anew.
 */
export function arrange(current: readonly number[], wanted: ReadonlyMap<number, number>): number[] {
  let total = 0;
  for (const count of wanted.values()) total += count;
  const have = new Map<number, number>();
  for (const id of current) have.set(id, (have.get(id) ?? 0) + 1);
  let more = 0;
  let less = 0;
  for (const [id, count] of wanted) more += Math.max(0, count - (have.get(id) ?? 0));
  for (const [id, count] of have) less += Math.max(0, count - (wanted.get(id) ?? 0));
  if (more === 0 && less === 0) return current.slice();
  if (more + less > total / 2) return interleave(wanted);

  // Who has too many gives up places, every second or third rather than the first ones, to stay evenly spread.
  const ring: number[] = current.slice();
  const holes: number[] = [];
  const surplus = new Map<number, { left: number; seen: number; have: number; over: number }>();
  for (const [id, count] of have) {
    const over = count - (wanted.get(id) ?? 0);
    if (over > 0) surplus.set(id, { left: over, seen: 0, have: count, over });
  }
  if (surplus.size > 0) {
    for (let i = 0; i < ring.length; i++) {
      const s = surplus.get(ring[i]!);
      if (!s) continue;
      s.seen++;
      if (Math.floor((s.seen * s.over) / s.have) > s.over - s.left) {
        s.left--;
        holes.push(i);
        ring[i] = 0;
      }
    }
  }
  // Who gets more stands first in the queue for holes, in turns.
  const queue: number[] = [];
  for (const [id, count] of wanted) {
    for (let k = have.get(id) ?? 0; k < count; k++) queue.push(id);
  }
  const gaps = holes.filter((i) => i < total);
  if (total >= ring.length) {
    // Longer or equal: fill the holes, then append; an appended slot changes places with one further up the ring.
    for (const hole of gaps) ring[hole] = queue.shift()!;
    const first = ring.length;
    const step = first / Math.max(1, queue.length);
    for (let k = 0; k < queue.length; k++) {
      const at = Math.floor((k + 0.5) * step);
      if (first > 0 && ring[at] !== queue[k]) {
        ring.push(ring[at]!);
        ring[at] = queue[k]!;
      } else ring.push(queue[k]!);
    }
    return ring;
  }
  // Shorter: what stands beyond the end and is still wanted moves into the holes, after those who get more.
  const tail = ring.slice(total).filter((id) => id !== 0);
  ring.length = total;
  const fill = [...queue, ...tail];
  for (const hole of gaps) ring[hole] = fill.shift()!;
  return ring;
}
