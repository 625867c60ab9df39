import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dialer, using } from '../../src/engines/redis/client.ts';
import { TestCluster, until } from './cluster.ts';
import { drill, startDrill } from './drills.ts';
import { Cart } from './redis-clients.ts';

const yaml = (clock: string): string => `
cluster: drclock
network: 10.95.12.0/24
hosts: { d1: ${clock}, d2: ${clock} }
services:
  cart: { type: redis, mode: replication, hosts: [d1, d2], replicas: 1, persistence: aof }
`;
const cluster = new TestCluster(yaml('{ clock: own }'));
const cart = new Cart(cluster);

/** By how many seconds each member's own answer to TIME is ahead of this machine's clock, by host. */
async function ahead(): Promise<Record<string, number>> {
  const { cluster, reach } = await cart.session();
  const dial = dialer(await cart.service(), cluster, reach);
  const { members } = await cart.live();
  const found = members.map(async (member): Promise<[string, number]> => {
    const [seconds] = await using(dial, member, (redis) => redis.time());
    return [member.host, Number(seconds) - Math.floor(Date.now() / 1000)];
  });
  return Object.fromEntries(await Promise.all(found));
}
const stepped = async (): Promise<string | undefined> =>
  Object.entries(await ahead()).find(([, seconds]) => seconds >= 59)?.[0];
const right = async (): Promise<boolean> =>
  Object.values(await ahead()).every((seconds) => Math.abs(seconds) <= 1);

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('a clock of its own, which a host of the lab has', () => {
  it("tells this machine's time until somebody sets it; up again has nothing to do", async () => {
    expect(await right()).toBe(true);
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('is set ahead by a drill, and Redis goes on: nothing that was acknowledged is lost', async () => {
    const drilling = drill(cluster, 'cart', 'clock-master', '--for', '5s', '--seed', '7');
    // Not what the drill says of itself: what Redis does.
    const host = await until('Redis tells the time that was set', stepped, 60_000);
    const { exit, out, verdict } = await drilling;
    expect(exit, out).toBe(0);
    const [fault] = verdict.faults;
    const detail = fault!.evidence[0]!.detail as { aheadS: number; asking: number; member: string };
    expect(fault!.target).toBe(host);
    expect(Math.abs(detail.aheadS - 60)).toBeLessThanOrEqual(1);
    expect(detail).toMatchObject({ member: `cart@${host}` });
    expect(detail.asking).toBeGreaterThan(1);
    expect(verdict.lost).toBe(0);
    expect(verdict.operations.acknowledged).toBeGreaterThan(1_000);
    await until('the time is right again', right);
  });

  it('is right again by heal after kill -9 of the drill, and by up after nobody healed it', async () => {
    for (const command of ['heal', 'up']) {
      const { child, ended, struck } = await startDrill(
        cluster,
        ['cart', '--fault', 'clock-master', '--for', '60s'],
        stepped,
      );
      child.kill('SIGKILL');
      await ended;
      expect((await cluster.run(['status'])).out).toContain(`clock-master of cart on ${struck}`);
      await cluster.must(command);
      await until('the time is right again', right);
    }
  });

  it('comes and goes with a host that is switched on anew, and without one nothing is set', async () => {
    cluster.write(yaml('{}'));
    const refused = await cluster.run(['up']);
    expect(refused.exit).toBe(1);
    expect(refused.out).toContain(
      'host d1 was switched on with a clock of its own, and the file gives it none',
    );
    await cluster.must('down');
    await cluster.must('up');
    const shared = await cluster.run(['drill', 'cart', '--fault', 'clock-master']);
    expect(shared.exit).toBe(1);
    expect(shared.out).toContain("d1, d2 has this machine's");
  });
});
