import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import type { Drills, DrillTarget } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { clientOf, groupReader, KafkaDrillClient } from './drill-client.ts';
import { assign, groupName } from './drill-topic.ts';
import { type KafkaLive, type LiveNode, leaderless, named, underReplicated } from './live.ts';
import { copies, type KafkaService, nodeOf } from './seats.ts';
import { downloadOf } from './software.ts';
import { silenceOf, timingOf } from './timing.ts';

/** Drills of Kafka: unique records by idempotent producers, read in the end from every copy and by a consumer group. */
export async function kafkaDrills(
  service: KafkaService,
  cluster: Cluster,
  reach: Reach,
  live: KafkaLive | undefined,
): Promise<Drills<KafkaLive>> {
  if (live === undefined) throw new StepFailed(`${service.name} does not answer on any host`);
  const timing = timingOf(service).name;
  const who = (id: number): string => nodeOf(service, cluster, id)?.name ?? `node ${id}`;
  const alone = live.brokers.length < 2;
  const assignments = assign(live.brokers, copies(service).replication, live.quorum?.leader);
  // Until a client of the drill is there, faults are aimed at who leads what the file asks for.
  let topic = Object.keys(service.spec.topics)[0] ?? '';
  return {
    client: clientOf(service),
    models: { log: { groups: assignments.map((_, partition) => groupName(partition)) } },
    replicas: [...[...new Set(assignments.flat())].map(who), groupReader],
    load: { rate: 600, clients: 8, mix: { append: 1 } },
    roles: ['leader', 'controller', 'replica'],
    standard: [
      'kill-leader',
      'kill-controller',
      ...(alone ? [] : ['kill-replica']),
      'freeze-leader',
      'freeze-controller',
      'power-off-leader',
      ...(alone ? [] : ['partition-leader', 'partition-controller']),
    ],
    forMs: Math.min(15_000, Math.max(6_000, 2 * silenceOf(service))),
    timing,
    versions: { kafka: downloadOf(service).version },
    aim: (role, now, pick) => aim(service, topic, role, now, pick),
    unserved: (now) => unserved(service, now),
    unfinished: (now) => unfinished(who, now),
    async open(run) {
      topic = run;
      const client = new KafkaDrillClient({ service, cluster, reach }, run, assignments);
      try {
        await client.ready();
      } catch (error) {
        await client.close().catch(() => {});
        throw error;
      }
      return client;
    },
  };
}

/**
 * `leader` leads partitions of the drill's topic and, where there is such a one, is not the active controller: what that costs
 * is another drill. `replica` holds some and leads none.
 */
export function aim(
  service: KafkaService,
  topic: string,
  role: string,
  live: KafkaLive,
  pick: (below: number) => number,
): DrillTarget {
  const nodes = Object.values(live.nodes).filter(({ state }) => state === 'serving');
  const own = (live.partitions ?? []).filter((partition) => partition.topic === topic);
  const leads = ({ id }: LiveNode): boolean => own.some(({ leader }) => leader === id);
  const holds = ({ id }: LiveNode): boolean => own.some(({ replicas }) => replicas.includes(id));
  const active = ({ id }: LiveNode): boolean => id === live.quorum?.leader;
  const passive = (found: LiveNode[]): LiveNode[] => {
    const others = found.filter((node) => !active(node));
    return others.length > 0 ? others : found;
  };
  const found =
    role === 'controller'
      ? nodes.filter(active)
      : role === 'leader'
        ? passive(nodes.filter(leads))
        : passive(nodes.filter((node) => holds(node) && !leads(node)));
  if (found.length === 0) throw new StepFailed(`${service.name} has no ${role} that answers`);
  const { host, name } = found[pick(found.length)]!;
  return { host, member: name };
}

/** Every partition has a leader, and there is a controller that can give it another. */
function unserved(service: KafkaService, live: KafkaLive | undefined): string[] {
  if (!live?.partitions) return [`no broker of ${service.name} answers`];
  if (!live.quorum) return [`${service.name} has no active controller`];
  const lost = leaderless(live.partitions);
  return lost.length > 0 ? [`nobody leads ${lost.map(named).join(', ')}`] : [];
}

/** Copies and controllers that have not caught up. */
function unfinished(who: (id: number) => string, live: KafkaLive | undefined): string[] {
  return [
    ...underReplicated(live?.partitions ?? []).map((partition) => {
      const missing = partition.replicas.filter((id) => !partition.isr.includes(id));
      return `${named(partition)} lacks ${missing.map(who).join(', ')}`;
    }),
    ...(live?.quorum?.voters ?? [])
      .filter(({ caughtUp }) => !caughtUp)
      .map(({ id }) => `the controller of ${who(id)} is behind`),
  ];
}
