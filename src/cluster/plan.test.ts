import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { Engine, Member, Step } from '../engines/engine.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import type { Engines, Observed } from './observe.ts';
import { plan } from './plan.ts';
import { withIds } from './state.ts';

const host = (name: string, n: number): HostEntry => ({
  name,
  kind: 'lab',
  address: `10.92.0.${n}`,
  root: `/var/lib/phalanx/c/hosts/${name}`,
});

const member = (name: string): Member => ({
  name,
  service: name.split('@')[0]!,
  host: name.split('@')[1]!,
  command: 'true',
  env: {},
  files: [],
  limits: {},
  ports: [],
  stop: { signal: 'TERM', timeoutMs: 1_000 },
  data: [],
  kind: 'keeper',
});

/** A service whose members must first hand over what they hold. */
const keeper: Engine = {
  type: 'keeper',
  schema: z.object({}),
  packages: () => [],
  members: (service) => service.hosts.map((name) => member(`${service.name}@${name}`)),
  plan: (service, _cluster, _live, base) => [
    ...[...base.byMember.values()].flat(),
    ...[...base.leaving].flatMap(([name, steps]): Step[] => {
      const handOver: Step = {
        id: `hand over ${name}`,
        verb: 'hand over',
        target: name,
        service: service.name,
        why: 'it leaves',
        needs: [],
        do: { kind: 'engine', service: service.name, action: { name: 'hand over', args: {} } },
      };
      return [handOver, ...steps.map((step) => ({ ...step, needs: [...step.needs, handOver.id] }))];
    }),
  ],
};
/** A service whose members may just be stopped. */
const { plan: _own, ...plain } = keeper;
/** A service that gives the others of a host what they run on. */
const carrier: Engine = { ...plain, type: 'carrier', carries: (name) => name.startsWith('files.') };
/** A service whose members have data that the others know of. */
const stored: Engine = {
  ...plain,
  type: 'stored',
  observe: async () => ({}),
  members: (service, of) => plain.members(service, of).map((one) => ({ ...one, data: ['data'] })),
};
const engines: Engines = { keeper, plain: { ...plain, type: 'plain' }, carrier, stored };

function cluster(type: string, hosts: string[], former: string[], range = '10.92.0.0/24'): Cluster {
  const numbered = new Map(['h1', 'h2', 'h3', 'h4'].map((name, i) => [name, host(name, i + 11)]));
  const pick = (names: string[]) => Object.fromEntries(names.map((name) => [name, numbered.get(name)!]));
  return {
    name: 'c',
    file: '/c.yaml',
    folder: '/',
    home: '/var/lib/phalanx/c',
    network: { cidr: range, prefix: 24, machine: '10.92.0.254' },
    hosts: pick(hosts),
    former: pick(former),
    services: { db: { name: 'db', type, hosts, uses: [], spec: {} } },
    secrets: {},
    releases: {},
  };
}

function observed(members: string[], labHosts: string[]): Observed {
  return {
    lab: {
      network: { present: false, uplink: false, hostsFile: false, partitioned: false },
      disks: {},
      hosts: Object.fromEntries(
        labHosts.map((name) => [
          name,
          { namespace: true, cable: true, up: true, frozen: false, lost: false },
        ]),
      ),
    },
    members: new Map(
      members.map((name) => [
        name,
        { name, host: name.split('@')[1]!, reachable: true, present: true, running: true, files: {} },
      ]),
    ),
    settings: { ok: {}, remembered: {} },
    unreachable: {},
    refusing: {},
    lying: {},
    missingPackages: [],
    handed: {},
    machines: {},
    live: {},
  };
}

const find = (steps: Step[], id: string): Step => {
  const step = steps.find((one) => one.id === id);
  if (!step) throw new Error(`no step ${id} in ${steps.map((one) => one.id).join(', ')}`);
  return step;
};

