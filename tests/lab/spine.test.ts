import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { get, load, TestCluster, until } from './cluster.ts';

const shop = resolve(import.meta.dirname, '../../examples/hello');
const vip = '10.91.7.100';

const yaml = (command = 'node server.ts', extra = ''): string => `
cluster: spine
hosts: { lb1: {}, lb2: {}, app1: {}, app2: {}, app3: {} }
services:
  web:
    type: app
    hosts: [app1, app2, app3]
    release: shop
    command: ${command}
    port: 8080
    check: { http: /healthz, interval: 100ms, timeout: 500ms }
    drain: 1s
    start: 6s
  front:
    type: director
    hosts: [lb1, lb2]
    vip: ${vip}
    listen:
      - { port: 80, to: web, scheduler: rr, forward: nat }
${extra}`;

const cluster = new TestCluster(yaml());
cpSync(shop, join(cluster.folder, 'shop'), { recursive: true });

const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
/** Everything of the machine that a cluster could leave behind. */
const traces = (): string =>
  shell(
    `ip netns list | grep spine; ip -o link | grep -i spine; grep -l spine /proc/[0-9]*/cmdline 2>/dev/null | grep -v /$$/ | while read f; do tr '\\0' ' ' < $f | grep -v 'vitest\\|phalanx-test' ; done; mount | grep spine; true`,
  ).trim();
const inHost = (host: string, script: string): string =>
  shell(`ip netns exec phalanx.spine.${host} sh -c '${script}'`);
const member = (host: string): string => `/var/lib/phalanx/spine/hosts/${host}/members`;

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
});
afterAll(() => cluster.remove());

