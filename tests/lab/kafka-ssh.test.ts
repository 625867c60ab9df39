import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from './cluster.ts';
import { accessOf, kcat } from './kafka-clients.ts';
import { Machines } from './machines.ts';

// A broker on a machine that is reached by ssh and has no Kafka: it is brought there, by a shell that is busybox.
const machines = new Machines('kafkassh', 'sshkafka', '10.165.9', ['busybox']);
const { name: machine, address } = machines.machines[0]!;
const home = mkdtempSync(join(tmpdir(), 'phalanx-control-'));
const cluster = new TestCluster(`
cluster: sshkafka
network: 10.165.9.0/24
hosts: { data1: { ssh: root@${address} } }
services:
  events: { type: kafka, hosts: [data1], heap: 256mb, tls: true, topics: { orders: { partitions: 2 } } }
`);
const software = join(machines.diskOf(machine), 'software');

beforeAll(async () => {
  process.env['PHALANX_SSH_CONFIG'] = machines.sshConfig;
  await machines.lab.must('up');
  process.env['PHALANX_HOME'] = home;
});
afterAll(async () => {
  process.env['PHALANX_HOME'] = home;
  await cluster.remove();
  delete process.env['PHALANX_HOME'];
  await machines.lab.remove();
  for (const folder of [home, '/var/lib/phalanx/sshkafka']) rmSync(folder, { recursive: true, force: true });
});

describe('kafka on a machine that is reached by ssh', () => {
  it('cut off while Kafka is brought there, the next up brings it whole and forms; a stock client works', async () => {
    await cluster.run(['up'], { killWhen: /\d+ MB/ });
    expect(readdirSync(software).filter((one) => !one.includes('.events.'))).toEqual([]);
    const out = await cluster.must('up');
    expect(out).toContain('ship');
    const [copy] = readdirSync(software);
    expect(existsSync(join(software, copy!, 'whole'))).toBe(true);
    const access = await accessOf(cluster);
    await kcat(access, cluster.folder, ['-P', '-t', 'orders', '-X', 'acks=all'], 'one\ntwo\n');
    const read = await kcat(access, cluster.folder, ['-C', '-t', 'orders', '-o', 'beginning', '-e', '-q']);
    expect(read.trim().split('\n').sort()).toEqual(['one', 'two']);
  }, 300_000);

  it('is not brought again, in one round trip; down takes it away', async () => {
    const before = machines.sessions(machine);
    expect(await cluster.must('up')).toContain('nothing to do');
    expect(machines.sessions(machine) - before).toBe(1);
    await cluster.must('down');
    expect(existsSync(software)).toBe(false);
  }, 120_000);
});
