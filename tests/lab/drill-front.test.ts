import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Standing } from '../../src/drill/standing.ts';
import { TestCluster, until } from './cluster.ts';
import { drill, startDrill } from './drills.ts';

const cluster = new TestCluster(`
cluster: drfront
network: 10.95.3.0/24
hosts: { lb1: {}, lb2: {}, app1: {}, app2: {}, app3: {} }
services:
  web:
    type: app
    hosts: [app1, app2, app3]
    release: shop
    command: node server.ts
    port: 8080
    check: { http: /healthz, interval: 100ms, timeout: 300ms, fall: 2 }
  front:
    type: director
    hosts: [lb1, lb2]
    vip: 10.95.3.100
    listen: [{ port: 80, to: web, scheduler: rr, forward: nat }]
    promise: { rto: 2500ms }
`);
cpSync(resolve(import.meta.dirname, '../../examples/hello'), join(cluster.folder, 'shop'), {
  recursive: true,
});

const home = '/var/lib/phalanx/drfront';
const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
const standing = (): Standing | undefined =>
  existsSync(`${home}/fault.json`)
    ? (JSON.parse(readFileSync(`${home}/fault.json`, 'utf8')) as Standing)
    : undefined;
const cableIn = (host: string): boolean =>
  /[<,]UP[,>]/.test(shell(`ip -n phalanx.drfront -o link show dev ${host}`));
const cutOwner = ['front', '--fault', 'cut-owner', '--for', '60s'];
const cutHost = async (): Promise<string | false> => {
  const host = standing()?.host ?? '';
  return host !== '' && !cableIn(host) && host;
};
const healthy = (): Promise<boolean> =>
  until('healthy', async () => (await cluster.status()).health === 'healthy', 30_000);

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('drills of a director', () => {
  it('measure how long clients were away, with evidence, and anyone can verify the verdict from the history', async () => {
    const { exit, out, verdict, bundle } = await drill(
      cluster,
      'front',
      'cut-owner',
      '--for',
      '2s',
      '--seed',
      '7',
    );
    expect(exit, out).toBe(0);
    expect(verdict.faults[0]!.evidence[0]!.detail).toMatchObject({ state: 'DOWN' });
    expect(verdict.operations.acknowledged).toBeGreaterThan(1_000);
    // At 50 ms between adverts nobody takes over in less; a drill that says so did not see the fault.
    expect(verdict.recovery.rtoMs).toBeGreaterThan(50);
    expect(verdict.promise.rto).toMatchObject({ result: 'kept', promisedMs: 2_500 });
    const again = await cluster.run(['drill', '--verify', join(bundle, 'history.jsonl')]);
    expect(again).toEqual({ exit: 0, out: readFileSync(join(bundle, 'verdict.json'), 'utf8') });
    expect(standing()).toBeUndefined();
  });

  it('find the promise kept when a server hangs and the agents take it out, and broken when there is no agent', async () => {
    const kept = await drill(cluster, 'front', 'freeze-app', '--for', '6s', '--seed', '7');
    expect(kept.exit, kept.out).toBe(0);

    for (const lb of ['lb1', 'lb2'])
      shell(`s6-svc -Ok ${home}/hosts/${lb}/members/front.agent@${lb}/service`);
    const refused = await until(
      'both agents are missed',
      async () => {
        const run = await cluster.run(['drill', 'front', '--fault', 'freeze-app']);
        return run.out.split('its status is old').length > 2 && run;
      },
      60_000,
    );
    expect(refused.exit).toBe(5);
    expect(refused.out).toContain('not steady');

    const broken = await drill(cluster, 'front', 'freeze-app', '--for', '6s', '--seed', '7', '--degraded');
    expect(broken.exit, broken.out).toBe(4);
    expect(broken.verdict.promise.result).toBe('broken');
    expect(broken.verdict.faults[0]!.wholeMs, broken.out).toBeDefined();
    expect(broken.verdict.recovery.rtoMs).toBeGreaterThan(2_500);
    expect(broken.out).toContain('broken');
    await cluster.must('up');
    await healthy();
  });

  it('killed with kill -9, leave a trace that status tells and heal removes', async () => {
    const { child, ended, struck: host } = await startDrill(cluster, cutOwner, cutHost);
    child.kill('SIGKILL');
    await ended;
    expect((await cluster.run(['status'])).out).toMatch(
      /a drill was killed and its fault still stands: cut-owner/,
    );
    expect(cableIn(host)).toBe(false);
    await cluster.must('heal');
    expect(cableIn(host)).toBe(true);
    expect(standing()).toBeUndefined();
  });

  it('begun while the cluster still settles, wait for it; interrupted, heal before they end, and prove nothing', async () => {
    const { child, ended, struck: host } = await startDrill(cluster, cutOwner, cutHost);
    child.kill('SIGINT');
    expect(await ended).toBe(5);
    expect(cableIn(host)).toBe(true);
    expect(standing()).toBeUndefined();
    await healthy();
  });

  it('refuse what cannot be done, and say why', async () => {
    const clock = await cluster.run(['drill', 'front', '--fault', 'clock-owner']);
    expect(clock.exit).toBe(1);
    expect(clock.out).toContain("lb1, lb2 has this machine's");
    const disk = await cluster.run(['drill', 'front', '--fault', 'full-disk-owner']);
    expect(disk.exit).toBe(1);
    expect(disk.out).toContain("lb1, lb2 shares this machine's");
    const unknown = await cluster.run(['drill', 'front', '--fault', 'kill-queen']);
    expect(unknown.exit).toBe(1);
    expect(unknown.out).toContain('owner, standby, agent, app');
  });
});
