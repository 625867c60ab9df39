import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { MemberState, Step } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import type { Cluster, Service } from '../file/cluster.ts';
import { restartHash } from '../hosts/supervise.ts';
import type { Observed } from './observe.ts';
import { plan, wantedMembers } from './plan.ts';

interface Part {
  type: string;
  hosts: string[];
  uses?: string[];
  spec: object;
}
const web = (hosts: string[], part: Partial<Part> = {}): Part => ({
  type: 'app',
  hosts,
  spec: { command: 'serve', port: 8080, drain: '2s' },
  ...part,
});
const front: Part = {
  type: 'director',
  hosts: ['lb1'],
  spec: { vip: '10.92.0.100', listen: [{ port: 80, to: 'web' }] },
};

function cluster(parts: Record<string, Part>): Cluster {
  const names = ['lb1', 'app1', 'app2', 'app3', 'app4'];
  return {
    name: 'c',
    file: '/c.yaml',
    folder: '/',
    home: '/var/lib/phalanx/c',
    network: { cidr: '10.92.0.0/24', prefix: 24, machine: '10.92.0.254' },
    hosts: Object.fromEntries(
      names.map((name, i) => [
        name,
        { name, kind: 'lab' as const, address: `10.92.0.${i + 1}`, root: `/root/${name}` },
      ]),
    ),
    services: Object.fromEntries(
      Object.entries(parts).map(([name, { spec, uses = [], ...part }]): [string, Service] => [
        name,
        { name, uses, ...part, spec: engines[part.type]!.schema.parse(spec) },
      ]),
    ),
    secrets: { 'front/sync': 'word' },
    releases: {},
  };
}

const sha256 = (content: string): string => createHash('sha256').update(content).digest('hex');

/** What is found where `before` runs just as it was asked for. */
function found(before: Cluster): Observed {
  const members = wantedMembers(before, engines).map(
    (member): MemberState => ({
      name: member.name,
      host: member.host,
      reachable: true,
      present: true,
      running: true,
      files: Object.fromEntries(member.files.map(({ path, content }) => [path, sha256(content)])),
      runningHash: restartHash(member),
    }),
  );
  return {
    lab: {
      network: { present: false, uplink: false, hostsFile: false, partitioned: false },
      disks: {},
      hosts: {},
    },
    members: new Map(members.map((state) => [state.name, state])),
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

/** The plan from one file to another, by id. */
function change(from: Record<string, Part>, to: Record<string, Part>): Map<string, Step> {
  const { steps } = plan(cluster(to), engines, found(cluster(from)));
  return new Map(steps.map((step) => [step.id, step]));
}
/** Whether a step is done only when another was, by `needs` alone or also by order. */
function waits(
  steps: Map<string, Step>,
  id: string,
  on: string,
  order: boolean,
  passed = new Set<string>(),
): boolean {
  if (passed.has(id)) return false;
  passed.add(id);
  const step = steps.get(id);
  const before = step === undefined ? [] : [...step.needs, ...(order ? (step.after ?? []) : [])];
  return before.includes(on) || before.some((one) => waits(steps, one, on, order, passed));
}

it('on a machine that only has another name now, the one of before makes way first: both want the same port', () => {
  const seen = found(cluster({ web: web(['app1', 'app2']) }));
  const state = seen.members.get('web@app2')!;
  // The machine of app3 was called app2.
  seen.members.set('web@app2', { ...state, host: 'app3' });
  const { steps } = plan(cluster({ web: web(['app1', 'app3']) }), engines, seen);
  const of = new Map(steps.map((step) => [step.id, step]));
  expect(waits(of, 'start web@app3', 'stop web@app2', false)).toBe(true);
  expect(waits(of, 'stop web@app2', 'start web@app3', true)).toBe(false);
});

describe('an app that moves to other hosts', () => {
  const moved = change({ web: web(['app1', 'app2']), front }, { web: web(['app3', 'app4']), front });

  it('is stopped on the old ones when it runs on the new ones, the directors know it, and send nothing more', () => {
    for (const old of ['app1', 'app2']) {
      const stop = moved.get(`stop web@${old}`)!;
      for (const id of [
        'ready web@app3',
        'ready web@app4',
        'reload front.agent@lb1',
        `dismiss web@${old} at front@lb1`,
      ])
        expect(stop.needs).toContain(id);
      expect(waits(moved, `dismiss web@${old} at front@lb1`, 'reload front.agent@lb1', false)).toBe(true);
    }
  });

  it('is told to the directors when the new ones have been tried, and one that fails does not keep it from them', () => {
    const { needs, after } = moved.get('reload front.agent@lb1')!;
    expect(after).toEqual(expect.arrayContaining(['ready web@app3', 'ready web@app4']));
    expect(needs.filter((id) => id.includes('web@'))).toEqual([]);
  });

  it('waits for no one in a circle, also where the app uses the directors before it', () => {
    const uses = { uses: ['front'] };
    const steps = change({ web: web(['app1'], uses), front }, { web: web(['app3'], uses), front });
    expect(waits(steps, 'reload front.agent@lb1', 'start web@app3', true)).toBe(false);
    for (const id of steps.keys()) expect(waits(steps, id, id, false), id).toBe(false);
  });

  it('and its mount with it: the new one does not wait for the old mount, which is taken away last', () => {
    const files: Part = { type: 'storage', hosts: ['lb1'], spec: {} };
    const uses = { uses: ['files'] };
    const steps = change(
      { web: web(['app1'], uses), front, files },
      { web: web(['app3'], uses), front, files },
    );
    expect(waits(steps, 'stop files.mount@app1', 'stop web@app1', false)).toBe(true);
    expect(waits(steps, 'stop web@app1', 'start web@app3', false)).toBe(true);
    expect(waits(steps, 'start web@app3', 'stop files.mount@app1', true)).toBe(false);
  });
});

it('an app that shrinks is let go of by the directors before it is stopped', () => {
  const steps = change({ web: web(['app1', 'app2']), front }, { web: web(['app1']), front });
  expect(steps.get('stop web@app2')!.needs).toContain('dismiss web@app2 at front@lb1');
  expect(steps.get('dismiss web@app2 at front@lb1')!.why).toContain('2 s');
});

it('a new member that an earlier change has started is asked whether it serves, before the old one goes', () => {
  const from = { web: web(['app1', 'app3']), front };
  const steps = change(from, { web: web(['app3']), front });
  expect(steps.get('stop web@app1')!.needs).toContain('ready web@app3');
});

it('two apps that change places on a port go at once: neither could start beside the other', () => {
  const steps = change(
    { web: web(['app1']), api: web(['app2']), front },
    { web: web(['app2']), api: web(['app1']), front },
  );
  for (const id of ['stop web@app1', 'stop api@app2'])
    expect(steps.get(id)!.needs.filter((need) => !/ (network|host \w+)$/.test(need))).toEqual([]);
});