describe('the spine', () => {
  it('up builds it from nothing, and a client is served by every member through the VIP', async () => {
    const out = await cluster.must('up');
    expect(out).toContain('cluster spine is up');
    const seen = new Set<string>();
    for (let i = 0; i < 9; i++) seen.add((await get(`http://${vip}/who`)).body);
    expect(seen.size).toBe(3);
    const { health, rows } = await cluster.status();
    expect(rows.filter((row) => row.health !== 'ok')).toEqual([]);
    expect(health).toBe('healthy');
  });

  it('up again: nothing to do', async () => {
    expect(await cluster.must('up')).toContain('nothing to do');
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('a member that is down is the only thing that is repaired', async () => {
    const dead = `${member('app2')}/web@app2/service`;
    const others = shell(
      `cat ${member('app1')}/web@app1/running; s6-svstat -o pid ${member('app1')}/web@app1/service`,
    );
    shell(`s6-svc -d -wD -T 10000 ${dead}`);
    const plan = JSON.parse((await cluster.run(['plan', '--json'])).out) as { steps: { id: string }[] };
    expect(plan.steps.map((step) => step.id)).toEqual(['write web@app2', 'start web@app2', 'ready web@app2']);
    await cluster.must('up');
    expect(
      shell(`cat ${member('app1')}/web@app1/running; s6-svstat -o pid ${member('app1')}/web@app1/service`),
    ).toBe(others);
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('what starts a member and was edited by hand is written anew; its process is left alone', async () => {
    const web = `${member('app1')}/web@app1`;
    const process = shell(`s6-svstat -o pid ${web}/service`);
    shell(`echo '# by hand' >>${web}/service/run; echo 'export MORE=1' >>${web}/env`);
    const plan = JSON.parse((await cluster.run(['plan', '--json'])).out) as {
      steps: { id: string; why: string }[];
    };
    expect(plan.steps).toMatchObject([
      {
        id: 'write web@app1',
        why: expect.stringMatching(/^env, service\/run differ from the file; its process goes on/),
      },
    ]);
    await cluster.must('up');
    expect(shell(`cat ${web}/service/run ${web}/env`)).not.toMatch(/by hand|MORE/);
    expect(shell(`s6-svstat -o pid ${web}/service`)).toBe(process);
  });

  it('changing the command under load loses no request', async () => {
    cluster.write(yaml('node server.ts --changed'));
    const clients = load(`http://${vip}/who`, 8);
    const out = await cluster.must('up');
    const { ok, failures, answers } = await clients.stop();
    expect(out).toContain('restart web@app3');
    expect(failures).toEqual([]);
    expect(ok).toBeGreaterThan(500);
    expect(answers.size).toBe(3);
  });

  it('a weight set by hand outlives up and a rolling change; what a change that was cut short left behind does not', async () => {
    const overrides = (): Promise<(string | undefined)[]> =>
      Promise.all(
        ['web@app1', 'web@app2'].map(
          async (name) => (await cluster.status()).rows.find((row) => row.name === `tcp-80 ${name}`)?.why,
        ),
      );
    await cluster.must('weight', 'web@app1', 'drain');
    await cluster.must('weight', 'web@app2', '3');
    expect(await cluster.must('up')).toContain('nothing to do');
    cluster.write(yaml('node server.ts --by-hand'));
    expect(await cluster.must('up')).toContain('restart web@app1');
    expect(await overrides()).toEqual(['set by hand: drain', 'set by hand: weight 3']);
    const served = new Set<string>();
    for (let i = 0; i < 12; i++) served.add((await get(`http://${vip}/who`)).body);
    expect([...served].sort()).toEqual(['{"member":"web@app2"}\n', '{"member":"web@app3"}\n']);
    for (const director of ['lb1', 'lb2'])
      for (const name of ['web@app2', 'web@app3']) {
        const file = `${member(director)}/front.agent@${director}/overrides/${name}`;
        shell(`printf 'turn %s\n' "$(cat ${file} 2>/dev/null)" >${file}.tmp && mv ${file}.tmp ${file}`);
        shell(`s6-svc -h ${member(director)}/front.agent@${director}/service`);
      }
    await until('both are out', () =>
      get(`http://${vip}/who`).then(
        () => false,
        () => true,
      ),
    );
    cluster.write(yaml('node server.ts --again'));
    const again = await cluster.must('up');
    expect(again).toContain('left out by a change that was cut short');
    // One at a time, also where what was left out comes back by the same plan.
    const done = [...again.matchAll(/done (restart|ready) +(web@app\d)/g)].map(
      ([, verb, name]) => `${verb} ${name}`,
    );
    expect(done).toEqual([1, 2, 3].flatMap((n) => [`restart web@app${n}`, `ready web@app${n}`]));
    expect(await overrides()).toEqual(['set by hand: drain', 'set by hand: weight 3']);
    for (const name of ['web@app1', 'web@app2']) await cluster.must('weight', name, 'file');
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('what may lose data is named by service: a file that was written behind it is told of', async () => {
    const { exit, out } = await cluster.run(['up', '--allow-data-loss', 'web', cluster.file]);
    expect(exit).toBe(1);
    expect(out).toContain('every word after --allow-data-loss is a service');
    expect((await cluster.run(['up', cluster.file, '--allow-data-loss', 'wbe'])).out).toContain(
      'has no service wbe',
    );
  });

  it('a first member that fails stops the roll, the others keep serving, and the mended file finishes it', async () => {
    cluster.write(yaml('node missing.ts'));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/FAILED ready web@app1.*not ready/);
    expect(out).toContain('missing.ts');
    const served = new Set<string>();
    for (let i = 0; i < 6; i++) served.add((await get(`http://${vip}/who`)).body);
    expect([...served].sort()).toEqual(['{"member":"web@app2"}\n', '{"member":"web@app3"}\n']);
    // Nor does the next run take out another, and the one after that the last.
    const again = await cluster.run(['up']);
    expect(again.exit).toBe(1);
    expect(again.out).toMatch(/FAILED ready web@app1.*not ready/);
    served.clear();
    for (let i = 0; i < 6; i++) served.add((await get(`http://${vip}/who`)).body);
    expect([...served].sort()).toEqual(['{"member":"web@app2"}\n', '{"member":"web@app3"}\n']);
    cluster.write(yaml('node server.ts --mended'));
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('a release that cannot be built stops up, and nothing that is done in a hurry', async () => {
    cluster.write(
      yaml('node server.ts --mended').replace('release: shop', 'release: shop\n    build: "exit 3"'),
    );
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toContain('its release could not be built');
    expect(await cluster.must('heal')).toContain('healed');
    cluster.write(yaml('node server.ts --mended'));
  });

  it('a release folder that is not there stops what ships it, and nothing else', async () => {
    const folder = join(cluster.folder, 'shop');
    renameSync(folder, `${folder}.away`);
    const [up, plan, heal, status] = [
      await cluster.run(['up']),
      await cluster.run(['plan']),
      await cluster.run(['heal']),
      await cluster.status(),
    ];
    renameSync(`${folder}.away`, folder);
    for (const { exit, out } of [up, plan]) {
      expect(exit).toBe(1);
      expect(out).toContain(`the release folder ${folder} does not exist`);
    }
    expect(heal.out).toContain('healed');
    expect(heal.exit).toBe(0);
    expect(status.health).toBe('healthy');
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('a cut cable moves the VIP, clients are served again, and mending it leaves one owner', async () => {
    const owner = (await cluster.status()).rows.find((row) => row.role === 'VIP')!.facts['owner']!;
    const other = owner === 'lb1' ? 'lb2' : 'lb1';
    shell(`ip -n phalanx.spine link set ${owner} down`);
    await until(
      'the other director serves',
      async () => (await get(`http://${vip}/who`, { timeoutMs: 300 })).status === 200,
    );
    expect(inHost(other, `ip -o addr show to ${vip}`)).toContain(vip);
    shell(`ip -n phalanx.spine link set ${owner} up`);
    await until('one owner again', async () => {
      const row = (await cluster.status()).rows.find((one) => one.role === 'VIP')!;
      return row.health === 'ok';
    });
  });

  it('a host that was powered off is booted and filled again by up', async () => {
    shell(`kill -9 $(cat /var/lib/phalanx/spine/hosts/app3/init.pid)`);
    await until('status tells', async () =>
      (await cluster.status()).rows.some((row) => row.host === 'app3' && row.health === 'down'),
    );
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('a host that was off while the file changed runs what the file says, and nothing that left it', async () => {
    const worker = (hosts: string): string => `
  worker:
    type: app
    hosts: [${hosts}]
    release: shop
    command: node server.ts --worker
    port: 8081
    check: { http: /healthz, interval: 100ms, timeout: 500ms }
    start: 6s
`;
    const off = (): string => shell(`kill -9 $(cat /var/lib/phalanx/spine/hosts/app3/init.pid)`);
    const running = (): string => shell('ps -o args= -p $(ip netns pids phalanx.spine.app3 | paste -sd,)');
    cluster.write(yaml('node server.ts --mended', worker('app1, app3')));
    await cluster.must('up');
    expect(running()).toContain('server.ts --worker');
    off();
    cluster.write(yaml('node server.ts --while-off', worker('app1')));
    const out = await cluster.must('up');
    expect(out).toContain('remove worker@app3');
    expect(running()).toContain('server.ts --while-off');
    expect(running()).not.toMatch(/--mended|--worker/);
    expect(existsSync(`${member('app3')}/worker@app3`)).toBe(false);
    expect(await cluster.must('up')).toContain('nothing to do');
    // Cut short between the two, the next one starts what waits.
    off();
    cluster.write(yaml('node server.ts --later', worker('app1')));
    await cluster.run(['up'], { killWhen: /done boot host app3/ });
    await cluster.must('up');
    expect(running()).toContain('server.ts --later');
    expect(running()).not.toContain('--while-off');
    expect((await cluster.status()).health).toBe('healthy');
    // And by itself a host that is switched on starts what it had.
    off();
    await cluster.must('heal');
    await until('app3 serves again', async () => (await cluster.status()).health === 'healthy');
    expect(running()).toContain('server.ts --later');
    cluster.write(yaml('node server.ts --mended'));
    await cluster.must('up');
  });

  it('down after a reboot of the machine leaves no secrets and no releases, and calls only data data', async () => {
    await cluster.must('up');
    shell('kill -9 $(cat /var/lib/phalanx/spine/hosts/*/init.pid)');
    const out = await cluster.must('down');
    expect(out).not.toContain('its data stays');
    expect(existsSync(`${member('app1')}/web@app1`)).toBe(false);
    expect(existsSync(`${member('lb1')}/front.vrrp@lb1`)).toBe(false);
    await cluster.must('up');
  });

  it('killed at any moment, the next up finishes', async () => {
    for (let i = 0; i < 8; i++) {
      await cluster.must('down');
      const killAfterMs = 150 + Math.random() * 1500;
      await cluster.run(['up'], { killAfterMs });
      const { exit, out } = await cluster.run(['up']);
      expect(exit, `killed after ${killAfterMs} ms: ${out}`).toBe(0);
      const answer = await get(`http://${vip}/who`).catch(async (error) => {
        throw new Error(`${error}\n${out}\n${(await cluster.run(['status'])).out}`);
      });
      expect(answer.status).toBe(200);
      expect((await cluster.status()).health, `killed after ${killAfterMs} ms`).toBe('healthy');
    }
  });

  it('down that is interrupted removes nothing more, and the next one goes on', async () => {
    await cluster.must('up');
    const { exit, out } = await cluster.run(['down', '--purge'], { interruptWhen: /web@app1/ });
    expect(exit, out).toBe(1);
    expect(out).toContain('hosts and network stay');
    expect(traces()).toContain('phalanx.spine.lb1');
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('down leaves nothing behind', async () => {
    await cluster.must('down', '--purge');
    expect(traces()).toBe('');
    expect(existsSync('/var/lib/phalanx/spine')).toBe(false);
    expect((await cluster.run(['down'])).exit).toBe(0);
  });

  it('the trace check itself sees a standing cluster', async () => {
    await cluster.must('up');
    expect(traces()).toContain('phalanx.spine.lb1');
  });
});
