import { describe, expect, it } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import { planDirectors } from '../director/plan.ts';
import type { DirectorSpec } from '../director/schema.ts';
import type { BasePlan, Step } from '../engine.ts';
import { engines } from '../index.ts';
import { lastOfRegistry, registerRules, registrars, registryOf } from './register.ts';
import type { AppSpec } from './schema.ts';

const engineOf = (type: string) => engines[type]!;

function sample(register: string | undefined, uses = ['locks', 'cart']): Cluster {
  const service = (name: string, type: string, hosts: string[], given: object): Service => ({
    name,
    type,
    hosts,
    uses: name === 'web' ? uses : [],
    spec: engineOf(type).schema.parse(given),
  });
  const names = ['lb1', 'app1', 'app2', 'data1'];
  return {
    name: 'c',
    file: '/c.yaml',
    folder: '/',
    home: '/home/c',
    network: { cidr: '10.0.0.0/24', prefix: 24, machine: '10.0.0.1' },
    hosts: Object.fromEntries(
      names.map((name, i) => [
        name,
        { name, kind: 'lab' as const, address: `10.0.0.1${i}`, root: `/root/${name}` },
      ]),
    ),
    services: {
      web: service('web', 'app', ['app1', 'app2'], {
        command: 'serve',
        port: 8080,
        ...(register ? { register } : {}),
      }),
      front: service('front', 'director', ['lb1'], { vip: '10.0.0.100', listen: [{ port: 80, to: 'web' }] }),
      locks: service('locks', 'zookeeper', ['data1'], {}),
      cart: service('cart', 'redis', ['data1'], { mode: 'replication' }),
    },
    secrets: { 'locks/app': 'app-word', 'locks/super': 'super-word' },
    releases: {},
    ids: { 'locks/data1': 1 },
  };
}
const web = (cluster: Cluster) => cluster.services['web'] as Service<AppSpec>;
const said = (cluster: Cluster) => registerRules(web(cluster), cluster).map(({ message }) => message);
const step = (verb: string, target: string): Step => ({
  id: `${verb} ${target}`,
  verb,
  target,
  why: '',
  needs: [],
  do: { kind: 'script', script: '', timeoutMs: 0 },
});

describe('register', () => {
  it('names a zookeeper that the service uses', () => {
    expect(said(sample('locks'))).toEqual([]);
    expect(said(sample(undefined))).toEqual([]);
    expect(said(sample('lokcs'))).toEqual(['no service "lokcs" is declared']);
    expect(said(sample('cart'))).toEqual(['"cart" is of type redis']);
    expect(said(sample('locks', ['cart']))).toEqual(['"locks" is not among the services that web uses']);
  });

  it('gives each member a registrar, whose password is in a file of its own and nowhere else', () => {
    const cluster = sample('locks');
    const members = registrars(web(cluster), cluster, engineOf);
    expect(members.map(({ name }) => name)).toEqual(['web.registrar@app1', 'web.registrar@app2']);
    for (const { command, env, files, ports } of members) {
      expect(ports).toEqual([]);
      expect(JSON.stringify([command, env])).not.toContain('word');
      for (const file of files)
        expect(file.content.includes('word')).toBe(file.mode === 0o600 && file.secret === true);
    }
    expect(registrars(web(sample(undefined)), sample(undefined), engineOf)).toEqual([]);
  });

  it('tells directors where to look, without a password', () => {
    const cluster = sample('locks');
    expect(registryOf(web(cluster), cluster, engineOf)).toEqual({
      url: '10.0.0.13:2181/locks',
      path: '/locks/registry/web',
    });
    expect(registryOf(cluster.services['cart']!, cluster, engineOf)).toBeUndefined();
    const [agent] = engineOf('director').members(cluster.services['front']!, cluster);
    const config = agent!.files.find(({ path }) => path === 'agent.json')!.content;
    expect(config).toContain('/locks/registry/web');
    expect(config).not.toContain('app-word');
  });

  it('is followed only when all members are in it, and left only after directors have been told', () => {
    const cluster = sample('locks');
    const front = cluster.services['front'] as Service<DirectorSpec>;
    const base = (members: BasePlan['members'], leaving: Step[] = [], verb = 'reload'): BasePlan => ({
      members,
      byMember: new Map(members.map((member) => [member.name, [step(verb, member.name)]])),
      observed: new Map(),
      leaving: new Map(leaving.length > 0 ? [['web.registrar@app1', leaving]] : []),
      ready: () => undefined,
      around: () => ({ before: [], after: [] }),
      dismiss: () => [],
    });
    const agents = engineOf('director')
      .members(front, cluster)
      .filter(({ part }) => part === 'agent');
    const reload = planDirectors(front, cluster, undefined, base(agents)).find(
      ({ verb }) => verb === 'reload',
    );
    expect(reload!.after).toEqual(['ready web.registrar@app1', 'ready web.registrar@app2']);
    const restart = planDirectors(front, cluster, undefined, base(agents, [], 'restart')).find(
      ({ verb }) => verb === 'restart',
    );
    expect(restart!.after).toEqual(expect.arrayContaining(reload!.after!));
    const alone = base([], [step('stop', 'web.registrar@app1')]);
    const [stop] = lastOfRegistry(cluster, alone);
    expect(stop!.needs).toContain(reload!.id);
    // With its member it goes after it: a node that is gone would end the member's connections.
    alone.leaving.set('web@app1', [step('stop', 'web@app1')]);
    expect(lastOfRegistry(cluster, alone)[0]!.needs).toContain('stop web@app1');
  });
});
