import { describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import type { BasePlan, Step } from '../engine.ts';
import type { KafkaLive, LiveNode, Started } from './live.ts';
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
  moving: [],
  topics: {},
  overrides: {},
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
  ready: () => undefined,
  around: () => ({ before: [], after: [] }),
  dismiss: () => [],
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
    expect(at('empty events@d1').needs).toEqual(['move events', 'unvote events@d1 (dir1)']);
    expect(at('stop events@d1').needs).toEqual(['empty events@d1']);
    expect(at('forget events@d1').needs).toEqual(['remove events@d1']);
  });

  const blank = { disk: { told: true } };
  const allBlank = (state: LiveNode['state']) => {
    const { quorum: _, partitions: __, ...rest } = live({ brokers: [] });
    const names = ['d1', 'd2', 'd3'];
    const nodes = names.map((host) => [`events@${host}`, { ...node(host, state), ...blank }]);
    return { ...rest, nodes: Object.fromEntries(nodes) as Record<string, LiveNode> };
  };

  it('a form that was cut short is done again: what was told and never begun is no cluster to join', () => {
    const own = Object.fromEntries(
      ['d1', 'd2', 'd3'].map((host) => [`events@${host}`, [script('start', host)]]),
    );
    const steps = planKafka(three, cluster, allBlank('silent'), base(three, own));
    expect(ids(steps)).toContain('form events');
    expect(ids(steps).join()).not.toContain('seed');
    // Also where they run already, each waiting to be told.
    expect(ids(planKafka(three, cluster, allBlank('silent'), base(three)))).toContain('form events');
  });

  it('moved to hosts that are all new, it is joined where it is: nothing is formed, and nobody leaves before the data has', () => {
    const moved = service(['d4']);
    const { quorum: _, partitions: __, ...seen } = live({ brokers: [] });
    const blankNode = { ...node('d4', 'silent'), disk: { told: false } };
    const nodes = { 'events@d4': blankNode, 'events@d1': { ...node('d1', 'silent'), why: 'no answer' } };
    const own = { 'events@d4': [script('write', 'd4'), script('start', 'd4')] };
    const leaving = { 'events@d1': [script('stop', 'd1')] };
    const steps = planKafka(moved, cluster, { ...seen, nodes }, base(moved, own, leaving));
    expect(ids(steps)).not.toContain('form events');
    expect(ids(steps)).toContain('seed events@d4');
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(at('stop events@d1').needs).toEqual(['free events@d1']);
    expect(at('empty events@d1').needs).toEqual(['move events']);
  });

  it('one that starts while the controllers are others than the file’s is told who they are, also with data of before', () => {
    // d4 was a controller once; d1 to d3 are now.
    const steps = (of: KafkaService, d4: LiveNode) => {
      const nodes = { ...live().nodes, 'events@d4': d4 };
      const verb = d4.state === 'silent' ? 'start' : 'restart';
      const own = { 'events@d4': [script('write', 'd4'), script(verb, 'd4')] };
      return ids(planKafka(of, cluster, live({ nodes }), base(of, own)));
    };
    expect(steps(service(['d4']), node('d4', 'silent')).slice(0, 3)).toEqual([
      'write events@d4',
      'seed events@d4',
      'start events@d4',
    ]);
    expect(steps(service(['d4']), node('d4'))).toContain('seed events@d4');
    // One of the file's controllers is one.
    expect(steps(service(['d4', 'd1', 'd2', 'd3']), node('d4', 'silent'))).not.toContain('seed events@d4');
  });

  it('a broker that finds the cluster only by controllers that leave is restarted before they do', () => {
    // d1 was the controller; d2 and d3 are, and d4 was last started when it was not yet so.
    const wanted = service(['d4'], { controllers: ['d2', 'd3'] });
    const of = {
      ...cluster,
      ids: { ...cluster.ids, 'events/controller.d2': 12, 'events/controller.d3': 13 },
    } as Cluster;
    const started = (...controllers: string[]): LiveNode => ({
      ...node('d4'),
      disk: { ...node('d4').disk!, started: { tls: false, controller: false, controllers } },
    });
    const seen = (d4: LiveNode) =>
      live({
        nodes: { 'events@d4': d4, 'events@d1': node('d1') },
        quorum: { leader: 1, epoch: 3, voters: [voter(1)], observers: [] },
        partitions: [],
        brokers: [4],
      });
    const leaving = { 'events@d1': [script('stop', 'd1')] };
    const plan = (d4: LiveNode, own: Record<string, Step[]> = {}) =>
      planKafka(wanted, of, seen(d4), {
        ...base(wanted, own, leaving),
        members: kafkaMembers(wanted, of),
      });
    const steps = plan(started('10.0.0.1:9093'), { 'events@d4': [script('write', 'd4')] });
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(at('hold events@d4').needs).toContain('seed events@d4');
    expect(at('restart events@d4').needs).toEqual(['hold events@d4']);
    expect(at('write events@d4').after).toContain('vote events.controller@d3');
    expect(at('unvote events@d1 (dir1)').needs).toContain('ready events@d4');
    expect(at('stop events@d1').needs.concat(at('empty events@d1').needs)).toContain('ready events@d4');
    // Also where the `up` that was to do it ended before; not when it has been done, or happens anyway.
    expect(ids(plan(started('10.0.0.1:9093')))).toContain('restart events@d4');
    expect(ids(plan(started('10.0.0.1:9093', '10.0.0.3:9093')))).not.toContain('restart events@d4');
    const restarts = { 'events@d4': [script('restart', 'd4')] };
    expect(
      ids(plan(started('10.0.0.1:9093'), restarts)).filter((id) => id === 'restart events@d4'),
    ).toHaveLength(1);
  });

  it('a member that was told what to begin with keeps to it; one that was told nothing joins', () => {
    for (const told of [true, false]) {
      const nodes = { ...live().nodes, 'events@d3': { ...node('d3', 'silent'), disk: { told } } };
      const steps = planKafka(
        three,
        cluster,
        live({ nodes }),
        base(three, { 'events@d3': [script('start', 'd3')] }),
      );
      expect(ids(steps).includes('seed events@d3')).toBe(!told);
    }
  });

  const restarting = (...names: string[]) =>
    Object.fromEntries(names.map((host) => [`events@${host}`, [script('restart', host)]]));

  it('members that run and do not answer restart one after the other too, each behind its gate', () => {
    const nodes = Object.fromEntries(
      ['d1', 'd2', 'd3'].map((host) => [`events@${host}`, node(host, 'silent')]),
    );
    const { quorum: _, partitions: __, ...mute } = live({ nodes, brokers: [] });
    const steps = planKafka(three, cluster, mute, base(three, restarting('d1', 'd2', 'd3')));
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    for (const host of ['d1', 'd2', 'd3'])
      expect(at(`restart events@${host}`).needs).toEqual([`hold events@${host}`]);
    expect(at('hold events@d2').needs).toEqual(['restart events@d1']);
    expect(at('hold events@d3').needs).toEqual(['restart events@d2']);
    // They may need each other to serve.
    expect(at('ready events@d1').needs).toEqual(['restart events@d1']);
    expect(ids(steps).indexOf('ready events@d1')).toBeGreaterThan(ids(steps).indexOf('restart events@d3'));
  });

  it('one that does not serve as it is restarts before those that do, and they wait until it serves', () => {
    const nodes = { ...live().nodes, 'events@d3': node('d3', 'silent') };
    const steps = planKafka(three, cluster, live({ nodes }), base(three, restarting('d1', 'd2', 'd3')));
    expect(ids(steps).filter((id) => /^(restart|ready)/.test(id))).toEqual([
      'restart events@d3',
      'ready events@d3',
      'restart events@d1',
      'ready events@d1',
      'restart events@d2',
      'ready events@d2',
    ]);
    expect(steps.find(({ id }) => id === 'hold events@d1')!.needs).toEqual(['ready events@d3']);
  });

  it('ports and TLS are not changed while members run: it says so, and touches nobody', () => {
    const ran: Started = { port: 9092, controllerPort: 9093, tls: false, controller: true };
    const as = (host: string): LiveNode => {
      const one = node(host, 'silent');
      return { ...one, disk: { ...one.disk!, started: ran } };
    };
    const nodes = Object.fromEntries(['d1', 'd2', 'd3'].map((host) => [`events@${host}`, as(host)]));
    const own = restarting('d1', 'd2', 'd3');
    for (const [spec, why] of [
      [{ port: 9192 }, 'port 9092, not 9192'],
      [{ controllerPort: 9193 }, 'controllerPort 9093, not 9193'],
      [{ tls: true }, 'tls false, not true'],
    ] as const) {
      const changed = service(['d1', 'd2', 'd3'], spec);
      const leaving = { 'events@d4': [script('stop', 'd4')] };
      const steps = planKafka(changed, cluster, live({ nodes }), base(changed, own, leaving));
      expect(ids(steps)).toEqual(['refuse events', 'stop events@d4']);
      expect(steps[0]!.why).toContain(why);
      expect(steps[1]!.needs).toEqual(['refuse events']);
      // After down they are started as the file says.
      const starts = Object.fromEntries(
        Object.keys(own).map((name) => [name, [script('start', name.slice(-2))]]),
      );
      expect(ids(planKafka(changed, cluster, live({ nodes }), base(changed, starts)))).not.toContain(
        'refuse events',
      );
    }
    expect(ids(planKafka(three, cluster, live({ nodes }), base(three, own)))).toContain('restart events@d1');
  });

  it('a controller that becomes a mere broker loses its vote before its role, when the newcomer has one', () => {
    // d4 stands first now: d3 is no longer among the three controllers.
    const four = service(['d4', 'd1', 'd2', 'd3']);
    const nodes = { ...live().nodes, 'events@d4': node('d4') };
    const seen = live({ nodes, brokers: [1, 2, 3, 4] });
    const own = Object.fromEntries(
      ['d4', 'd3'].map((host) => [`events@${host}`, [script('write', host), script('restart', host)]]),
    );
    const steps = planKafka(four, cluster, seen, base(four, own));
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(at('vote events@d4').needs).toContain('ready events@d4');
    expect(at('unvote events@d3 (dir3)').needs).toContain('vote events@d4');
    expect(at('write events@d3').needs).toContain('unvote events@d3 (dir3)');
    expect(at('restart events@d3').needs).toContain('hold events@d3');
    const order = ids(steps).filter((id) => /^(restart|vote|unvote|move)/.test(id));
    expect(order.slice(0, 4)).toEqual([
      'restart events@d4',
      'vote events@d4',
      'unvote events@d3 (dir3)',
      'restart events@d3',
    ]);
  });

  it('from two brokers to three: the one controller restarts when the two new ones have their votes, as it could not before', () => {
    const quorum = { leader: 1, epoch: 3, voters: [voter(1)], observers: [] };
    const nodes = { ...live().nodes, 'events@d3': { ...node('d3', 'silent'), disk: { told: false } } };
    const seen = (more: Partial<KafkaLive> = {}) => live({ nodes, quorum, brokers: [1, 2], ...more });
    const own = { ...restarting('d1', 'd2'), 'events@d3': [script('write', 'd3'), script('start', 'd3')] };
    const order = (steps: Step[]) => ids(steps).filter((id) => /^(vote|restart)/.test(id));
    const steps = planKafka(three, cluster, seen(), base(three, own));
    expect(order(steps)).toEqual([
      'vote events@d3',
      'restart events@d2',
      'vote events@d2',
      'restart events@d1',
    ]);
    expect(steps.find(({ id }) => id === 'hold events@d1')!.needs).toEqual(['vote events@d2']);
    expect(steps.find(({ id }) => id === 'vote events@d2')!.needs).toEqual(['ready events@d2']);
    // Whoever leads: those without a vote go first.
    const two = { leader: 3, epoch: 3, voters: [voter(1), voter(3)], observers: [] };
    const others = live({ quorum: two });
    expect(order(planKafka(three, cluster, others, base(three, restarting('d1', 'd2', 'd3'))))).toEqual([
      'restart events@d2',
      'vote events@d2',
      'restart events@d1',
      'restart events@d3',
    ]);
    // One that does not serve as it is gets its vote when it does, and the others wait for that.
    const down = { ...nodes, 'events@d2': node('d2', 'silent') };
    const late = planKafka(three, cluster, seen({ nodes: down, brokers: [1] }), base(three, own));
    expect(late.find(({ id }) => id === 'vote events@d2')!.needs).toEqual(['ready events@d2']);
    expect(late.find(({ id }) => id === 'hold events@d1')!.needs).toEqual([
      'ready events@d2',
      'vote events@d2',
    ]);
  });

  it('a controller that is down is not started without its role as long as it has a vote', () => {
    const four = service(['d4', 'd1', 'd2', 'd3']);
    const nodes = { ...live().nodes, 'events@d4': node('d4'), 'events@d3': node('d3', 'silent') };
    const own = { 'events@d3': [script('write', 'd3'), script('start', 'd3')] };
    const steps = planKafka(four, cluster, live({ nodes }), base(four, own));
    expect(steps.find(({ id }) => id === 'write events@d3')!.needs).toContain('unvote events@d3 (dir3)');
    // With nobody to take the votes away none of them starts as something else.
    const { quorum: _, ...headless } = live({ nodes });
    const had: Started = { tls: false, controller: true };
    const d3 = node('d3', 'silent');
    headless.nodes['events@d3'] = { ...d3, disk: { ...d3.disk!, started: had } };
    const held = planKafka(four, cluster, headless, base(four, own));
    expect(held.find(({ id }) => id === 'write events@d3')!.needs).toContain('free events@d3');
  });

  it('where nobody tells of votes, one that leaves is asked for its own before it stops', () => {
    const fewer = service(['d2', 'd3', 'd4']);
    const { quorum: _, ...headless } = live({ nodes: { ...live().nodes, 'events@d4': node('d4') } });
    const leaving = { 'events@d1': [script('stop', 'd1'), script('remove', 'd1')] };
    const steps = planKafka(fewer, cluster, headless, base(fewer, {}, leaving));
    const at = (id: string): Step => steps.find((step) => step.id === id)!;
    expect(at('stop events@d1').needs).toEqual(['free events@d1']);
    expect(at('free events@d1').needs).toEqual(['empty events@d1']);
  });

  it('topics of the file and of Kafka itself get the copies of a cluster that grew, others and further ones keep theirs', () => {
    const spec = { topics: { orders: { partitions: 1 }, wide: {} } };
    const wanted = service(['d1', 'd2', 'd3'], spec);
    const config = { 'min.insync.replicas': '2', 'cleanup.policy': 'delete' };
    const moveOf = (topic: string, replicas: number[]): Step | undefined =>
      planKafka(
        wanted,
        cluster,
        live({
          partitions: [{ topic, index: 0, leader: 1, replicas, isr: replicas }],
          topics: { orders: config, wide: config },
        }),
        base(wanted),
      ).find(({ verb }) => verb === 'move');
    expect(moveOf('orders', [1])!.why).toContain('orders-0 has 1 copy, not 3');
    expect(moveOf('__consumer_offsets', [1, 2])!.why).toContain('has 2 copies, not 3');
    expect(moveOf('__transaction_state', [1])).toBeDefined();
    expect(moveOf('orders', [1, 2, 3])).toBeUndefined();
    expect(moveOf('theirs', [1, 2])?.why ?? '').not.toContain('copies');
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
    expect(
      ids(
        planKafka(
          three,
          cluster,
          live({ moving: [{ topic: 'orders', index: 0, replicas: [1, 2, 3], adding: [3], removing: [] }] }),
          base(three),
        ),
      ),
    ).toContain('move events');
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

  it('nothing of a member that runs is written either: its supervisor starts what is written', () => {
    const own = { 'events@d1': [script('write', 'd1'), script('restart', 'd1')] };
    const steps = planKafka(three, cluster, live({ software: false }), base(three, own));
    expect(steps.find(({ id }) => id === 'write events@d1')!.needs).toEqual(['fetch events']);
    const real = structuredClone(cluster);
    for (const host of Object.values(real.hosts)) host.kind = 'ssh';
    const sent = planKafka(three, real, live({ lacking: ['d1'] }), base(three, own));
    expect(sent.find(({ id }) => id === 'write events@d1')!.needs).toEqual(['ship events@d1']);
  });

  it('topics that differ are named, and what is not in the file is not', () => {
    const spec = { topics: { orders: { partitions: 6 } } };
    const wanted = service(['d1', 'd2', 'd3'], spec);
    const topics = { orders: { 'min.insync.replicas': '2', 'cleanup.policy': 'delete' } };
    const [serve] = planKafka(wanted, cluster, live({ topics }), base(wanted));
    expect(serve!.why).toBe('orders has 4 partitions, not 6');
  });
});
