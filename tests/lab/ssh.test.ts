import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { get, TestCluster, until } from './cluster.ts';
import { startDrill } from './drills.ts';
import { Machines } from './machines.ts';

// Machines that are reached by ssh: two directors, two servers, two Redis; some with busybox for a shell. The last one is a stranger.
const machines = new Machines('sshlab', 'sshcluster', '10.165.2', [
  'dash',
  'busybox',
  'busybox',
  'dash',
  'dash',
  'busybox',
  'dash',
]);
const [lb1, lb2, app1, app2, data1, data2, stranger] = machines.machines.map(({ name }) => name) as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
];
const inCluster = [lb1, lb2, app1, app2, data1, data2];
const vip = '10.165.2.100';
/** The control machine's state; another folder is another control machine. */
const home = mkdtempSync(join(tmpdir(), 'phalanx-control-'));

const yaml = (options: { answer?: string; scheduler?: string; host?: string } = {}): string => `
cluster: sshcluster
network: 10.165.2.0/24
${options.host ?? hosts({})}
services:
  web:
    type: app
    hosts: [app1, app2]
    release: site
    command: node server.mjs
    port: 8080
    check: { http: /, interval: 100ms, timeout: 1s }
    uses: [cart]
    env: { ANSWER: "${options.answer ?? 'first'}" }
    drain: 1s
  cart: { type: redis, mode: replication, hosts: [data1, data2], replicas: 1 }
  front:
    type: director
    hosts: [lb1, lb2]
    vip: ${vip}
    listen:
      - { port: 80, to: web, scheduler: ${options.scheduler ?? 'rr'}, forward: nat }
`;

const cluster = new TestCluster(yaml());
mkdirSync(join(cluster.folder, 'site'));
writeFileSync(
  join(cluster.folder, 'site/server.mjs'),
  `import { createServer } from 'node:http';
createServer((_, answer) => answer.end(process.env.ANSWER)).listen(process.env.PORT, process.env.ADDRESS);
`,
);

/** The file's hosts, some of them reached otherwise and some left out. */
function hosts(otherwise: Record<string, string>, without: string[] = []): string {
  const names = ['lb1', 'lb2', 'app1', 'app2', 'data1', 'data2'];
  const lines = names.map((name, at) => [name, otherwise[name] ?? `root@10.165.2.${at + 11}`] as const);
  const left = lines.filter(([name]) => !without.includes(name));
  return `hosts:\n${left.map(([name, ssh]) => `  ${name}: { ssh: ${ssh}${/\d$/.test(ssh) ? '' : ', address: 10.165.2.15'} }`).join('\n')}`;
}

/** Round trips of one command, by machine. */
async function rounds(command: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = inCluster.map((machine) => machines.sessions(machine));
  await command();
  return Object.fromEntries(
    inCluster.map((machine, at) => [machine, machines.sessions(machine) - before[at]!]),
  );
}

/** Where the control machine knows the machines. */
const kept = (): Record<string, object> =>
  JSON.parse(readFileSync(join(home, 'sshcluster/machines.json'), 'utf8'));

const once = Object.fromEntries(inCluster.map((machine) => [machine, 1]));
const body = async (): Promise<string> => (await get(`http://${vip}/`)).body;

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
  rmSync(home, { recursive: true, force: true });
  for (const folder of ['/var/lib/phalanx/sshcluster'])
    if (existsSync(folder)) rmSync(folder, { recursive: true });
});

