import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { drill, startDrill } from './drills.ts';

const home = '/var/lib/phalanx/drdisk';
const yaml = (disk: string): string => `
cluster: drdisk
network: 10.95.11.0/24
hosts: { d1: { disk: ${disk} }, d2: { disk: ${disk} } }
services:
  cart: { type: redis, mode: replication, hosts: [d1, d2], replicas: 1, persistence: aof }
`;
const cluster = new TestCluster(yaml('128mb'));
const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
/** Inside the host, where its disk is mounted. */
const inside = (host: string, script: string): string =>
  shell(
    `nsenter -t ${readFileSync(`${home}/hosts/${host}/init.pid`, 'utf8').trim()} -m -p sh -c '${script}'`,
  );
const free = (host: string): number =>
  Number(inside(host, `df -Pk ${home}/hosts/${host}/members | tail -n 1`).split(/\s+/)[3]);
const loops = (): string[] =>
  shell('losetup -a')
    .split('\n')
    .filter((line) => line.includes(home));

// In a container there may be none; `up` then says so.
const hasLoops = existsSync('/dev/loop-control');

beforeAll(async () => {
  if (!hasLoops) return;
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe.skipIf(!hasLoops)('a disk of its own, which a host of the lab has', () => {
  it('is as large as the file says, and its content outlives the host and down', async () => {
    expect(free('d1')).toBeGreaterThan(90_000);
    expect(free('d1')).toBeLessThan(131_072);
    inside('d1', `echo kept >${home}/hosts/d1/members/cart@d1/data/marker`);
    process.kill(Number(readFileSync(`${home}/hosts/d1/init.pid`, 'utf8')), 'SIGKILL');
    expect(await cluster.must('up')).toContain('boot');
    expect(inside('d1', `cat ${home}/hosts/d1/members/cart@d1/data/marker`)).toBe('kept\n');
    expect(await cluster.must('down')).toContain('the disk of d1');
    await until('no loop device is left', async () => loops().length === 0);
    await cluster.must('up');
    expect(inside('d1', `cat ${home}/hosts/d1/members/cart@d1/data/marker`)).toBe('kept\n');
  });

  it('keeps its size: another is refused, and nothing is done', async () => {
    cluster.write(yaml('256mb'));
    const { exit, out } = await cluster.run(['up']);
    cluster.write(yaml('128mb'));
    expect(exit).toBe(1);
    expect(out).toContain('host d1 has a disk of 128mb, and the file gives it a disk of 256mb');
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('is filled by a drill: writes are refused for as long, none that was acknowledged is lost, and it is whole again', async () => {
    const { exit, out, verdict } = await drill(
      cluster,
      'cart',
      'full-disk-master',
      '--for',
      '5s',
      '--seed',
      '7',
    );
    expect(exit, out).toBe(0);
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({
      write: 'No space left on device',
      free: 0,
    });
    expect(verdict.faults[0]!.wholeMs).toBeDefined();
    // Redis tries its log again each second; that it refuses writes until then is what saves them.
    expect(verdict.recovery.rtoMs).toBeGreaterThan(2_000);
    expect(verdict.operations.acknowledged).toBeGreaterThan(1_000);
    expect(free('d1')).toBeGreaterThan(60_000);
    expect(free('d2')).toBeGreaterThan(60_000);
  });

  it('is free again by heal after kill -9 of the drill', async () => {
    const full = async (): Promise<string | false> => ['d1', 'd2'].find((host) => free(host) === 0) ?? false;
    const options = ['cart', '--fault', 'full-disk-master', '--for', '60s'];
    const { child, ended, struck } = await startDrill(cluster, options, full);
    child.kill('SIGKILL');
    await ended;
    expect(free(struck)).toBe(0);
    await cluster.must('heal');
    expect(free(struck)).toBeGreaterThan(60_000);
    await until('healthy', async () => (await cluster.status()).health === 'healthy');
  });

  it('goes with down --purge, and leaves nothing', async () => {
    await cluster.must('down', '--purge');
    expect(existsSync(home)).toBe(false);
    await until('no loop device is left', async () => loops().length === 0);
    expect(existsSync(join(home, 'hosts'))).toBe(false);
  });
});
