import { expect, test } from 'vitest';
import type { Cluster } from '../file/cluster.ts';
import { type Handed, handSteps, together } from './handed.ts';

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
  const action = handSteps(cluster, {}).find((step) => step.target === target)!.do;
  return action.kind === 'script' ? action.script : '';
};

test('a machine is handed the secrets of the services that it runs and no others', () => {
  expect(handSteps(cluster, {}).map((step) => step.target)).toEqual(['a', 'b']);
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

test('of machines that differ the one that was written last is believed, and the difference is told', () => {
  const { kept, differ } = together([
    { host: 'a', at: 200, handed: handed({ 'cart/admin': 'new', 'jobs/admin': 'same' }) },
    { host: 'b', at: 100, handed: handed({ 'cart/admin': 'old', 'jobs/admin': 'same' }) },
  ]);
  expect(kept.secrets).toEqual({ 'cart/admin': 'new', 'jobs/admin': 'same' });
  expect(kept.ids).toEqual({ 'cart/a': 1 });
  expect(differ).toEqual(['cart/admin']);
});
