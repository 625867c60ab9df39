import { describe, expect, it } from 'vitest';
import type { KafkaLive } from './live.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';
import { minInsyncOf, topicDifferences } from './topics.ts';

const service = (spec: object = {}, hosts = ['d1', 'd2', 'd3']): KafkaService => ({
  name: 'events',
  type: 'kafka',
  hosts,
  uses: [],
  spec: schema.parse(spec),
});
const config = {
  'min.insync.replicas': '2',
  'cleanup.policy': 'delete',
  'retention.ms': '3600000',
  'retention.bytes': '-1',
};
const live = (more: Partial<KafkaLive> = {}): KafkaLive => ({
  nodes: {},
  partitions: [{ topic: 'orders', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2, 3] }],
  brokers: [1, 2, 3],
  topics: { orders: config },
  overrides: { orders: ['min.insync.replicas', 'cleanup.policy', 'retention.ms'] },
  software: true,
  lacking: [],
  ...more,
});

describe('topics', () => {
  it('a key that left the file is not as the file says while it is set at the topic itself', () => {
    expect(topicDifferences(service({ topics: { orders: { retention: '1h' } } }), live())).toEqual([]);
    const without = service({ topics: { orders: {} } });
    expect(topicDifferences(without, live())).toEqual([
      'orders: retention.ms is 3600000, and the file does not say so',
    ]);
    // Inherited from the brokers: their business.
    const inherited = live({ overrides: { orders: ['min.insync.replicas', 'cleanup.policy'] } });
    expect(topicDifferences(without, inherited)).toEqual([]);
    // A topic that is not in the file is its owner's.
    expect(topicDifferences(service(), live())).toEqual([]);
  });

  it("the cluster's own min.insync.replicas outranks server.properties, and is compared where there is one", () => {
    expect(topicDifferences(service(), live({ minInsync: 1 }))).toEqual([
      'min.insync.replicas of the cluster is 1, not 2',
    ]);
    expect(topicDifferences(service(), live({ minInsync: 2 }))).toEqual([]);
    expect(
      topicDifferences(service({ config: { 'min.insync.replicas': 1 } }), live({ minInsync: 1 })),
    ).toEqual([]);
    expect(topicDifferences(service({}, ['d1']), live({ minInsync: 1 }))).toEqual([]);
  });

  it('a write needs what its topic says, else the cluster, and never more copies than there are', () => {
    const of = (topic: string, replicas: number[], more: Partial<KafkaLive> = {}) =>
      minInsyncOf(service(), live(more), { topic, index: 0, leader: 1, replicas, isr: replicas });
    expect(of('orders', [1, 2, 3])).toBe(2);
    expect(of('theirs', [1, 2, 3], { minInsync: 1 })).toBe(1);
    expect(of('theirs', [1, 2, 3])).toBe(2);
    expect(of('theirs', [1])).toBe(1);
  });
});
