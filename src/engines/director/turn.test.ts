import { expect, test } from 'vitest';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { DirectorSpec } from './schema.ts';
import { drainStep, putBackId, undrainStep } from './turn.ts';

const cluster = { hosts: { lb1: { root: '/var/lib/phalanx/shop/hosts/lb1' } } } as unknown as Cluster;
const of = (name: string): Service<DirectorSpec> => ({ name }) as Service<DirectorSpec>;

test('two director services on one host each have steps of their own: of one id only the first is done', () => {
  const ids = ['front', 'inside'].flatMap((name) => [
    drainStep(of(name), cluster, 'lb1', 'web@app1', 1_000).id,
    undrainStep(of(name), cluster, 'lb1', 'web@app1', 'its check passes again').id,
    putBackId(name, 'web@app1', 'lb1'),
  ]);
  expect(new Set(ids).size).toBe(ids.length);
});

test('a server that an earlier change has left out is back before its turn begins', () => {
  const { after } = drainStep(of('front'), cluster, 'lb1', 'web@app1', 1_000);
  expect(after).toEqual([putBackId('front', 'web@app1', 'lb1')]);
});