describe('plan', () => {
  it('on a machine that lacks packages nothing begins before they are there: not even the network', () => {
    const bare = { ...observed([], []), missingPackages: ['iproute2', 's6'] };
    const { steps } = plan(cluster('plain', ['h1'], []), engines, bare);
    const waits = (step: Step): boolean =>
      step.id === 'install packages' || step.needs.some((id) => waits(find(steps, id)));
    expect(steps.length).toBeGreaterThan(4);
    expect(steps.filter((step) => !waits(step)).map((step) => step.id)).toEqual([]);
  });

  it('a member that left the file is stopped only after its engine has let it go', () => {
    const { steps } = plan(cluster('keeper', ['h1', 'h2'], []), engines, observed(['db@h3'], []));
    // h3 is in no list: nobody knows where it was.
    expect(steps.map((step) => step.id)).not.toContain('stop db@h3');
    const left = plan(cluster('keeper', ['h1'], ['h3']), engines, observed(['db@h1', 'db@h3'], ['h1', 'h3']));
    expect(find(left.steps, 'stop db@h3').needs).toContain('hand over db@h3');
    expect(left.steps.filter((step) => step.id === 'stop db@h3')).toHaveLength(1);
  });

  it('a host that is switched on starts nothing that this plan starts or takes off it: its disk may have another version', () => {
    const off = {
      ...observed(['db@h1'], ['h1']),
      lying: { h2: ['db@h2', 'old@h2', 'db.helper@h2'], h9: ['db@h9'] },
    };
    const boot = (engine: string): { script: string; steps: Step[] } => {
      const { steps } = plan(cluster(engine, ['h1', 'h2'], []), engines, off);
      const { do: what } = find(steps, 'boot host h2');
      return { script: what.kind === 'machine' ? what.script : '', steps };
    };
    const down = (name: string): string => `h2/members/${name}/service/down`;
    const { script, steps } = boot('plain');
    // Whatever waits for its own step has one.
    for (const [name, verb] of [
      ['db@h2', 'start'],
      ['old@h2', 'stop'],
      ['db.helper@h2', 'stop'],
    ] as const) {
      expect(script).toContain(down(name));
      expect(find(steps, `${verb} ${name}`).needs).toContain('boot host h2');
    }
    expect(steps.map(({ id }) => id)).not.toContain('stop db@h9');
    // What has something to hand over before it leaves runs again, and leaves when its engine has seen it.
    const stored = boot('stored');
    expect(stored.script).toContain(down('db@h2'));
    expect(stored.script).toContain(down('old@h2'));
    expect(stored.script).not.toContain(down('db.helper@h2'));
    expect(stored.steps.map(({ id }) => id)).not.toContain('stop db.helper@h2');
  });

  it('a host that is made anew while its members run starts those of which nothing is to be done', () => {
    const { steps } = plan(cluster('plain', ['h1'], []), engines, {
      ...observed(['db@h1'], ['h1']),
      lying: { h1: ['db@h1'] },
    });
    const { do: what } = find(steps, 'boot host h1');
    expect(steps.map(({ id }) => id)).not.toContain('start db@h1');
    expect(what.kind === 'machine' && what.script).not.toContain('service/down');
  });

  it('an engine that says nothing of it has it stopped as it is', () => {
    const { steps } = plan(cluster('plain', ['h1'], ['h3']), engines, observed(['db@h3'], ['h1', 'h3']));
    expect(find(steps, 'stop db@h3').host).toBe('h3');
    expect(find(steps, 'remove db@h3').needs).toContain('stop db@h3');
  });

  it('what a host no longer needs is taken back when those that ran with it have been restarted, and nobody waits for that', () => {
    const before = {
      ...observed(['db@h1'], ['h1']),
      settings: { ok: {}, remembered: { h1: ['a route'] } },
    };
    const { steps } = plan(cluster('plain', ['h1'], []), engines, before);
    expect(find(steps, 'restart db@h1').needs).not.toContain('unset h1: a route');
    expect(find(steps, 'unset h1: a route').needs).toContain('restart db@h1');
  });

  it('a mount is stopped after those of its host that may use it', () => {
    const left = plan(
      cluster('carrier', ['h1'], ['h3']),
      engines,
      observed(['files.mount@h3', 'web@h3', 'files.mount@h1', 'web@h1'], ['h1', 'h3']),
    );
    expect(find(left.steps, 'stop files.mount@h3').needs).toEqual(['stop web@h3']);
    expect(find(left.steps, 'stop web@h3').needs).toEqual([]);
  });

  it('a machine with data that has another name in the file is refused, with the name that it had', () => {
    const asked: string[] = [];
    const stateful: Engine = {
      ...keeper,
      type: 'stateful',
      observe: async () => undefined,
      members: ({ name, hosts }) => [
        ...hosts.map((one) => ({ ...member(`${name}@${one}`), data: ['data'] })),
        member(`${name}.mount@${hosts[0]}`),
      ],
      plan: (_service, _cluster, _live, base) => {
        asked.push(...base.leaving.keys());
        return [];
      },
    };
    const called = (type: string, name: string) => {
      const seen = observed(['db@h1', name], ['h1', 'h2']);
      seen.members.get(name)!.host = 'h2';
      return plan(cluster(type, ['h1', 'h2'], []), { ...engines, stateful }, seen).refusals;
    };
    expect(called('stateful', 'db@h3')).toEqual([
      'h2: it has db@h3 with its data, and was called h3 then: give it that name back. To rename it, take it out of the file, phalanx up, and put it in under its new name',
    ]);
    // Its engine is not asked to plan for a host that there is not.
    expect(asked).toEqual([]);
    expect(called('stateful', 'db.mount@h3')).toEqual([]);
    expect(called('plain', 'db@h3')).toEqual([]);
  });

  it('a host that left the file is powered off after its members left, and nothing waits for that', () => {
    const { steps } = plan(cluster('keeper', ['h1'], ['h3']), engines, observed(['db@h3'], ['h1', 'h3']));
    expect(find(steps, 'remove host h3').needs).toEqual(['stop db@h3', 'remove db@h3']);
    expect(steps.filter((step) => step.needs.includes('remove host h3'))).toEqual([]);
  });

  it('but first of all, when its address lies outside the network of the file', () => {
    const moved = cluster('keeper', ['h1'], ['h3'], '10.93.0.0/24');
    const { steps } = plan(moved, engines, observed(['db@h3'], ['h1', 'h3']));
    expect(find(steps, 'remove host h3').needs).toEqual([]);
    expect(find(steps, 'create network').needs).toContain('remove host h3');
  });
});

describe('numbers for life', () => {
  it('are kept through additions and returns, counted by service, and never given twice', () => {
    const first = withIds({}, ['db/h1', 'db/h2', 'other/h1']);
    expect(first).toEqual({ 'db/h1': 1, 'db/h2': 2, 'other/h1': 1 });
    const grown = withIds(withIds(first, ['db/h3', 'db/h1']), ['db/h4']);
    expect(grown).toMatchObject({ 'db/h1': 1, 'db/h3': 3, 'db/h4': 4 });
    expect(withIds(grown, ['db/h2'])).toEqual(grown);
  });
});
