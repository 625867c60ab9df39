import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Row, TestCluster, until } from './cluster.ts';
import { accessOf, javaClient, writer } from './zookeeper-client.ts';

const yaml = (hosts: string[], extra = ''): string => `
cluster: zktest
network: 10.92.40.0/24
hosts: { data1: {}, data2: {}, data3: {}, obs1: {}${hosts.map((host) => `, ${host}: {}`).join('')} }
services:
  locks:
    type: zookeeper
    hosts: [${['data1', 'data2', 'data3', ...hosts].join(', ')}]
    observers: [obs1]
    timing: fast
${extra}`;

const voters = ['data1', 'data2', 'data3'];
const cluster = new TestCluster(yaml([]));
const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
const folder = (host: string): string => `/var/lib/phalanx/zktest/hosts/${host}/members/locks@${host}`;
const pid = (host: string): string => shell(`s6-svstat -o pid ${folder(host)}/service`).trim();
/** As a crash that the supervisor does not mend by itself. */
const kill = (host: string): string =>
  shell(`s6-svc -O -k ${folder(host)}/service; s6-svwait -D -t 5000 ${folder(host)}/service`);
const access = (hosts = voters) => accessOf('zktest', 'locks', hosts);
const rowsOf = async (): Promise<Row[]> => (await cluster.status()).rows;
const leader = (): Promise<string> =>
  until('somebody leads', async () => (await rowsOf()).find(({ role }) => role === 'leader')?.host);
