import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from './cluster.ts';
import { drill } from './drills.ts';

const yaml = (name: string, subnet: string, more: string): string => `
cluster: ${name}
network: ${subnet}
hosts: { d1: {}, d2: {}, d3: {} }
services:
  events: { type: kafka, hosts: [d1, d2, d3], heap: 256mb, timing: fast, promise: { rto: 60s, lostWrites: 0 }${more} }
`;
/** Java starts slowly where two cores do everything. */
const patient = { timeout: 600_000 };
const up = (cluster: TestCluster) => async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
};

describe('drills of Kafka', patient, () => {
  const cluster = new TestCluster(yaml('kfadrill', '10.163.4.0/24', ''));
  beforeAll(up(cluster), 600_000);
  afterAll(() => cluster.remove(), 120_000);

  it('find nothing lost when the active controller is killed, having read every copy and a consumer group', async () => {
    const { exit, out, verdict } = await drill(cluster, 'events', 'kill-controller', '--seed', '7');
    expect(exit, out).toBe(0);
    expect(verdict.result, out).toBe('valid');
    expect(verdict.models.log!['acknowledged']).toBeGreaterThan(2_000);
    expect(verdict.models.log!['ok']).toBe(verdict.models.log!['acknowledged']);
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({ signal: 'SIGKILL', state: 'gone' });
  });

  it('find nothing lost when a leader is cut off from the other brokers and clients are not', async () => {
    const { exit, out, verdict } = await drill(cluster, 'events', 'partition-leader', '--seed', '7');
    expect(exit, out).toBe(0);
    expect(verdict.result, out).toBe('valid');
    expect(verdict.lost).toBe(0);
  });
});

describe('drills of Kafka with acks=1 and unclean election', patient, () => {
  const unsafe = ', acks: 1, config: { unclean.leader.election.enable: true, min.insync.replicas: 1 }';
  const cluster = new TestCluster(yaml('kfaloses', '10.163.5.0/24', unsafe));
  beforeAll(up(cluster), 600_000);
  afterAll(() => cluster.remove(), 120_000);

  it('report acknowledged records as lost when a leader is cut off from the other brokers and clients are not', async () => {
    const { exit, out, verdict } = await drill(cluster, 'events', 'partition-leader', '--seed', '7');
    expect(exit, out).toBe(4);
    expect(verdict.lost, out).toBeGreaterThan(0);
    expect(verdict.promise.lostWrites).toMatchObject({ result: 'broken', promised: 0 });
    expect(verdict.anomalies.map((one) => one.anomaly)).toContain('lost');
  });
});
