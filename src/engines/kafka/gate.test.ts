import { describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { blockedBy } from './gate.ts';
import type { KafkaLive } from './live.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';

const service: KafkaService = {
  name: 'events',
  type: 'kafka',
  hosts: ['d1', 'd2', 'd3'],
  uses: [],
  spec: schema.parse({}),
};
const cluster = { ids: { 'events/d1': 1, 'events/d2': 2, 'events/d3': 3 } } as unknown as Cluster;
const seat = { id: 1, name: 'events@d1', controller: true };
const voters = [1, 2, 3].map((id) => ({ id, directory: `d${id}`, caughtUp: true }));
const live = (more: Partial<KafkaLive> = {}): KafkaLive => ({
  nodes: {},
  quorum: { leader: 2, epoch: 1, voters, observers: [] },
  partitions: [{ topic: 'orders', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2, 3] }],
  brokers: [1, 2, 3],
  moving: 0,
  topics: {},
  software: true,
  lacking: [],
  ...more,
});

describe('the gate before a restart', () => {
  it('is open when every copy and every controller is in step', () => {
    expect(blockedBy(service, cluster, live(), seat)).toBeUndefined();
  });

  it('is closed while another broker is behind, and names the partition and the broker', () => {
    const partitions = [{ topic: 'orders', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2] }];
    expect(blockedBy(service, cluster, live({ partitions }), seat)).toBe(
      'under-replicated: orders-0 (without events@d3)',
    );
  });

  it('is open for the very member that is behind', () => {
    const partitions = [{ topic: 'orders', index: 0, leader: 2, replicas: [1, 2, 3], isr: [2, 3] }];
    expect(blockedBy(service, cluster, live({ partitions }), seat)).toBeUndefined();
  });

  it('is closed while one more controller would leave no majority in step', () => {
    const behind = voters.map((voter) => ({ ...voter, caughtUp: voter.id !== 3 }));
    const quorum = { leader: 2, epoch: 1, voters: behind, observers: [] };
    expect(blockedBy(service, cluster, live({ quorum }), seat)).toBe(
      '2 controllers in step are needed, 1 would be left: events@d3',
    );
  });

  it('is closed without an active controller, and where no broker answers', () => {
    const { quorum: _, ...headless } = live();
    expect(blockedBy(service, cluster, headless, seat)).toBe('there is no active controller');
    const { partitions: __, ...mute } = live();
    expect(blockedBy(service, cluster, mute, seat)).toBe('no broker answers');
  });
});
