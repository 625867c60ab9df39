import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sweep } from '../../src/drill/sweep.ts';
import { TestCluster } from './cluster.ts';

const cluster = new TestCluster(`
cluster: drlsweep
network: 10.172.12.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, mode: cluster, hosts: [d1, d2, d3], timing: fast }
`);
const home = '/var/lib/phalanx/drlsweep';
/** What is in force, as the members were told. */
const inForce = (): string | undefined =>
  /cluster-node-timeout (\d+)/.exec(readFileSync(`${home}/hosts/d1/members/cart@d1/live.conf`, 'utf8'))?.[1];

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('a sweep', () => {
  it('tries each value on the running cluster, says what it came to, and puts back what the file says', async () => {
    expect(inForce()).toBe('500');
    const html = join(cluster.folder, 'sweep.html');
    const seen = new Set<string | undefined>();
    const looking = setInterval(() => seen.add(inForce()), 100);
    const { exit, out } = await cluster.run([
      ...['drill', 'cart', '--fault', 'kill-master', '--sweep', 'node-timeout=400ms,3s'],
      ...['--repeat', '1', '--watch', '2s', '--seed', '7', '--html', html, '--json'],
    ]);
    clearInterval(looking);
    const sweep = JSON.parse(out.split('\n').findLast((line) => line.startsWith('{'))!) as Sweep & {
      choice: string | null;
    };
    expect([0, 5], out).toContain(exit);
    expect(sweep.choice === null).toBe(exit === 5);
    expect(sweep.tried.map(({ value }) => value)).toEqual(['400ms', '3s']);
    for (const { away, lost } of sweep.tried) expect([away.length, lost], out).toEqual([1, 0]);
    // Each was in force, or the sweep measured nothing.
    expect(seen, out).toEqual(new Set(['500', '400', '3000']));
    expect(readFileSync(html, 'utf8')).toContain('400ms');
    expect(inForce()).toBe('500');
  });
});
