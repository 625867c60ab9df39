import type { KafkaLive } from './live.ts';
import type { TopicSpec } from './schema.ts';
import { copies, type KafkaService } from './seats.ts';

/** A topic as the file wants it: its copies and the keys of its configuration that the file sets. */
export interface WantedTopic {
  name: string;
  partitions: number;
  /** Only where the file names it: otherwise a topic keeps the copies that it was made with. */
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

/** What is not as the file says, a phrase each; empty when all is. Undefined when topics could not be asked for. */
export function topicDifferences(service: KafkaService, live: KafkaLive): string[] | undefined {
  if (!live.partitions) return undefined;
  return wantedTopics(service).flatMap((topic) => {
    const found = live.partitions!.filter((partition) => partition.topic === topic.name);
    if (found.length === 0) return [`topic ${topic.name} is missing`];
    const has = live.topics[topic.name] ?? {};
    const keys = Object.entries(topic.config).flatMap(([key, value]) =>
      sameSetting(has[key], value) ? [] : [`${topic.name}: ${key} is ${has[key] ?? 'not set'}, not ${value}`],
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
    return [...keys, ...count, ...few];
  });
}

/** Lists are told in an order of Kafka's own. */
export const sameSetting = (found: string | undefined, wanted: string): boolean =>
  found?.split(',').sort().join() === wanted.split(',').sort().join();