const planned = async (): Promise<string[]> => {
  const { out } = await cluster.run(['plan', '--json']);
  return (JSON.parse(out) as { steps: { id: string }[] }).steps.map(({ id }) => id);
};
const healthy = () => until('healthy', async () => (await cluster.status()).health === 'healthy', 30_000);
const ids = (): Record<string, number> =>
  JSON.parse(readFileSync('/var/lib/phalanx/zktest/ids.json', 'utf8'));

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('zookeeper', () => {
  it('three voters and an observer: one leads, and up again has nothing to do', async () => {
    const roles = (await rowsOf()).map(({ role }) => role).sort();
    expect(roles).toEqual(['follower', 'follower', 'leader', 'observer']);
    expect((await rowsOf()).find(({ host }) => host === 'obs1')!.role).toBe('observer');
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('stock clients in two languages write and read, and what one wrote the other reads', async () => {
    const client = await writer(access());
    const { ok, last, errors } = await client.stop();
    expect(errors).toEqual([]);
    expect(last).toBe(ok);
    const said = await javaClient(access(['obs1']), [
      `addauth digest ${access().auth}`,
      'get /numbers',
      'create -s /queue- first auth::cdrwa',
      'create -e /here me auth::cdrwa',
    ]);
    expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
    expect(said).toMatch(/Created \/queue-\d{10}/);
  });

  it('without the password nothing can be read or made, in the app’s part or beside it', async () => {
    const said = await javaClient(access(), ['get /numbers', 'create /evil', 'ls /']);
    expect(said.match(/(NoAuth|Insufficient permission|Authentication is not valid)/gi)).toHaveLength(3);
    const root = { ...access(), url: access().url.replace('/locks', '') };
    const beside = await javaClient(root, ['create /evil', 'create /zookeeper/evil', 'ls /']);
    expect(beside).not.toContain('Created');
    expect(beside).toContain('[locks, zookeeper]');
  });

  it('no password and no hash of one can be seen in a command line or by other users', () => {
    const secrets: string[] = Object.values(
      JSON.parse(readFileSync('/var/lib/phalanx/zktest/secrets.json', 'utf8')),
    );
    const lines = shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
    expect(lines).toContain('QuorumPeerMain');
    expect(secrets.filter((secret) => lines.includes(secret))).toEqual([]);
    expect(lines).not.toContain('super:');
    const open = shell(`grep -rl super: ${folder('data1')} | xargs stat -c '%a %n'`)
      .trim()
      .split('\n');
    expect(open.length).toBeGreaterThan(0);
    expect(open.filter((line) => !line.startsWith('600 '))).toEqual([]);
  });

  it('the leader killed: the client goes on with its session, and up repairs the dead one alone', async () => {
    const dead = await leader();
    const others = ['data1', 'data2', 'data3', 'obs1'].filter((host) => host !== dead);
    const before = others.map(pid);
    const client = await writer(access());
    kill(dead);
    const seen = client.written.ok;
    await until('writes go on', async () => client.written.ok > seen + 20);
    expect(await leader()).not.toBe(dead);
    const steps = await planned();
    expect(steps).toEqual([
      `write locks@${dead}`,
      `start locks@${dead}`,
      `ready locks@${dead}`,
      'serve locks',
    ]);
    await cluster.must('up');
    const { errors, sessions, states, ok, last } = await client.stop();
    expect(errors).toEqual([]);
    expect(states).not.toContain('LOST');
    expect(sessions.size).toBe(1);
    expect(last).toBe(ok);
    expect(others.map(pid)).toEqual(before);
  });

  it('failed over, up again: nothing moves', async () => {
    const first = await leader();
    shell(`s6-svc -k ${folder(first)}/service`); // the supervisor starts it again
    await until('another leads', async () => {
      const rows = await rowsOf();
      return rows.some(({ role, host }) => role === 'leader' && host !== first);
    });
    await healthy();
    const now = await leader();
    expect(now).not.toBe(first);
    expect(await cluster.must('up')).toContain('nothing to do');
    expect(await leader()).toBe(now);
  });

  it('the majority lost: status says that writes and reads stop, and who is missing; up brings it back', async () => {
    const client = await writer(access());
    const { last } = await client.stop();
    kill('data1');
    kill('data2');
    const { exit, out } = await until('status tells', async () => {
      const run = await cluster.run(['status', '--json']);
      return run.out.includes('majority lost') ? run : undefined;
    });
    expect(exit).toBe(3);
    const row = (JSON.parse(out) as { rows: Row[] }).rows.find(({ host }) => host === 'data3')!;
    expect(row).toMatchObject({ role: 'electing', health: 'down' });
    expect(row.why).toMatch(/1 of 3 voters .*locks@data1, locks@data2.*writes and reads stop/);
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
    const said = await javaClient(access(), [`addauth digest ${access().auth}`, 'get /numbers']);
    expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
  });

  it('a change rolls through, the leader last, under a client that notices no error', async () => {
    const last = await leader();
    cluster.write(yaml([], '    config: { snapCount: 5000 }'));
    const order = (await planned()).filter((id) => id.startsWith('restart '));
    expect(order).toHaveLength(4);
    expect(order[0]).toBe('restart locks@obs1');
    expect(order.at(-1)).toBe(`restart locks@${last}`);
    const client = await writer(access());
    await cluster.must('up');
    const { errors, sessions, ok, last: stored } = await client.stop();
    expect(errors).toEqual([]);
    expect(sessions.size).toBe(1);
    expect(stored).toBe(ok);
    expect(ok).toBeGreaterThan(100);
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('grows to five and shrinks to three under a writing client; a number that was given is never given again', async () => {
    const before = ids();
    const pids = voters.map(pid);
    const client = await writer(access());
    cluster.write(yaml(['data4', 'data5'], '    config: { snapCount: 5000 }'));
    await cluster.must('up');
    const rows = await rowsOf();
    expect(rows.filter(({ health, role }) => health === 'ok' && role !== 'observer')).toHaveLength(5);
    expect(ids()).toMatchObject(before);
    cluster.write(yaml([], '    config: { snapCount: 5000 }'));
    await cluster.must('up');
    const { errors, ok, last } = await client.stop();
    expect(errors).toEqual([]);
    expect(last).toBe(ok);
    expect(voters.map(pid)).toEqual(pids);
    expect(shell('ip netns list')).not.toContain('zktest.data4');
    expect((await cluster.status()).rows).toHaveLength(4);

    cluster.write(yaml(['data6', 'data4'], '    config: { snapCount: 5000 }'));
    await cluster.must('up');
    const given = ids();
    expect(given['locks/data4']).toBe(5);
    expect(given['locks/data6']).toBe(7);
    expect((await cluster.status()).health).toBe('healthy');
    cluster.write(yaml([], '    config: { snapCount: 5000 }'));
    await cluster.must('up');
  });

  it('killed anywhere in a grow, the next up finishes', async () => {
    for (const killAfterMs of [600, 1500, 2400, 3300]) {
      cluster.write(yaml(['data4', 'data5'], '    config: { snapCount: 5000 }'));
      await cluster.run(['up'], { killAfterMs });
      const { exit, out } = await cluster.run(['up']);
      expect(exit, `killed after ${killAfterMs} ms: ${out}`).toBe(0);
      expect((await rowsOf()).filter(({ health }) => health === 'ok')).toHaveLength(6);
      cluster.write(yaml([], '    config: { snapCount: 5000 }'));
      await cluster.run(['up'], { killAfterMs });
      await cluster.must('up');
      expect((await cluster.status()).rows.filter(({ health }) => health === 'ok')).toHaveLength(4);
    }
  });

  it('a member that lost its disk copies from the others and gets its vote back', async () => {
    const host = (await rowsOf()).find(({ role }) => role === 'follower')!.host;
    kill(host);
    shell(`rm -rf ${folder(host)}/data`);
    expect(await planned()).toContain(`seed locks@${host}`);
    await cluster.must('up');
    const row = (await rowsOf()).find((one) => one.host === host)!;
    expect(row).toMatchObject({ role: 'follower', health: 'ok', facts: { myid: host.slice(4) } });
  });

  it('down keeps the data, and up again has it', async () => {
    const client = await writer(access());
    const { last } = await client.stop();
    await cluster.must('down');
    await cluster.must('up');
    const said = await javaClient(access(), [`addauth digest ${access().auth}`, 'get /numbers']);
    expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
    expect((await cluster.status()).health).toBe('healthy');
  });

  it('down, two more hosts, up: the data is there and all five vote', async () => {
    await cluster.must('down');
    cluster.write(yaml(['data4', 'data5'], '    config: { snapCount: 5000 }'));
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
    const said = await javaClient(access(), [`addauth digest ${access().auth}`, 'get /numbers']);
    expect(said).toMatch(/^\d+$/m);
    cluster.write(yaml([], '    config: { snapCount: 5000 }'));
    await cluster.must('up');
  });

  it('most voters without data: nothing is elected of them until the user accepts what is lost', async () => {
    const client = await writer(access());
    const { last } = await client.stop();
    await cluster.must('down');
    for (const host of ['data1', 'data2']) shell(`rm -rf ${folder(host)}`);
    await cluster.run(['up'], { killAfterMs: 8_000 });
    expect((await rowsOf()).filter(({ role }) => role === 'leader')).toEqual([]);
    const { out } = await cluster.run(['plan']);
    expect(out).toMatch(/seed .*2 of 3 voters lost their data.*destroys data of locks/);
    await cluster.must('up', '--allow-data-loss', 'locks');
    expect((await cluster.status()).health).toBe('healthy');
    const said = await javaClient(access(), [`addauth digest ${access().auth}`, 'get /numbers']);
    expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
  });

  it('a member that is cut off holds the roll: the file is not followed at the price of the majority', async () => {
    const cut = (await rowsOf()).find(({ role }) => role === 'follower')!.host;
    const inside = (script: string) => shell(`ip netns exec phalanx.zktest.${cut} sh -c '${script}'`);
    inside(
      'nft add table inet cut; nft add chain inet cut in "{ type filter hook input priority 0; }"; nft add rule inet cut in tcp dport != 1 drop',
    );
    const others = voters.filter((host) => host !== cut);
    const pids = others.map(pid);
    await until('it is silent', async () =>
      (await rowsOf()).some(({ host, role }) => host === cut && role === 'silent'),
    );
    cluster.write(yaml([], '    config: { snapCount: 7000 }'));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/is not restarted: 2 voters in step are needed, 1 would be left/);
    expect(out).toContain(`1 would be left: locks@${cut}`);
    expect(others.map(pid)).toEqual(pids);
    inside('nft delete table inet cut');
    await cluster.must('up');
    expect(others.map(pid)).not.toEqual(pids);
    expect((await cluster.status()).health).toBe('healthy');
  }, 300_000);

  it('the port is changed under a client, which keeps its connection; status says where servers are until then', async () => {
    const file = (port: number) => yaml([], `    config: { snapCount: 7000 }\n    port: ${port}`);
    // Nothing but the port shall change under the client.
    cluster.write(file(2181));
    await cluster.must('up');
    cluster.write(file(2191));
    const before = await cluster.status();
    expect(before.rows.filter(({ role }) => role === 'silent')).toEqual([]);
    expect(before.rows.find(({ role }) => role === 'leader')!.why).toMatch(
      /:2181, the file has it otherwise/,
    );
    const client = await writer(access());
    await cluster.must('up');
    const { errors, ok, last } = await client.stop();
    expect(errors).toEqual([]);
    expect(last).toBe(ok);
    expect(await cluster.must('up')).toContain('nothing to do');
    const moved = { ...access(), url: access().url.replaceAll(':2181', ':2191') };
    const said = await javaClient(moved, [`addauth digest ${access().auth}`, 'get /numbers']);
    expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
    cluster.write(file(2181));
    await cluster.must('up');
    expect((await cluster.status()).health).toBe('healthy');
  }, 180_000);

  it('all hosts replaced in one edit: the data moves with them, and back; while the old are down nothing is formed', async () => {
    const [old, fresh] = [voters, ['data7', 'data8', 'data9']];
    const file = (hosts: string[]) => `
cluster: zktest
network: 10.92.40.0/24
hosts: { ${hosts.map((host) => `${host}: {}`).join(', ')} }
services: { locks: { type: zookeeper, hosts: [${hosts.join(', ')}], timing: fast } }
`;
    const client = await writer(access());
    const { last } = await client.stop();
    const has = async (hosts: string[]) => {
      expect((await cluster.status()).rows.map(({ host, health }) => [host, health])).toEqual(
        hosts.map((host) => [host, 'ok']),
      );
      const said = await javaClient(access(hosts), [`addauth digest ${access().auth}`, 'get /numbers']);
      expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
    };
    cluster.write(file(fresh));
    await cluster.must('up');
    await has(fresh);
    await cluster.must('down');
    cluster.write(file(['data10', 'data11', 'data12']));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/locks@data9.*no longer in the file, cannot be looked at/);
    cluster.write(file(fresh));
    await cluster.must('up');
    await has(fresh);
    cluster.write(file(old));
    await cluster.must('up');
    await has(old);
  }, 420_000);

  it('shorter ticks on an idle ensemble: no follower leaves its leader but when that is restarted, also when up is killed half-way', async () => {
    const file = (timing: string) => `
cluster: zktest
network: 10.92.40.0/24
hosts: { ${voters.map((host) => `${host}: {}`).join(', ')} }
services: { locks: { type: zookeeper, hosts: [${voters.join(', ')}], timing: ${timing} } }
`;
    // A silence that was too long for a follower, in its own words.
    const left = (): number =>
      Number(
        shell(
          `cat ${voters.map((host) => `${folder(host)}/log/current`).join(' ')} | grep -c 'Read timed out' || true`,
        ),
      );
    const running = (host: string): string => readFileSync(`${folder(host)}/data/zoo.cfg`, 'utf8');
    for (const killWhen of [undefined, /done restart locks@/]) {
      cluster.write(file('default'));
      await cluster.must('up');
      await healthy();
      const before = left();
      cluster.write(file('fast'));
      if (killWhen) await cluster.run(['up'], { killWhen });
      await cluster.must('up');
      expect(left()).toBe(before);
      await healthy();
      for (const host of voters) expect(running(host)).toMatch(/^syncLimit=4$/m);
      expect(await cluster.must('up')).toContain('nothing to do');
    }
  }, 420_000);

  it('another network is refused while it runs and after it is down, and nothing is lost by having asked', async () => {
    const file = (network: string) => `
cluster: zktest
network: ${network}
hosts: { ${voters.map((host) => `${host}: {}`).join(', ')} }
services: { locks: { type: zookeeper, hosts: [${voters.join(', ')}], timing: fast } }
`;
    cluster.write(file('10.92.40.0/24'));
    await cluster.must('up');
    const client = await writer(access());
    const { last } = await client.stop();
    const pids = voters.map(pid);
    cluster.write(file('10.92.41.0/24'));
    const running = await cluster.run(['up']);
    expect(running.exit).toBe(1);
    expect(running.out).toMatch(/know each other as 10\.92\.40\.\d+, .*Give the hosts back the addresses/);
    expect(voters.map(pid)).toEqual(pids);
    await cluster.must('down');
    const down = await cluster.run(['up']);
    expect(down.exit).toBe(1);
    expect(down.out).toMatch(/know each other as 10\.92\.40\.\d+, .*Give the hosts back the addresses/);
    await cluster.must('down');
    cluster.write(file('10.92.40.0/24'));
    await cluster.must('up');
    await healthy();
    const said = await javaClient(access(), [`addauth digest ${access().auth}`, 'get /numbers']);
    expect(said).toMatch(new RegExp(`^${last}$`, 'm'));
  }, 240_000);

  it('one host with another address is known there before it starts, and has its vote again', async () => {
    const file = (address: string) => `
cluster: zktest
network: 10.92.40.0/24
hosts: { data1: {}, data2: {}, data3: { address: ${address} } }
services: { locks: { type: zookeeper, hosts: [${voters.join(', ')}], timing: fast } }
`;
    const before = await until(
      'it has an address',
      async () =>
        /server\.\d+=([\d.]+):/.exec(
          shell(
            `grep -h "^server.$(cat ${folder('data3')}/data/myid)=" ${folder('data3')}/data/zoo.cfg.dynamic.* | tail -n 1`,
          ),
        )?.[1],
    );
    for (const address of ['10.92.40.77', before]) {
      kill('data3');
      cluster.write(file(address));
      // A lab's host with another address is made anew: what ran on it is started by the next run.
      await cluster.run(['up']);
      await cluster.must('up');
      await healthy();
      expect(shell(`cat ${folder('data1')}/data/zoo.cfg.dynamic.*`)).toContain(`=${address}:2888`);
    }
  }, 240_000);
});
