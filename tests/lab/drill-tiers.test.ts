import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leftOver, standingFault } from '../../src/drill/standing.ts';
import type { Cluster } from '../../src/file/cluster.ts';
import { TestCluster, until } from './cluster.ts';
import { drill } from './drills.ts';

const cluster = new TestCluster(`
cluster: drltiers
network: 10.172.11.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, hosts: [d1, d2] }
  sessions: { type: redis, replicas: 0, hosts: [d3], promise: { rto: 1s } }
`);
const home = { home: '/var/lib/phalanx/drltiers' } as Cluster;
const other = `${home.home}/hosts/d3/members/sessions@d3/service`;

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('another tier than the drilled one', () => {
  it('that breaks has the fault healed at once, and the drill says so', async () => {
    const began = performance.now();
    const drilled = drill(cluster, 'cart', 'freeze-master', '--for', '100s');
    await until('the fault stands', async () => standingFault(home) !== undefined, 60_000);
    execFileSync('s6-svc', ['-d', other]);
    const { exit, out, verdict } = await drilled;
    execFileSync('s6-svc', ['-u', other]);
    expect(performance.now() - began, out).toBeLessThan(100_000);
    expect(exit, out).toBe(5);
    expect(out).toMatch(/sessions, which was not the target, is broken: .*; healing/);
    expect(verdict.result).toBe('unknown');
    expect(verdict.why.join()).toContain(
      'the drill was aborted: sessions, which was not the target, is broken',
    );
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({ signal: 'SIGSTOP' });
    expect(standingFault(home)).toBeUndefined();
    expect(leftOver(home)).toBeUndefined();
    // Thawed, not merely forgotten.
    await until('healthy', async () => (await cluster.status()).health === 'healthy', 60_000);
  });

  it('that breaks only after the healing is told as well', async () => {
    const drilled = drill(cluster, 'cart', 'freeze-master', '--for', '2s');
    await until('the fault stands', async () => standingFault(home) !== undefined, 60_000);
    await until('it is healed', async () => standingFault(home) === undefined, 60_000);
    execFileSync('s6-svc', ['-d', other]);
    const { exit, out } = await drilled;
    execFileSync('s6-svc', ['-u', other]);
    expect(out).toMatch(/sessions, which was not the target, is broken: /);
    expect(exit, out).toBe(5);
    await until('healthy', async () => (await cluster.status()).health === 'healthy', 60_000);
  });

  it('that is well leaves the fault standing for as long as it is to stand', async () => {
    const { out, verdict } = await drill(cluster, 'cart', 'freeze-master', '--for', '4s');
    expect(out).not.toContain('not the target');
    const { injectedMs, healedMs } = verdict.faults[0]!;
    expect(healedMs! - injectedMs!).toBeGreaterThan(3_900);
    expect(verdict.result, out).not.toBe('unknown');
  });
});