describe('machines that are reached by ssh', () => {
  it('whose host keys are not known are refused before anything is done', async () => {
    const known = join(machines.lab.folder, 'known_hosts');
    renameSync(known, `${known}.away`);
    const { exit, out } = await cluster.run(['up']);
    renameSync(`${known}.away`, known);
    expect(exit).toBe(1);
    expect(out).toContain('its host key is not known here');
    expect(inCluster.map((machine) => machines.sessions(machine))).toEqual(inCluster.map(() => 0));
  });

  it('are all looked at before anything is changed, and everything wrong is said at once', async () => {
    machines.inside(stranger, `ip addr add ${vip}/32 dev eth0`);
    machines.inside(
      app2,
      `python3 -m http.server 8080 >/dev/null 2>&1 </dev/null & echo $! >/run/squatter
until grep -q ':1F90 .* 0A ' /proc/net/tcp; do sleep 0.05; done`,
    );
    machines.inside(
      lb1,
      `nft 'add table inet wall; add chain inet wall out { type filter hook output priority 0; }; add rule inet wall out ip daddr 10.165.2.13 tcp dport 8080 drop'`,
    );
    const { exit, out } = await cluster.run(['check']);
    machines.inside(stranger, `ip addr del ${vip}/32 dev eth0`);
    machines.inside(app2, 'kill $(cat /run/squatter)');
    machines.inside(lb1, 'nft delete table inet wall');
    expect(exit).toBe(1);
    expect(out).toContain(`VIP ${vip} of front is in use already`);
    expect(out).toContain('app2: port 8080, which web@app2 needs, is taken');
    expect(out).toContain('lb1 does not reach app1 (10.165.2.13) on port 8080');
    expect(machines.inside(app1, 'ls /var/lib/phalanx/sshcluster')).toBe('');
    await until('the stranger is forgotten', async () => (await cluster.run(['check'])).exit === 0, 60_000);
  });

  it('which are directors must hear each other, and nobody else has their VIP', async () => {
    machines.inside(data1, `ip addr add ${vip}/32 dev eth0`);
    machines.inside(
      lb1,
      `nft 'add table inet wall; add chain inet wall out { type filter hook output priority 0; }; add rule inet wall out meta l4proto 112 drop'`,
    );
    const { exit, out } = await cluster.run(['check']);
    machines.inside(data1, `ip addr del ${vip}/32 dev eth0`);
    machines.inside(lb1, 'nft delete table inet wall');
    expect(exit).toBe(1);
    expect(out).toContain(`VIP ${vip} of front is in use already: data1 has it on an interface`);
    expect(out).toContain('lb2 does not hear lb1 by VRRP (IP protocol 112)');
    expect(out).not.toContain('lb1 does not hear');
    expect(out).not.toContain('8848');
    await until('the VIP is forgotten', async () => (await cluster.run(['check'])).exit === 0, 60_000);
  });

  it('where the user may not be root stop everything, before anything is changed', async () => {
    cluster.write(yaml({ host: hosts({ app2: 'visitor@10.165.2.14' }) }));
    for (const command of ['up', 'plan', 'check']) {
      const { exit, out } = await cluster.run([command]);
      expect(exit).toBe(1);
      expect(out).toMatch(/app2: the user is not root, and (the host has no sudo|sudo refuses)/);
      expect(out).not.toContain('write');
    }
    expect(machines.inside(app1, 'ls /var/lib/phalanx/sshcluster')).toBe('');
    cluster.write(yaml());
  });

  it('become a cluster in four round trips', async () => {
    const taken = await rounds(() => cluster.must('up'));
    // What kind of machine, a look, the work; then the start that waits for Redis, or the wait until directors serve.
    for (const machine of [lb1, lb2, app1, app2]) expect(taken[machine]).toBeLessThanOrEqual(4);
    expect(await body()).toBe('first');
  });

  it('are looked at with one round trip each when there is nothing to do, by up, plan and status', async () => {
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
    let out = '';
    expect(
      await rounds(async () => {
        out = await cluster.must('up');
      }),
    ).toEqual(once);
    expect(out).toContain('nothing to do');
    expect(await rounds(() => cluster.must('plan'))).toEqual(once);
    expect(await rounds(() => cluster.must('status'))).toEqual(once);
  });

  it('take a change in at most two more', async () => {
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
    cluster.write(yaml({ scheduler: 'wrr' }));
    const taken = await rounds(() => cluster.must('up'));
    expect(taken).toEqual({ ...once, [lb1]: 3, [lb2]: 3 });
  });

  it('are sent the content of a file, or a release, only when it differs', async () => {
    const before = machines.received(app1);
    cluster.write(yaml({ scheduler: 'wrr', answer: 'second' }));
    writeFileSync(join(cluster.folder, 'site/large.bin'), Buffer.alloc(3_000_000, 7));
    await cluster.must('up');
    const withRelease = machines.received(app1) - before;
    expect(withRelease).toBeGreaterThan(3_000_000);
    cluster.write(yaml({ scheduler: 'wrr', answer: 'third' }));
    await cluster.must('up');
    expect(machines.received(app1) - before - withRelease).toBeLessThan(300_000);
    expect(await body()).toBe('third');
  });

  it('whose connection was killed are reached again, each by one new one', async () => {
    const sockets = `${home}/sshcluster/ssh`;
    /** Who holds the connections, by what each control socket's owner says. */
    const masters = (): number[] => {
      const pids = readdirSync(sockets).flatMap((name) => {
        const asked = ['-O', 'check', '-o', `ControlPath=${sockets}/${name}`, 'whoever'];
        const pid = /pid=(\d+)/.exec(spawnSync('ssh', asked, { encoding: 'utf8' }).stderr)?.[1];
        return pid === undefined ? [] : [Number(pid)];
      });
      return [...new Set(pids)];
    };
    // Not every command asks every machine; this one does. Another user's connection of an earlier test may still be there.
    await cluster.status();
    expect(masters().length).toBeGreaterThanOrEqual(inCluster.length);
    for (const pid of masters()) process.kill(pid, 'SIGKILL');
    await until('they are gone', async () => masters().length === 0);
    expect((await cluster.status()).health).toBe('healthy');
    expect(masters()).toHaveLength(inCluster.length);
    expect((await cluster.run(['plan'])).out).toContain('nothing to do');
    expect(masters()).toHaveLength(inCluster.length);
  });

  it('a log is read where it is', async () => {
    expect(await cluster.must('logs', 'cart@data1', '-n', '200')).toContain('Ready to accept connections');
  });

  it('while one is away the rest is done, what waits is named, and the next run goes on', async () => {
    machines.powerOff(app1);
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toContain('app1 does not answer');
    expect(out).toMatch(/waits for it: .*write web@app1/);
    await until('the server that is there has the change', async () => (await body()) === 'fourth');

    delete process.env['PHALANX_HOME'];
    await machines.lab.must('up');
    process.env['PHALANX_HOME'] = home;
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('one that comes back empty is rebuilt, its Redis as a replica', async () => {
    const roles = async (): Promise<Record<string, string>> =>
      Object.fromEntries(
        (await cluster.status()).rows
          .filter(({ service }) => service === 'cart')
          .map(({ host, role }) => [host, role]),
      );
    const before = await roles();
    const master = Object.keys(before).find((host) => before[host] === 'master')!;
    const replica = master === 'data1' ? 'data2' : 'data1';
    const machine = replica === 'data1' ? data1 : data2;
    machines.powerOff(machine);
    machines.emptyDisk(machine);
    delete process.env['PHALANX_HOME'];
    await machines.lab.must('up');
    process.env['PHALANX_HOME'] = home;
    await cluster.must('up');
    expect(await roles()).toEqual({ [master]: 'master', [replica]: 'replica' });
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('are adopted by another control machine with the same file, which finds nothing to do', async () => {
    const other = mkdtempSync(join(tmpdir(), 'phalanx-control-'));
    process.env['PHALANX_HOME'] = other;
    // Before it has adopted them it changes nothing, there or here, and looks at nothing without a word.
    const held = (): string =>
      machines.inside(data1, 'cd /var/lib/phalanx/sshcluster; sha256sum kept.json; stat -c %Y kept.json');
    const before = held();
    for (const command of [['up'], ['plan'], ['heal'], ['down', '--purge']]) {
      const { exit, out } = await cluster.run(command);
      expect(exit).toBe(1);
      expect(out).toContain('hold the state of a cluster sshcluster that is not known here');
      expect(out).toContain(`phalanx adopt ${cluster.file}`);
    }
    expect((await cluster.run(['status'])).out).toContain('is not known here');
    expect(held()).toBe(before);
    expect(existsSync(join(other, 'sshcluster/secrets.json'))).toBe(false);
    const shown = await cluster.run(['adopt']);
    expect(shown.exit).toBe(2);
    expect(shown.out).toContain('up would have nothing to do');
    expect(existsSync(join(other, 'sshcluster/secrets.json'))).toBe(false);
    await cluster.must('adopt', '--yes');
    for (const file of ['secrets.json', 'ids.json', 'machines.json']) {
      const keptIn = (folder: string) => {
        const path = join(folder, 'sshcluster', file);
        return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
      };
      expect(keptIn(other)).toEqual(keptIn(home));
    }
    expect(await cluster.must('up')).toContain('nothing to do');
    process.env['PHALANX_HOME'] = home;
    rmSync(other, { recursive: true });
  });

  it('may stand in a file of their own, whose mistakes are told where they are', async () => {
    const file = join(cluster.folder, 'prod.yaml');
    const hosts = yaml()
      .split('\n')
      .filter((line) => /^hosts:|ssh:/.test(line));
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth', host: 'hosts: { nowhere: {} }' }));
    writeFileSync(file, `${hosts.join('\n')}\n`);
    expect(await cluster.must('plan', '--hosts', file)).toContain('nothing to do');
    // Without it this is a lab of the same name, in which all machines would be hosts that left.
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }).replace(/\{ ssh.*\}/g, '{}'));
    for (const command of [['plan'], ['down', '--purge']]) {
      const refused = await cluster.run(command);
      expect(refused.exit).toBe(1);
      expect(refused.out).toContain('cluster sshcluster runs on real machines (lb1, ');
    }
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth', host: 'hosts: { nowhere: {} }' }));
    writeFileSync(file, `${hosts.join('\n')}\nservices: {}\n`);
    const { exit, out } = await cluster.run(['plan', '--hosts', file]);
    expect(exit).toBe(1);
    expect(out).toContain(`${file}:8:1: "services" does not belong here`);
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
  });

  it('are reached through another where ssh_config says so (ProxyJump)', async () => {
    // From this machine nothing gets in at data1 but over lb1.
    machines.inside(
      data1,
      `nft 'add table inet wall; add chain inet wall in { type filter hook input priority 0; }; add rule inet wall in ip saddr != 10.165.2.11 tcp dport 22 drop'`,
    );
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth', host: hosts({ data1: 'inner' }) }));
    expect((await cluster.run(['plan'])).out).toContain('data1 does not answer');
    machines.configure('Host inner\n  HostName 10.165.2.15\n  User root\n  ProxyJump root@10.165.2.11\n');
    const direct = machines.sessions(data1);
    const { out } = await cluster.run(['up']);
    const through = machines.sessions(data1);
    const again = await cluster.run(['up']);
    machines.inside(data1, 'nft delete table inet wall');
    machines.configure('');
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
    // Another control machine would have to know the name.
    expect(out).toContain('done hand over to data1');
    expect(through).toBeGreaterThan(direct);
    expect(again.out).toContain('nothing to do');
    await cluster.must('up');
  });

  it('that leave the file are left as they were, and not asked again', async () => {
    const without = (...names: string[]): void => {
      const all = yaml({ scheduler: 'wrr', answer: 'fourth', host: hosts({}, names) });
      const left = all.replace(/hosts: \[(.*)\]/g, (_, list: string) => {
        const stay = list.split(', ').filter((name) => !names.includes(name));
        return `hosts: [${stay.join(', ')}]`;
      });
      cluster.write(left);
    };
    without('app2');
    expect(await cluster.must('up')).toContain('leave      app2');
    expect(machines.inside(app2, 'ls -A /var/lib/phalanx/sshcluster')).toBe('');
    const before = machines.sessions(app2);
    expect(await cluster.must('up')).toContain('nothing to do');
    expect(machines.sessions(app2)).toBe(before);

    machines.powerOff(lb2);
    without('app2', 'lb2');
    expect(await cluster.must('up')).toContain('lb2 left the file and does not answer');
    expect(await cluster.must('up')).toContain('phalanx forget lb2');
    expect((await cluster.run(['forget', 'lb1'])).out).toContain('lb1 is a host of');
    await cluster.must('forget', 'lb2');
    expect(await cluster.must('up')).not.toContain('lb2');

    delete process.env['PHALANX_HOME'];
    await machines.lab.must('up');
    process.env['PHALANX_HOME'] = home;
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
    await cluster.must('up');
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
  });

  it('that have another name now are not taken apart for the old one', async () => {
    const renamed = yaml({ scheduler: 'wrr', answer: 'fourth', host: hosts({}).replace('app2:', 'app3:') });
    cluster.write(renamed.replace('[app1, app2]', '[app1, app3]'));
    await cluster.must('up');
    expect(await cluster.must('up')).toContain('nothing to do');
    expect((await cluster.status()).rows.map(({ name }) => name)).toContain('web@app3');
    expect(machines.inside(app2, 'ls /var/lib/phalanx/sshcluster/members')).toBe('web@app3\n');
    // With data of others the name stays: by another nobody would know it.
    const other = yaml({ scheduler: 'wrr', answer: 'fourth', host: hosts({}).replace('data2:', 'data3:') });
    cluster.write(other.replace('[data1, data2]', '[data1, data3]'));
    const refused = await cluster.run(['up']);
    expect(refused.exit).toBe(1);
    expect(refused.out).toContain('data3: it has cart@data2 with its data, and was called data2 then');
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
    await cluster.must('up');
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('that get another address are the same machines', async () => {
    machines.inside(app2, 'ip addr add 10.165.2.24/24 dev eth0');
    machines.configure('Host moved\n  HostName 10.165.2.14\n  User root\n');
    const moved = 'app2: { ssh: moved, address: 10.165.2.24 }';
    const host = hosts({}).replace(/app2: .*/, moved);
    expect(host).toContain(moved);
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth', host }));
    await cluster.must('up');
    expect(await cluster.must('up')).toContain('nothing to do');
    expect(kept()['app2']).toMatchObject({ ssh: 'moved', address: '10.165.2.24' });
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
    await cluster.must('up');
    expect(await cluster.must('up')).toContain('nothing to do');
    machines.inside(app2, 'ip addr del 10.165.2.24/24 dev eth0');
    machines.configure('');
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
  });

  it('that are exchanged for others under their names are told of first: what they have would go on', async () => {
    const before = kept();
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth', host: hosts({ app2: 'root@10.165.2.17' }) }));
    const refused = async (commands: string[][], why: string): Promise<void> => {
      for (const command of commands) {
        const { exit, out } = await cluster.run(command);
        expect(exit).toBe(1);
        expect(out).toContain('app2 was root@10.165.2.14 and is root@10.165.2.17 in');
        expect(out).toContain(why);
        expect(out).toContain('phalanx forget app2');
      }
    };
    await refused([['up'], ['plan'], ['down', '--purge']], 'what the old one has would go on there');
    expect((await cluster.run(['status'])).out).toContain('another machine');
    expect(await cluster.must('heal')).toContain('healed');
    expect(kept()).toEqual(before);
    expect(machines.inside(stranger, 'ls -A /var/lib/phalanx/sshcluster')).toBe('');
    machines.powerOff(app2);
    await refused([['up']], 'the old one does not answer');
    expect(await cluster.must('forget', 'app2')).toContain('that was root@10.165.2.14');
    await cluster.must('up');
    expect(machines.inside(stranger, 'ls /var/lib/phalanx/sshcluster/members')).toBe('web@app2\n');
    await until('the new one serves', async () => (await cluster.status()).health === 'healthy');

    // Back, in the way that the message names.
    delete process.env['PHALANX_HOME'];
    await machines.lab.must('up');
    process.env['PHALANX_HOME'] = home;
    const without = yaml({ scheduler: 'wrr', answer: 'fourth', host: hosts({}, ['app2']) });
    cluster.write(without.replace('[app1, app2]', '[app1]'));
    expect(await cluster.must('up')).toMatch(/leave +app2/);
    expect(machines.inside(stranger, 'ls -A /var/lib/phalanx/sshcluster')).toBe('');
    cluster.write(yaml({ scheduler: 'wrr', answer: 'fourth' }));
    await cluster.must('up');
    expect(kept()['app2']).toEqual(before['app2']);
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
  });

  it('are struck by a drill only when they are named, and what it froze goes on again however it ended', async () => {
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
    expect((await cluster.run(['drill', 'cart'])).out).toContain('--i-mean-it data1 data2');
    const others = await cluster.run(['drill', 'front', '--fault', 'kill-app', '--i-mean-it', 'lb1', 'lb2']);
    expect(others.exit).toBe(5);
    expect(others.out).toMatch(/web@app\d is on a real machine, app\d, which --i-mean-it does not name/);

    const trace = join(home, 'sshcluster/fault.json');
    const frozen = (): boolean =>
      [data1, data2].some((machine) =>
        /^T.*redis-server/m.test(machines.inside(machine, 'ps -o stat,args -e')),
      );
    const freeze = ['cart', '--fault', 'freeze-master', '--for', '60s', '--i-mean-it', 'data1', 'data2'];
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const { child, ended } = await startDrill(cluster, freeze, async () => existsSync(trace) && frozen());
      child.kill(signal);
      expect(await ended).toBe(signal === 'SIGINT' ? 5 : -1);
      if (signal === 'SIGKILL') {
        expect(frozen()).toBe(true);
        expect((await cluster.run(['status'])).out).toContain(
          'its fault still stands: freeze-master of cart',
        );
        await cluster.must('heal');
      }
      expect(frozen()).toBe(false);
      expect(existsSync(trace)).toBe(false);
    }
    await until('all is steady', async () => (await cluster.status()).health === 'healthy');
  });

  it('are left as they were', async () => {
    expect(machines.inside(lb1, 'nft list ruleset')).toContain('phalanx');
    await cluster.must('down', '--purge');
    for (const machine of inCluster) {
      expect(machines.inside(machine, 'ls -A /var/lib/phalanx/sshcluster')).toBe('');
      expect(
        machines
          .inside(machine, 'ps -eo args')
          .split('\n')
          .filter((line) => line.includes('sshcluster/')),
      ).toEqual([]);
    }
    expect(machines.inside(app1, 'ip rule')).not.toContain('8080');
    for (const director of [lb1, lb2]) expect(machines.inside(director, 'nft list ruleset')).toBe('');
    expect(existsSync(join(home, 'sshcluster'))).toBe(false);
  });
});
