import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from './cluster.ts';
import { drill } from './drills.ts';

const yaml = (queues: string): string => `
cluster: zkadrq
network: 10.164.4.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  jobs: { type: rabbitmq, hosts: [d1, d2, d3], timing: fast, queues: ${queues}, promise: { rto: 20s, lostWrites: 0 } }
`;
const cluster = new TestCluster(yaml('{ mail: {} }'));

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('drills of RabbitMQ', { timeout: 240_000 }, () => {
  it('find nothing lost when the leader of a quorum queue is killed, having emptied the queue', async () => {
    const { exit, out, verdict } = await drill(cluster, 'jobs', 'kill-leader', '--seed', '7');
    expect(exit, out).toBe(0);
    expect(verdict.result, out).toBe('valid');
    expect(verdict.lost).toBe(0);
    const queue = verdict.models.queue!;
    expect(queue['acknowledged']).toBeGreaterThan(1_000);
    expect(queue['ok']).toBe(queue['acknowledged']);
    expect(queue['delivered']).toBeGreaterThan(queue['acknowledged']! - 1);
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({ signal: 'SIGKILL', state: 'gone' });
  });

  it('report confirmed messages as lost where the queue is a classic one that lives on the lost node alone', async () => {
    // Not durable: the unsafe setting. A durable one is away with its node, and back with its node's disk.
    cluster.write(yaml('{ old: { type: classic, durable: false } }'));
    await cluster.must('up');
    const { exit, out, verdict } = await drill(cluster, 'jobs', 'kill-leader', '--seed', '7');
    expect(exit, out).toBe(4);
    expect(verdict.lost, out).toBeGreaterThan(0);
    expect(verdict.promise.lostWrites).toMatchObject({ result: 'broken', promised: 0 });
    expect(verdict.anomalies.map((one) => one.anomaly)).toContain('lost');
  });
});
