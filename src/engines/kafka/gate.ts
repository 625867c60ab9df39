import type { Cluster } from '../../file/cluster.ts';
import { nothingListens } from './client.ts';
import { type KafkaLive, type LiveNode, named, type Partition } from './live.ts';
import { type KafkaService, nodeOf, type Seat } from './seats.ts';
import { minInsyncOf } from './topics.ts';

type Asked = Pick<Seat, 'id' | 'name'>;

/** Nothing serves there: its host answers, and its port is closed. */
const closed = ({ state, why }: LiveNode): boolean => state === 'silent' && why === nothingListens;

/**
 * Why a member cannot be restarted now, with what blocks it; undefined when it can. No partition may be short of a copy before one more goes away,
 * and a majority of the controllers must be left that has caught up. Copies and votes of members that do not answer count as missing, also while
 * the controllers have not noticed. A member that nobody counts on may go at any time; where nothing is known of the cluster, only when nothing of it serves.
 */
export function blockedBy(
  service: KafkaService,
  cluster: Cluster,
  live: KafkaLive,
  seat: Asked,
): string | undefined {
  const nodes = Object.values(live.nodes);
  if (nodes.length > 0 && nodes.every(closed)) return undefined;
  const nameOf = (id: number): string => nodeOf(service, cluster, id)?.name ?? `node ${id}`;
  if (!live.quorum && !live.partitions && nodes.length > 0) {
    const open = nodes.filter((node) => !closed(node));
    return `nothing is known of the cluster, and members may serve: ${open.map(({ name, why }) => `${name} (${why ?? 'it answers'})`).join(', ')}. Bring them up, or stop all with phalanx down and run up again`;
  }
  if (!live.quorum) return 'there is no active controller';
  const { voters } = live.quorum;
  const votes = voters.some(({ id, caughtUp }) => id === seat.id && caughtUp);
  const brokers = nodes.filter(({ id }) => nodeOf(service, cluster, id)?.broker);
  if (!live.partitions) {
    // With controllers of their own these may be all that serves.
    if (brokers.length === 0 || !brokers.every(closed)) return 'no broker answers';
  } else {
    // A copy that is the last in step and whose broker is away serves nobody: only that broker can bring it back.
    const counted = live.partitions.some(({ leader, isr }) => leader >= 0 && isr.includes(seat.id));
    if (!votes && !counted && !live.brokers.includes(seat.id)) return undefined;
    const blocked = blockedByCopies(service, live, seat, nameOf);
    if (blocked !== undefined) return blocked;
  }
  if (voters.length > 1 && voters.some(({ id }) => id === seat.id)) {
    const away = silent(live);
    const inStep = voters.filter(({ id, caughtUp }) => id !== seat.id && caughtUp && !away.has(id));
    const needed = Math.floor(voters.length / 2) + 1;
    if (inStep.length < needed) {
      const behind = voters.filter((one) => one.id !== seat.id && !inStep.includes(one));
      return `${needed} controllers in step are needed, ${inStep.length} would be left: ${behind.map(({ id }) => nameOf(id)).join(', ') || 'there are no more'}`;
    }
  }
  return undefined;
}

/** Node ids of members that do not answer. */
const silent = (live: KafkaLive): Set<number> =>
  new Set(Object.values(live.nodes).flatMap(({ id, state }) => (state === 'silent' ? [id] : [])));

function blockedByCopies(
  service: KafkaService,
  live: KafkaLive,
  seat: Asked,
  nameOf: (id: number) => string,
): string | undefined {
  const away = silent(live);
  const short: string[] = [];
  const refused: string[] = [];
  for (const partition of live.partitions ?? []) {
    const inStep = partition.isr.filter((id) => id !== seat.id && !away.has(id));
    const missing = partition.replicas.filter((id) => id !== seat.id && !inStep.includes(id));
    if (missing.length === 0) continue;
    const text = `${named(partition)} (without ${missing.map(nameOf).join(', ')})`;
    const refuses = partition.isr.includes(seat.id) && inStep.length < minInsyncOf(service, live, partition);
    (refuses ? refused : short).push(text);
  }
  const first = (list: string[]): string =>
    `${list[0]}${list.length > 1 ? ` and ${list.length - 1} more` : ''}`;
  if (refused.length > 0) return `would fall below min.insync.replicas: ${first(refused)}`;
  return short.length > 0 ? `under-replicated: ${first(short)}` : undefined;
}

/**
 * Partitions whose writes are refused while the member restarts, however long is waited before: they want every copy that they have in step, or have
 * no other.
 */
export const refusedMeanwhile = (service: KafkaService, live: KafkaLive, seat: Asked): Partition[] =>
  (live.partitions ?? []).filter(
    (partition) =>
      partition.replicas.includes(seat.id) &&
      partition.replicas.length - 1 < minInsyncOf(service, live, partition),
  );
