import { expect, test } from 'vitest';
import { engines } from '../engines/index.ts';
import type { Cluster } from '../file/cluster.ts';
import { type Handed, handSteps, together } from './handed.ts';
import { wantedPackages } from './observe.ts';

const host = (name: string) => ({
  name,
  kind: 'ssh' as const,
  ssh: `root@${name}`,
  address: name,
  root: '/var/lib/phalanx/shop',
});
const service = (name: string, hosts: string[]) => ({ name, type: 'redis', hosts, uses: [], spec: {} });
const cluster = {
  name: 'shop',
  hosts: { a: host('a'), b: host('b'), idle: host('idle') },
  services: { cart: service('cart', ['a']), jobs: service('jobs', ['a', 'b']) },
  secrets: { 'cart/admin': 'CART', 'jobs/admin': 'JOBS' },
  ids: { 'cart/a': 1 },
} as unknown as Cluster;
const scriptOf = (target: string): string => {
  const action = handSteps(cluster, engines, {}).find((step) => step.target === target)!.do;
  return action.kind === 'script' ? action.script : '';
};

test('a machine is handed the secrets of the services that it runs and no others', () => {
  expect(handSteps(cluster, engines, {}).map((step) => step.target)).toEqual(['a', 'b']);
  expect(scriptOf('a')).toContain('CART');
  expect(scriptOf('b')).toContain('JOBS');
  expect(scriptOf('b')).not.toContain('CART');
});

const handed = (secrets: Record<string, string>): Handed => ({
  cluster: 'shop',
  secrets,
  ids: { 'cart/a': 1 },
  machines: {},
});

test('so is one on which a service has an observer or a controller only, with what it needs to be installed', () => {
  const spread = {
    ...cluster,
    hosts: { ...cluster.hosts, o1: host('o1'), c1: host('c1') },
    services: {
      locks: { ...service('locks', ['a']), type: 'zookeeper', spec: { observers: ['o1'] } },
      events: { ...service('events', ['b']), type: 'kafka', spec: { controllers: ['c1'] } },
    },
    secrets: { 'locks/super': 'LOCKS', 'events/admin': 'EVENTS' },
  } as unknown as Cluster;
  const steps = handSteps(spread, engines, {});
  expect(steps.map((step) => step.target)).toEqual(['a', 'b', 'o1', 'c1']);
  expect(JSON.stringify(steps[2])).toContain('LOCKS');
  expect(JSON.stringify(steps[2])).not.toContain('EVENTS');
  const packages = (name: string) => wantedPackages(spread, engines, (one) => one.name === name);
  expect(packages('o1')).toContain('libzookeeper-java');
  expect(packages('c1')).toContain('openjdk-17-jre-headless');
});

test('of machines that differ the one that was written last is believed, and the difference is told', () => {
  const { kept, differ } = together([
    { host: 'a', at: 200, handed: handed({ 'cart/admin': 'new', 'jobs/admin': 'same' }) },
    { host: 'b', at: 100, handed: handed({ 'cart/admin': 'old', 'jobs/admin': 'same' }) },
  ]);
  expect(kept.secrets).toEqual({ 'cart/admin': 'new', 'jobs/admin': 'same' });
  expect(kept.ids).toEqual({ 'cart/a': 1 });
  expect(differ).toEqual(['cart/admin']);
});
