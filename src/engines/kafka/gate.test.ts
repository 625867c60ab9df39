import { describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { blockedBy, refusedMeanwhile } from './gate.ts';
import { type KafkaLive, type LiveNode, named } from './live.ts';
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
const seat = { id: 1, name: 'events@d1' };
const node = (id: number, state: LiveNode['state'], why?: string): LiveNode => ({
  name: `events@d${id}`,
  host: `d${id}`,
  id,
  state,
  ...(why ? { why } : {}),
});
const nodes = (...list: LiveNode[]) => Object.fromEntries(list.map((one) => [one.name, one]));
const voters = [1, 2, 3].map((id) => ({ id, directory: `d${id}`, caughtUp: true }));
const live = (more: Partial<KafkaLive> = {}): KafkaLive => ({
  nodes: {},
  quorum: { leader: 2, epoch: 1, voters, observers: [] },
  partitions: [{ topic: 'orders', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2, 3] }],
  brokers: [1, 2, 3],
  moving: [],
  topics: {},
  overrides: {},
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
      'would fall below min.insync.replicas: orders-0 (without events@d3)',
    );
    const elsewhere = [{ topic: 'orders', index: 0, leader: 2, replicas: [2, 3], isr: [2] }];
    expect(blockedBy(service, cluster, live({ partitions: elsewhere }), seat)).toBe(
      'under-replicated: orders-0 (without events@d3)',
    );
  });

  it('does not wait for what no waiting brings, and names it: partitions that want every copy that they have', () => {
    const partitions = [
      { topic: 'all', index: 0, leader: 1, replicas: [1, 2], isr: [1, 2] },
      { topic: 'spare', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2, 3] },
      { topic: 'elsewhere', index: 0, leader: 2, replicas: [2, 3], isr: [2, 3] },
    ];
    expect(blockedBy(service, cluster, live({ partitions }), seat)).toBeUndefined();
    expect(refusedMeanwhile(service, live({ partitions }), seat).map(named)).toEqual(['all-0']);
  });

  it('is closed while another does not answer, also when the controllers have not noticed', () => {
    const seen = live({
      nodes: nodes(node(1, 'serving'), node(2, 'serving'), node(3, 'silent', 'no answer')),
    });
    expect(blockedBy(service, cluster, seen, seat)).toContain('orders-0 (without events@d3)');
    expect(
      blockedBy(
        service,
        cluster,
        { ...seen, partitions: [], nodes: nodes(node(2, 'silent'), node(3, 'silent')) },
        seat,
      ),
    ).toBe('2 controllers in step are needed, 0 would be left: events@d2, events@d3');
  });

  it('is closed for a member that does not answer and that the others count on', () => {
    const partitions = [{ topic: 'orders', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2] }];
    const seen = live({ partitions, nodes: nodes(node(1, 'silent', 'no answer'), node(2, 'serving')) });
    expect(blockedBy(service, cluster, seen, seat)).toContain('orders-0 (without events@d3)');
  });

  it('is open for a member that nobody counts on, whatever else is amiss', () => {
    const partitions = [
      { topic: 'orders', index: 0, leader: 2, replicas: [1, 2, 3], isr: [2] },
      // Only its return brings this one back.
      { topic: 'single', index: 0, leader: -1, replicas: [1], isr: [1] },
    ];
    const behind = voters.map((voter) => ({ ...voter, caughtUp: voter.id === 2 }));
    const quorum = { leader: 2, epoch: 1, voters: behind, observers: [] };
    expect(blockedBy(service, cluster, live({ partitions, quorum, brokers: [2] }), seat)).toBeUndefined();
    expect(blockedBy(service, cluster, live({ partitions, quorum, brokers: [1, 2] }), seat)).toBeDefined();
  });

  it('where nothing is known of the cluster it is open only when nothing of it serves', () => {
    const { quorum: _, partitions: __, ...nothing } = live({ brokers: [] });
    const shut = (id: number) => node(id, 'silent', 'nothing listens');
    const dead = { ...nothing, nodes: nodes(shut(1), shut(2), shut(3)) };
    expect(blockedBy(service, cluster, dead, seat)).toBeUndefined();
    const slow = { ...nothing, nodes: nodes(shut(1), shut(2), node(3, 'silent', 'no answer')) };
    expect(blockedBy(service, cluster, slow, seat)).toMatch(/^nothing is known .*events@d3 \(no answer\)/);
  });

  it('asks for a majority without a member that has a vote, whatever the file says of it', () => {
    const behind = voters.map((voter) => ({ ...voter, caughtUp: voter.id !== 3 }));
    const quorum = { leader: 2, epoch: 1, voters: behind, observers: [] };
    const without = [1, 2].map((id) => ({ id, directory: `d${id}`, caughtUp: true }));
    expect(blockedBy(service, cluster, live({ quorum }), seat)).toBeDefined();
    const elsewhere = { ...quorum, voters: without.slice(1) };
    expect(blockedBy(service, cluster, live({ quorum: elsewhere }), seat)).toBeUndefined();
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
