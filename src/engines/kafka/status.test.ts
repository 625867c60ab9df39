import { describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import type { KafkaLive } from './live.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';
import { kafkaStatus } from './status.ts';

const hosts = ['d1', 'd2', 'd3', 'd4'];
const service: KafkaService = {
  name: 'events',
  type: 'kafka',
  hosts,
  uses: [],
  spec: schema.parse({}),
};
const cluster = {
  ids: Object.fromEntries(hosts.map((host, i) => [`events/${host}`, i + 1])),
  hosts: Object.fromEntries(
    hosts.map((name) => [name, { name, kind: 'lab', address: '10.0.0.1', root: '/r' }]),
  ),
} as unknown as Cluster;
const voter = (id: number) => ({ id, directory: `dir${id}`, caughtUp: true });
const live = (more: Partial<KafkaLive> = {}): KafkaLive => ({
  nodes: Object.fromEntries(
    hosts.map((host, i) => [
      `events@${host}`,
      { name: `events@${host}`, host, id: i + 1, state: 'serving' as const },
    ]),
  ),
  quorum: { leader: 1, epoch: 1, voters: [voter(1), voter(2), voter(3)], observers: [] },
  partitions: [{ topic: 'orders', index: 0, leader: 1, replicas: [1, 2, 3], isr: [1, 2, 3] }],
  brokers: [1, 2, 3, 4],
  moving: [],
  topics: {},
  overrides: {},
  software: true,
  lacking: [],
  ...more,
});
const rowOf = (name: string, more: Partial<KafkaLive>) =>
  kafkaStatus(service, cluster, live(more)).find((row) => row.name === name);

describe('the status of Kafka', () => {
  it('is ok all over where all is as the file says', () => {
    expect(kafkaStatus(service, cluster, live()).filter(({ health }) => health !== 'ok')).toEqual([]);
  });

  it('names partitions that nobody leads, also when each has all the copies that are in step', () => {
    const partitions = [{ topic: 'orders', index: 0, leader: -1, replicas: [3], isr: [3] }];
    const row = rowOf('partitions', { partitions })!;
    expect(row).toMatchObject({ role: 'leaderless', health: 'down', why: 'nobody leads 1 (orders-0)' });
  });

  it('says that the controllers have no majority, of members that answer', () => {
    const { quorum: _, ...headless } = live();
    const rows = kafkaStatus(service, cluster, headless);
    expect(rows).toHaveLength(4);
    for (const { why } of rows) expect(why).toContain('the controllers have no majority');
  });

  it('names votes that the file does not want: of a mere broker, and of nobody', () => {
    const voters = [voter(1), voter(2), voter(4), voter(9)];
    const quorum = { leader: 1, epoch: 1, voters, observers: [] };
    expect(rowOf('events@d4', { quorum })!.why).toContain('a vote that the file does not want');
    expect(rowOf('events@d3', { quorum })!.why).toContain('a controller without a vote');
    expect(rowOf('votes', { quorum })!.why).toContain('node 9');
  });
});
