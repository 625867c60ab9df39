import { type Moving, named, type Partition } from './live.ts';

/** Where a partition's copies are to be; the first leads, when it can. */
export interface Move {
  topic: string;
  index: number;
  from: number[];
  to: number[];
}

/**
 * The moves that take every partition off brokers that are not in `brokers`, give each the copies that `copiesOf` says (default
 * as many as it has), and, when `spread`, level the number of copies and of first leaders between brokers to within one, by
 * as few moves as that takes. Partitions stay where they are otherwise. Deterministic: the same input, the same moves.
 *
 * Copies go to brokers of `serving` (default: all) before any other. Of copies that are too many those go first that are not on `brokers`, then
 * those that are not in step, then those of brokers that do not serve, then the last. `stuck` are partitions that want more copies than there are brokers.
 */
export function planMoves(
  partitions: Partition[],
  brokers: number[],
  {
    spread,
    copiesOf,
    serving = brokers,
  }: { spread: boolean; copiesOf?: (partition: Partition) => number; serving?: number[] },
): { moves: Move[]; stuck: string[] } {
  const allowed = new Set(brokers);
  const load = new Map(brokers.map((id) => [id, 0]));
  const count = (id: number, by: number): void => {
    if (allowed.has(id)) load.set(id, load.get(id)! + by);
  };
  const goal = new Map(partitions.map((partition) => [partition, [...partition.replicas]]));
  for (const replicas of goal.values()) for (const id of replicas) count(id, 1);
  const least = (not: number[]): number | undefined =>
    brokers
      .filter((id) => !not.includes(id))
      .sort(
        (a, b) =>
          Number(serving.includes(b)) - Number(serving.includes(a)) || load.get(a)! - load.get(b)! || a - b,
      )[0];
  const stuck: string[] = [];

  for (const [partition, replicas] of goal) {
    const wanted = copiesOf?.(partition) ?? replicas.length;
    if (wanted > brokers.length) {
      stuck.push(named(partition));
      continue;
    }
    const worth = (id: number): number =>
      4 * Number(allowed.has(id)) + 2 * Number(partition.isr.includes(id)) + Number(serving.includes(id));
    // Before heirs are looked for: where copies lie on all brokers there is none for one that leaves.
    while (replicas.length > wanted) {
      const worst = Math.min(...replicas.map(worth));
      const at = replicas.findLastIndex((id) => worth(id) === worst);
      count(replicas.splice(at, 1)[0]!, -1);
    }
    for (const [i, id] of replicas.entries()) {
      if (allowed.has(id)) continue;
      const heir = least(replicas)!;
      replicas[i] = heir;
      count(heir, 1);
    }
    while (replicas.length < wanted) {
      const next = least(replicas)!;
      replicas.push(next);
      count(next, 1);
    }
  }

  if (spread && brokers.length > 1) {
    levelCopies(goal, brokers, load);
    levelLeaders(goal, brokers);
  }
  const moves = [...goal]
    .filter(([partition, to]) => !stuck.includes(named(partition)) && to.join() !== partition.replicas.join())
    .map(([{ topic, index, replicas }, to]) => ({ topic, index, from: replicas, to }));
  return { moves, stuck };
}

/**
 * The brokers that a move waits for: those that get a copy. One that only takes copies away waits for those that keep theirs: Kafka does not end it
 * before all that stay are in step (PartitionReassignmentReplicas.maybeCompleteReassignment).
 */
export function awaited({ from, to }: Pick<Move, 'from' | 'to'>): number[] {
  const coming = to.filter((id) => !from.includes(id));
  return coming.length === 0 && to.length < from.length ? to : coming;
}

/** A partition on its way, as the move that it makes. */
export const moveOf = ({ topic, index, replicas, adding, removing }: Moving): Move => ({
  topic,
  index,
  from: replicas.filter((id) => !adding.includes(id)),
  to: replicas.filter((id) => !removing.includes(id)),
});

