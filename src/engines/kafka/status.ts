import type { Cluster } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import type { StatusRow } from '../engine.ts';
import { type KafkaLive, type LiveNode, leaderless, named, underReplicated } from './live.ts';
import { type KafkaService, nodeOf, seatsOf } from './seats.ts';
import { minInsyncOf } from './topics.ts';

/** Each member with its live role; and, where partitions suffer, which and by whom. */
export function kafkaStatus(
  service: KafkaService,
  cluster: Cluster,
  live: KafkaLive | undefined,
): StatusRow[] {
  if (!live) return [];
  const seats = seatsOf(service, cluster);
  const rows = Object.values(live.nodes).map((node): StatusRow => {
    const seat = seats.find(({ name }) => name === node.name);
    const voter = live.quorum?.voters.some(({ id }) => id === node.id);
    const broker = seat?.broker ?? nodeOf(service, cluster, node.id)?.broker ?? true;
    const active = live.quorum?.leader === node.id;
    const control = active ? 'active controller' : voter ? 'controller' : '';
    const role = [broker ? 'broker' : '', control].filter(Boolean).join(', ');
    const row = { service: service.name, name: node.name, host: node.host, facts: facts(node, live) };
    if (node.state === 'silent')
      return { ...row, role: 'silent', health: 'down', why: node.why ?? 'it does not answer' };
    if (!live.quorum)
      return {
        ...row,
        role,
        health: 'degraded',
        why: 'the controllers have no majority: nothing can be changed and no leader moved',
      };
    if (node.state === 'fenced')
      return { ...row, role, health: 'degraded', why: 'the controllers do not count on it yet' };
    if (!seat) return { ...row, role, health: 'degraded', why: 'the file no longer has it: phalanx up' };
    if (seat.controller && !voter)
      return { ...row, role, health: 'degraded', why: 'a controller without a vote: phalanx up' };
    if (!seat.controller && voter)
      return { ...row, role, health: 'degraded', why: 'a vote that the file does not want: phalanx up' };
    return { ...row, role, health: 'ok' };
  });
  return [...rows, ...troubles(service, cluster, live)];
}

function facts(node: LiveNode, live: KafkaLive): Record<string, string> {
  const held = live.partitions?.filter(({ replicas }) => replicas.includes(node.id)) ?? [];
  const brokerFacts: Record<string, string> =
    node.bytes === undefined
      ? {}
      : {
          leads: String(held.filter(({ leader }) => leader === node.id).length),
          holds: String(held.length),
          'on disk': sizeShort(node.bytes),
        };
  return {
    node: String(node.id),
    ...brokerFacts,
    ...(node.throttled ? { throttled: 'yes' } : {}),
    ...(live.quorum?.leader === node.id ? { epoch: String(live.quorum.epoch) } : {}),
  };
}

/** Rows that are no member's: what could not be fetched, and partitions that lack something. */
function troubles(service: KafkaService, cluster: Cluster, live: KafkaLive): StatusRow[] {
  const row = { service: service.name, host: '', facts: {} };
  const rows: StatusRow[] = [];
  if (!live.software)
    rows.push({
      ...row,
      name: 'software',
      role: 'missing',
      health: 'down',
      why: live.notFetched ?? 'not fetched yet: phalanx up',
    });
  const strays = (live.quorum?.voters ?? []).filter(
    ({ id }) => !Object.values(live.nodes).some((node) => node.id === id),
  );
  if (strays.length > 0)
    rows.push({
      ...row,
      name: 'votes',
      role: 'of nobody',
      health: 'degraded',
      why: `${strays.map(({ id }) => nodeOf(service, cluster, id)?.name ?? `node ${id}`).join(', ')} has a vote that the file does not want: phalanx up`,
    });
  const partitions = live.partitions ?? [];
  const under = underReplicated(partitions);
  const dead = leaderless(partitions);
  const refusing = partitions.filter(
    (partition) => partition.isr.length < minInsyncOf(service, live, partition),
  );
  if (under.length + dead.length + refusing.length > 0) {
    const without = new Set(under.flatMap(({ replicas, isr }) => replicas.filter((id) => !isr.includes(id))));
    const who = [...without].map((id) => nodeOf(service, cluster, id)?.name ?? `node ${id}`).join(', ');
    const list = (names: string[]): string =>
      `${names.length} (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''})`;
    rows.push({
      ...row,
      name: 'partitions',
      role: dead.length > 0 ? 'leaderless' : refusing.length > 0 ? 'under min ISR' : 'under-replicated',
      health: dead.length > 0 ? 'down' : 'degraded',
      facts: {
        ...(under.length > 0 ? { 'under-replicated': list(under.map(named)) } : {}),
        ...(live.moving && live.moving.length > 0 ? { moving: String(live.moving.length) } : {}),
      },
      why: [
        ...(under.length > 0 ? [`${who} ${without.size === 1 ? 'is' : 'are'} not in step`] : []),
        ...(refusing.length > 0 ? [`writes with acks=all are refused by ${list(refusing.map(named))}`] : []),
        ...(dead.length > 0 ? [`nobody leads ${list(dead.map(named))}`] : []),
      ].join('; '),
    });
  }
  return rows;
}

/** Bytes in the largest unit that keeps three digits: 1.2gb. */
export function sizeShort(bytes: number): string {
  for (const [unit, factor] of [
    ['gb', 2 ** 30],
    ['mb', 2 ** 20],
    ['kb', 2 ** 10],
  ] as const)
    if (bytes >= factor) return `${(bytes / factor).toFixed(bytes >= factor * 100 ? 0 : 1)}${unit}`;
  return sizeText(bytes);
}
