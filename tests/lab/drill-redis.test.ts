import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from './cluster.ts';
import { drill } from './drills.ts';

// Without min-replicas a master that is cut off takes writes for as long as clients send them: the unsafe setting.
const cluster = new TestCluster(`
cluster: drredis
network: 10.95.4.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart:
    type: redis
    mode: sentinel
    hosts: [d1, d2, d3]
    timing: fast
    minReplicas: 0
    promise: { rto: 20s, lostWrites: 0 }
`);

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('drills of Redis', () => {
  it('find nothing lost when the master is killed, having read every member', async () => {
    const { exit, out, verdict } = await drill(cluster, 'cart', 'kill-master', '--seed', '7');
    expect(exit, out).toBe(0);
    expect(verdict.result, out).toBe('valid');
    expect(verdict.lost).toBe(0);
    expect(verdict.models.set!['acknowledged']).toBeGreaterThan(1_000);
    expect(verdict.models.set!['ok']).toBe(verdict.models.set!['acknowledged']);
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({ signal: 'SIGKILL', state: 'gone' });
  });

  it('report acknowledged writes as lost when the master is cut off from its replicas and clients are not', async () => {
    const { exit, out, verdict } = await drill(cluster, 'cart', 'partition-master', '--seed', '7');
    expect(exit, out).toBe(4);
    expect(verdict.lost, out).toBeGreaterThan(0);
    expect(verdict.promise.lostWrites).toMatchObject({ result: 'broken', promised: 0 });
    expect(verdict.anomalies.map((one) => one.anomaly)).toContain('lost');
  });
});
