import { describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import type { BasePlan, Step } from '../engine.ts';
import type { KafkaLive, LiveNode } from './live.ts';
import { kafkaMembers } from './members.ts';
import { planKafka } from './plan.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';

const hosts = ['d1', 'd2', 'd3', 'd4'];
const service = (names: string[], spec: object = {}): KafkaService => ({
  name: 'events',
  type: 'kafka',
  hosts: names,
  uses: [],
  spec: schema.parse(spec),
});
const cluster = {
  name: 'shop',
  home: '/nowhere',
  ids: Object.fromEntries(hosts.map((host, i) => [`events/${host}`, i + 1])),
  secrets: {},
  hosts: Object.fromEntries(
    hosts.map((name, i) => [
      name,
      { name, kind: 'lab', address: `10.0.0.${i + 1}`, root: `/nowhere/hosts/${name}` },
    ]),
  ),
} as unknown as Cluster;

const node = (host: string, state: LiveNode['state'] = 'serving'): LiveNode => {
  const id = hosts.indexOf(host) + 1;
  return {
    name: `events@${host}`,
    host,
    id,
    state,
    disk: { told: true, formatted: { cluster: 'c', node: id, directory: `dir${id}` } },
  };
};
const voter = (id: number) => ({ id, directory: `dir${id}`, caughtUp: true });
const live = (more: Partial<KafkaLive> = {}): KafkaLive => ({
  nodes: Object.fromEntries(['d1', 'd2', 'd3'].map((host) => [`events@${host}`, node(host)])),
  quorum: { leader: 2, epoch: 3, voters: [voter(1), voter(2), voter(3)], observers: [] },
  partitions: [0, 1, 2, 3].map((index) => ({
    topic: 'orders',
    index,
    leader: 1,
    replicas: [1, 2, 3],
    isr: [1, 2, 3],
  })),
  brokers: [1, 2, 3],
  moving: 0,
  topics: {},
  users: ['app'],
  software: true,
  lacking: [],
  ...more,
});
const script = (verb: string, host: string): Step => ({
  id: `${verb} events@${host}`,
  verb,
  target: `events@${host}`,
  host,
  why: '',
  needs: [],
  do: { kind: 'script', script: '', timeoutMs: 1 },
});
const base = (
  of: KafkaService,
  byMember: Record<string, Step[]> = {},
  leaving: Record<string, Step[]> = {},
): BasePlan => ({
  members: kafkaMembers(of, cluster),
  observed: new Map(),
  byMember: new Map(Object.entries(byMember)),
  leaving: new Map(Object.entries(leaving)),
  around: () => ({ before: [], after: [] }),
});
const ids = (steps: Step[]): string[] => steps.map(({ id }) => id);
const three = service(['d1', 'd2', 'd3']);

describe('the plan of Kafka', () => {
  it('has nothing to do when all is as the file says, whoever leads', () => {
    expect(planKafka(three, cluster, live(), base(three))).toEqual([]);
    const other = { leader: 1, epoch: 9, voters: [voter(1), voter(2), voter(3)], observers: [] };
    expect(planKafka(three, cluster, live({ quorum: other }), base(three))).toEqual([]);
  });

  it('a broker that died is started, and no other is touched', () => {
    const nodes = { ...live().nodes, 'events@d2': node('d2', 'silent') };
    const steps = planKafka(
      three,
      cluster,
      live({ nodes, brokers: [1, 3] }),
      base(three, { 'events@d2': [script('start', 'd2')] }),
    );
    expect(ids(steps)).toEqual(['start events@d2', 'ready events@d2', 'serve events']);
  });

  it('a real machine without Kafka is sent it before its member starts; one that has it is not', () => {
    const real = structuredClone(cluster);
    for (const host of Object.values(real.hosts)) host.kind = 'ssh';
    const nodes = { ...live().nodes, 'events@d2': node('d2', 'silent') };
    const starts = { 'events@d2': [script('start', 'd2')] };
    const steps = (lacking: string[]) =>
      planKafka(three, real, live({ nodes, lacking }), base(three, starts));
    expect(ids(steps([]))).not.toContain('ship events@d2');
    const sent = steps(['d2']);
    expect(ids(sent).filter((id) => id.startsWith('ship'))).toEqual(['ship events@d2']);
    expect(sent.find(({ id }) => id === 'start events@d2')!.needs).toContain('ship events@d2');
    const first = ids(planKafka(three, real, undefined, base(three)));
    expect(first.filter((id) => id.startsWith('ship'))).toHaveLength(3);
    expect(ids(planKafka(three, cluster, undefined, base(three)))).not.toContain('ship events@d1');
  });

  it('a new broker gets partitions, also where nobody could tell of them when it was planned', () => {
    const four = service(['d1', 'd2', 'd3', 'd4']);
    const nodes = { ...live().nodes, 'events@d4': { ...node('d4', 'silent'), disk: { told: false } } };
    const starts = { 'events@d4': [script('start', 'd4')] };
    for (const partitions of [live().partitions!, undefined]) {
      const { partitions: _, ...rest } = live({ nodes });
      const seen = { ...rest, ...(partitions ? { partitions } : {}) };
      const steps = planKafka(four, cluster, seen, base(four, starts));
      expect(ids(steps)).toContain('move events');
    }
    // A broker that only died has its partitions.
    const died = { ...live().nodes, 'events@d2': node('d2', 'silent') };
    const { partitions: _, ...rest } = live({ nodes: died });
    const steps = planKafka(three, cluster, rest, base(three, { 'events@d2': [script('start', 'd2')] }));
    expect(ids(steps)).not.toContain('move events');
  });

  it('a roll takes one after the other behind a gate, the active controller last', () => {
    const restarts = Object.fromEntries(
      ['d1', 'd2', 'd3'].map((host) => [`events@${host}`, [script('restart', host)]]),
    );
    const steps = planKafka(three, cluster, live(), base(three, restarts));
    expect(ids(steps).filter((id) => id.startsWith('restart'))).toEqual([
      'restart events@d1',
      'restart events@d3',
      'restart events@d2',
    ]);
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(at('restart events@d3').needs).toEqual(['hold events@d3']);
    expect(at('hold events@d3').needs).toEqual(['ready events@d1']);
    expect(at('hold events@d2').needs).toEqual(['ready events@d3']);
  });

  it('one that leaves stops only when its partitions and its vote are elsewhere', () => {
    const fewer = service(['d2', 'd3', 'd4']);
    const nodes = { ...live().nodes, 'events@d4': node('d4') };
    const leaving = { 'events@d1': [script('stop', 'd1'), script('remove', 'd1')] };
    const steps = planKafka(fewer, cluster, live({ nodes, brokers: [1, 2, 3, 4] }), base(fewer, {}, leaving));
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(ids(steps)).toContain('vote events@d4');
    expect(at('unvote events@d1 (dir1)').needs).toEqual(['vote events@d4', 'move events']);
    expect(at('stop events@d1').needs).toEqual(['move events', 'unvote events@d1 (dir1)']);
    expect(at('forget events@d1').needs).toEqual(['remove events@d1']);
  });

  it('one that comes is started and given its share in one go', () => {
    const four = service(hosts);
    const nodes = { ...live().nodes, 'events@d4': { ...node('d4', 'silent'), disk: { told: false } } };
    const own = { 'events@d4': [script('write', 'd4'), script('start', 'd4')] };
    expect(ids(planKafka(four, cluster, live({ nodes }), base(four, own)))).toEqual([
      'write events@d4',
      'seed events@d4',
      'start events@d4',
      'ready events@d4',
      'move events',
      'serve events',
    ]);
  });

  it('a move that was cut short is gone on with, and a throttle that was left is taken off', () => {
    expect(ids(planKafka(three, cluster, live({ moving: 2 }), base(three)))).toContain('move events');
    const nodes = { ...live().nodes, 'events@d1': { ...node('d1'), throttled: true } };
    expect(ids(planKafka(three, cluster, live({ nodes }), base(three)))).toContain('move events');
  });

  it('a controller that lost its disk is told to join, and its old vote goes', () => {
    const blank = { ...node('d1', 'silent'), disk: { told: false } };
    const nodes = { ...live().nodes, 'events@d1': blank };
    const writes = [script('write', 'd1'), script('start', 'd1')];
    const steps = ids(planKafka(three, cluster, live({ nodes }), base(three, { 'events@d1': writes })));
    expect(steps.slice(0, 4)).toEqual([
      'write events@d1',
      'seed events@d1',
      'start events@d1',
      'ready events@d1',
    ]);
    const back = {
      ...node('d1'),
      disk: { told: true, formatted: { cluster: 'c', node: 1, directory: 'new' } },
    };
    const again = planKafka(
      three,
      cluster,
      live({ nodes: { ...live().nodes, 'events@d1': back } }),
      base(three),
    );
    expect(ids(again)).toEqual(['vote events@d1', 'unvote events@d1 (dir1)', 'serve events']);
  });

  it('nothing is started before what it runs is there', () => {
    const steps = planKafka(
      three,
      cluster,
      undefined,
      base(three, {
        'events@d1': [script('write', 'd1'), script('start', 'd1')],
      }),
    );
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(at('form events').needs).toContain('fetch events');
    expect(at('start events@d1').needs).toContain('form events');
    expect(at('serve events').needs).toContain('form events');
  });

  it('topics that differ are named, and what is not in the file is not', () => {
    const spec = { topics: { orders: { partitions: 6 } } };
    const wanted = service(['d1', 'd2', 'd3'], spec);
    const topics = { orders: { 'min.insync.replicas': '2', 'cleanup.policy': 'delete' } };
    const [serve] = planKafka(wanted, cluster, live({ topics }), base(wanted));
    expect(serve!.why).toBe('orders has 4 partitions, not 6');
  });
});
