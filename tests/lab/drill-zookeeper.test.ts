import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { drill } from './drills.ts';

const cluster = new TestCluster(`
cluster: zkadrill
network: 10.164.3.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  locks: { type: zookeeper, hosts: [d1, d2, d3], timing: fast, promise: { rto: 8s, lostWrites: 0 } }
`);
const service = (host: string): string =>
  `/var/lib/phalanx/zkadrill/hosts/${host}/members/locks@${host}/service`;

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('drills of ZooKeeper', { timeout: 240_000 }, () => {
  it('find nothing lost when the leader is killed, having read every server', async () => {
    const { exit, out, verdict } = await drill(cluster, 'locks', 'kill-leader', '--seed', '7');
    expect(exit, out).toBe(0);
    expect(verdict.result, out).toBe('valid');
    expect(verdict.lost).toBe(0);
    const log = verdict.models.log!;
    expect(log['acknowledged']).toBeGreaterThan(1_000);
    expect(log['ok']).toBe(log['acknowledged']);
    expect(log).toMatchObject({ duplicated: 0, reordered: 0, divergent: 0 });
    expect(verdict.models.register).toMatchObject({ stale: 0, notLinearizable: 0 });
    expect(verdict.models.register!['reads']).toBeGreaterThan(10);
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({ signal: 'SIGKILL', state: 'gone' });
  });

  it('see the loss of the majority as being away for as long as it lasts', async () => {
    const rows = (await cluster.status()).rows;
    const down = rows.find(({ role }) => role === 'follower')!.host;
    execFileSync('s6-svc', ['-d', service(down)]);
    await until('it is down', async () =>
      (await cluster.status()).rows.some(({ host, health }) => host === down && health === 'down'),
    );
    const { exit, out, verdict } = await drill(
      cluster,
      'locks',
      'power-off-leader',
      '--degraded',
      '--for',
      '10s',
    );
    execFileSync('s6-svc', ['-u', service(down)]);
    expect(exit, out).toBe(4);
    expect(verdict.promise.rto).toMatchObject({ result: 'broken' });
    expect(verdict.recovery.rtoMs).toBeGreaterThan(8_000);
    expect(verdict.lost).toBe(0);
  });
});