/**
 * Where partitions go instead that are on their way and wait for a broker of `lost`, so that they never arrive: `to` null takes them back to where
 * they were. The others on their way are left alone.
 */
export function redirected(
  partitions: Partition[],
  moving: Moving[],
  lost: number[],
  brokers: number[],
  options: { copiesOf?: (partition: Partition) => number; serving: number[] },
): { topic: string; index: number; from: number[]; to: number[] | null }[] {
  const way = (one: Pick<Moving, 'topic' | 'index'>): Moving | undefined =>
    moving.find(({ topic, index }) => topic === one.topic && index === one.index);
  const astray = (one: Moving): boolean => awaited(moveOf(one)).some((id) => lost.includes(id));
  // Those astray as they were before they set out, the others as they will be.
  const settled = partitions.map((partition) => {
    const one = way(partition);
    if (!one) return partition;
    const not = astray(one) ? one.adding : one.removing;
    return { ...partition, replicas: one.replicas.filter((id) => !not.includes(id)) };
  });
  const { moves } = planMoves(settled, brokers, { spread: false, ...options });
  return moving.filter(astray).map(({ topic, index, replicas, adding }) => {
    const to = moves.find((move) => move.topic === topic && move.index === index)?.to;
    const from = replicas.filter((id) => !adding.includes(id));
    const arrives = to && awaited({ from, to }).every((id) => options.serving.includes(id));
    return { topic, index, from, to: to && arrives ? to : null };
  });
}

/** Takes a copy from the fullest broker to the emptiest while they differ by more than one: a follower where there is one. */
function levelCopies(goal: Map<Partition, number[]>, brokers: number[], load: Map<number, number>): void {
  for (;;) {
    const order = [...brokers].sort((a, b) => load.get(a)! - load.get(b)! || a - b);
    const to = order[0]!;
    const from = order.at(-1)!;
    if (load.get(from)! - load.get(to)! <= 1) return;
    const candidates = [...goal.values()].filter((ids) => ids.includes(from) && !ids.includes(to));
    // The highest position first: whoever leads stays where it is.
    const chosen = candidates.sort((a, b) => b.indexOf(from) - a.indexOf(from))[0];
    if (!chosen) return;
    chosen[chosen.indexOf(from)] = to;
    load.set(from, load.get(from)! - 1);
    load.set(to, load.get(to)! + 1);
  }
}

/** Changes the order of copies, which costs nothing, until brokers lead equally often to within one where that can be. */
function levelLeaders(goal: Map<Partition, number[]>, brokers: number[]): void {
  const leads = new Map(brokers.map((id) => [id, 0]));
  for (const [first] of goal.values()) leads.set(first!, (leads.get(first!) ?? 0) + 1);
  for (let left = goal.size; left > 0; left--) {
    const order = [...brokers].sort((a, b) => leads.get(a)! - leads.get(b)! || a - b);
    const to = order[0]!;
    const from = order.findLast((id) =>
      [...goal.values()].some(
        (ids) => ids[0] === id && ids.includes(to) && leads.get(id)! - leads.get(to)! > 1,
      ),
    );
    if (from === undefined) return;
    const ids = [...goal.values()].find((one) => one[0] === from && one.includes(to))!;
    ids[ids.indexOf(to)] = from;
    ids[0] = to;
    leads.set(from, leads.get(from)! - 1);
    leads.set(to, leads.get(to)! + 1);
  }
}

/** Brokers that hold less than half of a fair share: they came later, and partitions are to be spread over them. */
export function nearlyEmpty(partitions: Partition[], brokers: number[]): number[] {
  const total = partitions.reduce((sum, { replicas }) => sum + replicas.length, 0);
  const share = Math.floor(total / Math.max(1, brokers.length));
  return brokers.filter(
    (id) => partitions.filter(({ replicas }) => replicas.includes(id)).length * 2 < share,
  );
}
