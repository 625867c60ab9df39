import type { Cluster } from '../../file/cluster.ts';
import { type KafkaLive, named } from './live.ts';
import { copies, type KafkaService, nodeOf, type Seat } from './seats.ts';

/**
 * Why a member cannot be spared now, with what blocks it; undefined when it can. No partition may be short of a copy before one more
 * goes away, none may fall below its min.insync.replicas, and a majority of the controllers must be left that has caught up.
 */
export function blockedBy(
  service: KafkaService,
  cluster: Cluster,
  live: KafkaLive,
  seat: Pick<Seat, 'id' | 'name' | 'controller'>,
): string | undefined {
  if (!live.quorum) return 'there is no active controller';
  if (!live.partitions) return 'no broker answers';
  const short: string[] = [];
  const last: string[] = [];
  for (const partition of live.partitions) {
    const { replicas, isr, topic } = partition;
    const others = isr.filter((id) => id !== seat.id);
    const missing = replicas.filter((id) => !isr.includes(id) && id !== seat.id);
    const who = missing.map((id) => nodeOf(service, cluster, id)?.name ?? `node ${id}`).join(', ');
    if (missing.length > 0) short.push(`${named(partition)} (without ${who})`);
    else if (replicas.includes(seat.id) && replicas.length > 1) {
      const needed = Number(
        live.topics[topic]?.['min.insync.replicas'] ?? copies(service, replicas.length).minInsync,
      );
      // A topic that wants all its copies in step can never spare one: its writes stop for the time of the restart.
      if (others.length < Math.min(needed, replicas.length - 1)) last.push(named(partition));
    }
  }
  const first = (list: string[]): string =>
    `${list[0]}${list.length > 1 ? ` and ${list.length - 1} more` : ''}`;
  if (short.length > 0) return `under-replicated: ${first(short)}`;
  if (last.length > 0) return `too few copies in step would be left: ${first(last)}`;
  const { voters } = live.quorum;
  if (seat.controller && voters.length > 1) {
    const left = voters.filter(({ id, caughtUp }) => id !== seat.id && caughtUp).length;
    const needed = Math.floor(voters.length / 2) + 1;
    if (left < needed) {
      const behind = voters
        .filter(({ id, caughtUp }) => id !== seat.id && !caughtUp)
        .map(({ id }) => nodeOf(service, cluster, id)?.name ?? `node ${id}`);
      return `${needed} controllers in step are needed, ${left} would be left: ${behind.join(', ') || 'there are no more'}`;
    }
  }
  return undefined;
}
