import type { KafkaLive, Partition } from './live.ts';
import type { TopicSpec } from './schema.ts';
import { copies, type KafkaService } from './seats.ts';

/** Keys of a topic for which the file has words of its own: what is not said there is not to be so at the topic either. */
export const lookedAt = ['retention.ms', 'retention.bytes', 'cleanup.policy', 'min.insync.replicas'];

/** Topics of Kafka's own that are made with as many copies as there are brokers at that moment, and hold what no application can make again. */
const internal = ['__consumer_offsets', '__transaction_state', '__share_group_state'];

/** A topic as the file wants it: its copies and the keys of its configuration that the file sets. */
export interface WantedTopic {
  name: string;
  partitions: number;
  /** Only where the file names it: otherwise a topic has `copies` at least. */
  replication: number | undefined;
  copies: number;
  config: Record<string, string>;
}

const cleanups: Record<TopicSpec['cleanup'], string> = {
  delete: 'delete',
  compact: 'compact',
  both: 'compact,delete',
};

export function wantedTopics(service: KafkaService): WantedTopic[] {
  return Object.entries(service.spec.topics).map(([name, topic]) => {
    const { replication, minInsync } = copies(service, topic.replication);
    const config: Record<string, string> = {
      'min.insync.replicas': String(topic.minInsync ?? minInsync),
      'cleanup.policy': cleanups[topic.cleanup],
      ...(topic.retention === undefined
        ? {}
        : { 'retention.ms': topic.retention === 'forever' ? '-1' : String(topic.retention) }),
      ...(topic.retentionSize === undefined ? {} : { 'retention.bytes': String(topic.retentionSize) }),
      ...Object.fromEntries(Object.entries(topic.config).map(([key, value]) => [key, String(value)])),
    };
    return {
      name,
      partitions: topic.partitions,
      replication: topic.replication,
      copies: replication,
      config,
    };
  });
}

/**
 * How many copies a partition is to have: what the file says of its topic. Where it says nothing, the topics of the file and Kafka's own have at
 * least as many as new ones get, so that a cluster that grew keeps its records on more than one broker; they are never given fewer. Others keep what
 * they have.
 */
export function copiesWanted(service: KafkaService, { topic, replicas }: Partition): number {
  const named = service.spec.topics[topic]?.replication;
  if (named !== undefined) return named;
  const ours = topic in service.spec.topics || internal.includes(topic);
  return ours ? Math.max(replicas.length, copies(service).replication) : replicas.length;
}

/** min.insync.replicas of topics that have none of their own. */
export const clusterMinInsync = (service: KafkaService): number =>
  Number(service.spec.config['min.insync.replicas'] ?? copies(service).minInsync);

/** How many copies of a partition must be in step for a write with acks=all. Kafka asks for no more than there are. */
export function minInsyncOf(service: KafkaService, live: KafkaLive, { topic, replicas }: Partition): number {
  const own = live.topics[topic]?.['min.insync.replicas'];
  return Math.min(Number(own ?? live.minInsync ?? clusterMinInsync(service)), replicas.length);
}

/** Keys that are set at a topic of the file and that the file does not set (any more). */
export const leftOver = ({ name, config }: WantedTopic, live: KafkaLive): string[] =>
  lookedAt.filter((key) => !(key in config) && (live.overrides[name] ?? []).includes(key));

/** What is not as the file says, a phrase each; empty when all is. Undefined when topics could not be asked for. */
export function topicDifferences(service: KafkaService, live: KafkaLive): string[] | undefined {
  if (!live.partitions) return undefined;
  const minInsync = clusterMinInsync(service);
  const cluster =
    live.minInsync === undefined || live.minInsync === minInsync
      ? []
      : [`min.insync.replicas of the cluster is ${live.minInsync}, not ${minInsync}`];
  const topics = wantedTopics(service).flatMap((topic) => {
    const found = live.partitions!.filter((partition) => partition.topic === topic.name);
    if (found.length === 0) return [`topic ${topic.name} is missing`];
    const has = live.topics[topic.name] ?? {};
    const keys = Object.entries(topic.config).flatMap(([key, value]) =>
      sameSetting(has[key], value) ? [] : [`${topic.name}: ${key} is ${has[key] ?? 'not set'}, not ${value}`],
    );
    const left = leftOver(topic, live).map(
      (key) => `${topic.name}: ${key} is ${has[key] ?? 'set'}, and the file does not say so`,
    );
    const count =
      found.length === topic.partitions
        ? []
        : [`${topic.name} has ${found.length} partitions, not ${topic.partitions}`];
    const wrong = found.filter(
      ({ replicas }) => topic.replication !== undefined && replicas.length !== topic.replication,
    );
    const few =
      wrong.length > 0
        ? [`${topic.name} has ${wrong[0]!.replicas.length} copies, not ${topic.replication}`]
        : [];
    return [...keys, ...left, ...count, ...few];
  });
  return [...cluster, ...topics];
}

/** Lists are told in an order of Kafka's own. */
export const sameSetting = (found: string | undefined, wanted: string): boolean =>
  found?.split(',').sort().join() === wanted.split(',').sort().join();
