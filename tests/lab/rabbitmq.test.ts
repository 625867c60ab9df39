import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openSession } from '../../src/cli/session.ts';
import { connections, kindsOf, RabbitDrillClient } from '../../src/engines/rabbitmq/drill-client.ts';
import { nodeOf, type RabbitService } from '../../src/engines/rabbitmq/names.ts';
import { observeRabbit } from '../../src/engines/rabbitmq/observe.ts';
import { consumed, lost, publishing, stopPublishing } from './amqp-clients.ts';
import { type Row, TestCluster, until } from './cluster.ts';

const network = '10.93.2';
const vip = `${network}.100`;
const home = '/var/lib/phalanx/mqlab';

interface Shape {
  nodes?: string[];
  /** More words of the service, each on a line. */
  more?: string;
  /** Its first three numbers. */
  at?: string;
}

const yaml = ({ nodes = ['data1', 'data2', 'data3'], more = '', at = network }: Shape = {}): string => `
cluster: mqlab
network: ${at}.0/24
hosts: { lb1: {}, lb2: {}, ${nodes.map((name) => `${name}: {}`).join(', ')} }
services:
  jobs:
    type: rabbitmq
    hosts: [${nodes.join(', ')}]
    ram: [${nodes.includes('data3') ? 'data3' : nodes.at(-1)}]
    timing: fast
    exchanges: { orders: { type: topic } }
    bindings: [{ from: orders, to: mail, key: 'mail.*' }]
    users: { reporter: { read: '.*', tags: [monitoring] } }
${more.replace(/^/gm, '    ')}
  front:
    type: director
    hosts: [lb1, lb2]
    vip: ${at}.100
    listen:
      - { port: 5672, to: jobs, plane: haproxy }
      - { port: 15672, to: jobs, at: management, plane: haproxy }
`;
const queues = 'queues: { mail: {}, old: { type: classic, mirrored: all } }';
const changed = 'config: { channel_max: 500 }\nmanagement: 15673';

const cluster = new TestCluster(yaml({ more: queues }));
const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' }).trim();
const folder = (host: string): string => `${home}/hosts/${host}/members/jobs@${host}`;
const pidOf = (host: string): string => shell(`s6-svstat -o pid ${folder(host)}/service`);
const secrets = (): Record<string, string> =>
  JSON.parse(readFileSync(`${home}/secrets.json`, 'utf8')) as Record<string, string>;
const url = (user = 'jobs', password = secrets()['jobs/password']!): string =>
  `amqp://${user}:${password}@${vip}:5672/%2F`;
const page = async (path: string, user: string, password: string): Promise<number> => {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return (await fetch(`http://${vip}:15672${path}`, { headers: { authorization } })).status;
};
const row = async (name: string): Promise<Row> => {
  const { rows } = await cluster.status();
  const found = rows.find((one) => one.service === 'jobs' && one.name === name);
  if (!found) throw new Error(`no row ${name}: ${rows.map((one) => one.name).join(', ')}`);
  return found;
};
/** What a plan would do to the service now. */
const steps = async (): Promise<string[]> => {
  const { out } = await cluster.run(['plan', '--json']);
  const plan = JSON.parse(out) as { steps: { id: string; service?: string }[] };
  return plan.steps.filter((step) => step.service === 'jobs').map((step) => step.id);
};
const healthy = (): Promise<unknown> =>
  until(
    'every row ok',
    async () => {
      const { health, rows } = await cluster.status();
      if (health === 'healthy') return true;
      throw new Error(
        rows.flatMap((one) => (one.health === 'ok' ? [] : `${one.name}: ${one.why}`)).join('; '),
      );
    },
    90_000,
  );

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
});
afterEach(stopPublishing);
afterAll(() => cluster.remove());

describe('a RabbitMQ cluster', { timeout: 400_000 }, () => {
  it('is formed of disk and RAM nodes, with everything of the file, behind the VIP', async () => {
    await cluster.must('up');
    await healthy();
    expect((await row('jobs@data1')).role).toBe('disk node');
    expect((await row('jobs@data3')).role).toBe('ram node');
    expect((await row('jobs@data1')).facts['split']).toBe('pause_minority');
    expect((await row('queue mail')).facts['online']).toBe('3 of 3');
    expect((await row('queue old')).facts['mirrors']).toBe('2 of 2');
    expect(await steps()).toEqual([]);
  });

  it('two stock clients publish with confirms and consume through the VIP', async () => {
    const client = await publishing(url(), 'mail', 'a');
    const published = await client.stop();
    const got = await consumed(url(), 'mail');
    expect(published.unknown).toEqual([]);
    expect(lost(published, got)).toEqual([]);
    expect(got).toHaveLength(published.confirmed.length);
  });

  it('guest cannot log in, the app cannot manage, a monitoring user can look; the page is there', async () => {
    expect(await page('/api/whoami', 'guest', 'guest')).toBe(401);
    expect(await page('/api/queues', 'jobs', secrets()['jobs/password']!)).toBe(401);
    expect(await page('/api/overview', 'reporter', secrets()['jobs/user-reporter']!)).toBe(200);
    expect(await page('/', 'nobody', '')).toBe(200);
    await expect(consumed(url('guest', 'guest'), 'mail')).rejects.toThrow(/ACCESS_REFUSED|Authentication/);
  });

  it('no password is in an argument list, in a definition or readable for others', () => {
    const words = Object.entries(secrets()).filter(([name]) => name.startsWith('jobs/'));
    expect(words.length).toBeGreaterThanOrEqual(4);
    const commands = shell(`cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '`);
    for (const [name, word] of words) expect(commands.includes(word), name).toBe(false);
    const open = shell(
      `find ${home}/hosts -type f -perm /044 -exec grep -lFe ${words.map(([, word]) => word).join(' -e ')} {} + || true`,
    );
    expect(open).toBe('');
  });

  it("nothing daemonizes: there is no epmd in the cluster's hosts", () => {
    expect(shell(`ip netns exec phalanx.mqlab.data1 ss -Hltn | awk '{print $4}' | sort`).split('\n')).toEqual(
      expect.arrayContaining([expect.stringMatching(/:5672$/)]),
    );
    expect(shell('ip netns exec phalanx.mqlab.data1 ss -Hltn')).not.toContain(':4369');
  });

  it("the queue leader's node is killed: nothing confirmed is lost, service goes on, and up again moves nothing", async () => {
    const leader = (await row('queue mail')).facts['leader']!;
    const client = await publishing(url(), 'mail', 'b');
    const before = pidOf(leader);
    // By its supervisor: process ids of a lab host are its own, not the machine's.
    shell(`s6-svc -k ${folder(leader)}/service`);
    await until('it is started again', async () => pidOf(leader) !== before);
    await healthy();
    const published = await client.stop();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
    expect((await row('queue mail')).facts['leader']).not.toBe(leader);
    expect(await steps()).toEqual([]);
  });

  it('a node that stays down is named, is the only thing repaired, and its queues get it back', async () => {
    shell(`s6-svc -wD -T 60000 -d ${folder('data2')}/service`);
    const others = [pidOf('data1'), pidOf('data3')];
    expect((await row('jobs@data2')).health).toBe('down');
    expect((await row('queue mail')).why).toBe('without data2');
    expect(await steps()).toEqual(['write jobs@data2', 'start jobs@data2', 'ready jobs@data2']);
    await cluster.must('up');
    await healthy();
    expect([pidOf('data1'), pidOf('data3')]).toEqual(others);
  });

  it('a node that lost its disk is forgotten, joins anew, and gets its members back, in one up', async () => {
    shell(`s6-svc -wD -T 60000 -d ${folder('data2')}/service; rm -rf ${folder('data2')}/data`);
    const planned = await steps();
    expect(planned).toContain('admit jobs');
    expect(planned).toContain('spread jobs');
    await cluster.must('up');
    await healthy();
    expect((await row('queue mail')).facts['online']).toBe('3 of 3');
    expect(await steps()).toEqual([]);
  });

  it('a changed configuration rolls through under a publisher, and nothing confirmed is lost', async () => {
    const client = await publishing(url(), 'mail', 'c');
    // The management page's port among it: until its turn has come each node has it where it was.
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    const out = await cluster.must('up');
    const published = await client.stop();
    expect(out).toMatch(/gate\s+jobs@data1/);
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
    expect(published.confirmed.length).toBeGreaterThan(100);
    await healthy();
    expect(await steps()).toEqual([]);
  });

  it('a changed port and a changed type of node are refused, with what to do, and nothing is touched', async () => {
    const before = ['data1', 'data2', 'data3'].map(pidOf);
    cluster.write(yaml({ more: `${queues}\n${changed}\nport: 5673` }));
    const port = await cluster.run(['up']);
    expect(port.exit).toBe(1);
    expect(port.out).toMatch(/jobs@data3 run with port 5672, and the file says 5673.*phalanx down/);
    cluster.write(yaml({ more: `${queues}\n${changed}` }).replace('ram: [data3]', 'ram: [data2]'));
    const planned = await steps();
    expect(planned).toEqual(expect.arrayContaining(['hold jobs@data2', 'hold jobs@data3']));
    expect(planned.filter((id) => !/^(write|hold) /.test(id))).toEqual([]);
    const type = await cluster.run(['up']);
    expect(type.exit).toBe(1);
    expect(type.out).toContain('it is a disk node, and by `ram` a RAM node');
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    await cluster.must('up');
    await healthy();
    expect(await steps()).toEqual([]);
    expect(['data1', 'data2', 'data3'].map(pidOf)).toEqual(before);
  });

  it('after a lost disk one up gives the queues their members back before it restarts a node for a change', async () => {
    const client = await publishing(url(), 'mail', 'h');
    shell(`s6-svc -wD -T 60000 -d ${folder('data2')}/service; rm -rf ${folder('data2')}/data`);
    cluster.write(yaml({ more: `${queues}\n${changed.replace('500', '400')}` }));
    const planned = await steps();
    expect(planned.indexOf('spread jobs')).toBeGreaterThan(planned.indexOf('ready jobs@data2'));
    expect(planned.indexOf('spread jobs')).toBeLessThan(planned.indexOf('restart jobs@data1'));
    await cluster.must('up');
    await healthy();
    const published = await client.stop();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    await cluster.must('up');
  });

  it("what is in the file is made and changed, what is not is left alone, and a queue's nature only with leave", async () => {
    const admin = `phalanx:${secrets()['jobs/admin']}`;
    shell(
      `curl -sf -u ${admin} -X PUT -H 'content-type: application/json' -d '{"durable":true,"arguments":{"x-queue-type":"quorum"}}' http://${vip}:15672/api/queues/%2F/own`,
    );
    const other = `queues: { mail: { arguments: { x-max-length: 1000000 } }, old: { type: classic }, new: {} }\n${changed}`;
    cluster.write(yaml({ more: other }));
    const refused = await cluster.run(['up']);
    expect(refused.out).toContain('--allow-data-loss jobs');
    expect(refused.exit).toBe(1);
    const queuesNow = shell(`curl -sf -u ${admin} http://${vip}:15672/api/queues?columns=name,arguments`);
    expect(queuesNow).toContain('"new"');
    expect(queuesNow).toContain('"own"');
    expect(queuesNow).not.toContain('x-max-length');
    expect(shell(`curl -sf -u ${admin} http://${vip}:15672/api/policies`)).toBe('[]');
    await cluster.must('up', '--allow-data-loss', 'jobs');
    expect(await steps()).toEqual([]);
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    await cluster.must('up', '--allow-data-loss', 'jobs');
  });

  it('a new node joins, and queues get members on it', async () => {
    const four = ['data1', 'data2', 'data3', 'data4'];
    const before = pidOf('data1');
    cluster.write(yaml({ nodes: four, more: `${queues}\n${changed}` }));
    await cluster.must('up');
    await healthy();
    expect((await row('queue mail')).facts['online']).toBe('4 of 4');
    expect(pidOf('data1')).toBe(before);
  });

  it('a stream is told, and holds the node that has a replica of it', async () => {
    const admin = `phalanx:${secrets()['jobs/admin']}`;
    const stream = (method: string, body = ''): string =>
      shell(
        `curl -sf -u ${admin} -X ${method} -H 'content-type: application/json' ${body && `-d '${body}'`} http://${vip}:15672/api/queues/%2F/flow`,
      );
    stream('PUT', '{"durable":true,"arguments":{"x-queue-type":"stream","x-initial-cluster-size":4}}');
    await healthy();
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/data4 stays in the cluster: queue flow \(stream\) has a replica on data4/);
    stream('DELETE');
    cluster.write(yaml({ nodes: ['data1', 'data2', 'data3', 'data4'], more: `${queues}\n${changed}` }));
    await cluster.must('up');
    await healthy();
  });

  it('a node does not leave while a queue is critical, and leaves when none is', async () => {
    const client = await publishing(url(), 'mail', 'd');
    shell(`s6-svc -wD -T 60000 -d ${folder('data2')}/service`);
    const address = (
      JSON.parse(readFileSync(`${home}/addresses.json`, 'utf8')) as Record<string, { address: string }>
    )['data2']!.address;
    // Something else holds its port: it cannot be brought back.
    const squatter = spawn('ip', [
      ...['netns', 'exec', 'phalanx.mqlab.data2', '/usr/bin/python3', '-c'],
      `import socket; s = socket.create_server(('${address}', 25672))\nwhile True: s.accept()`,
    ]);
    try {
      cluster.write(yaml({ more: `${queues}\n${changed}\nstart: 3s` }));
      const { exit, out } = await cluster.run(['up']);
      expect(exit).toBe(1);
      expect(out).toMatch(
        /data4 stays in the cluster: .*queue mail is critical: without data4 2 of 3 members/,
      );
      expect(
        (await cluster.status()).rows.some((one) => one.why?.includes('the cluster still counts it')),
      ).toBe(true);
    } finally {
      squatter.kill('SIGKILL');
    }
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    await cluster.must('up');
    await healthy();
    expect((await row('queue mail')).facts['online']).toBe('3 of 3');
    expect(shell('ip netns list')).not.toContain('phalanx.mqlab.data4');
    const published = await client.stop();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
  });

  it('cut off from the others a node pauses, the majority serves, and healed it is whole again', async () => {
    const client = await publishing(url(), 'mail', 'e');
    shell('ip -n phalanx.mqlab link set data2 down');
    await until('it is told', async () => (await row('jobs@data2')).health === 'down', 60_000);
    await until(
      'the majority leads',
      async () => (await row('queue mail')).facts['online'] === '2 of 3',
      60_000,
    );
    shell('ip -n phalanx.mqlab link set data2 up');
    await healthy();
    const published = await client.stop();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
    expect(await steps()).toEqual([]);
  });

  it('a frozen node is told as down, and when it goes on it comes back by itself, alone', async () => {
    const client = await publishing(url(), 'mail', 'g');
    const others = [pidOf('data1'), pidOf('data3')];
    shell(`s6-svc -p ${folder('data2')}/service`);
    await until('it is told', async () => (await row('jobs@data2')).health === 'down', 60_000);
    // Longer than its peers wait: they have buried it, and it knows nothing of that.
    await until(
      'the others go on',
      async () => (await row('queue mail')).facts['online'] === '2 of 3',
      60_000,
    );
    shell(`s6-svc -c ${folder('data2')}/service`);
    await healthy();
    const published = await client.stop();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
    expect([pidOf('data1'), pidOf('data3')]).toEqual(others);
    expect(await steps()).toEqual([]);
  });

  it('clients that were at the leader when it hung have confirms again while it hangs', async () => {
    const { cluster: whole, reach } = await openSession(cluster.file);
    const service = whole.services['jobs'] as RabbitService;
    const client = new RabbitDrillClient(service, whole, reach, kindsOf(service), 'hung');
    await client.ready();
    const leader = (await observeRabbit(service, whole, reach)).view!.queues.find(({ name }) =>
      name.startsWith('hung-'),
    )!.leader!;
    const host = service.hosts.find((name) => nodeOf(service, whole, name) === leader)!;
    shell(`s6-svc -p ${folder(host)}/service`);
    try {
      let v = 0;
      await until(
        'each is confirmed again',
        async () => {
          const outcomes = await Promise.all(
            Array.from({ length: connections }, (_, p) => client.invoke({ p, f: 'enqueue', v: v++ })),
          );
          const failed = outcomes.filter(({ type }) => type !== 'ok');
          if (v < 100 * connections || failed.length > 0) throw new Error(JSON.stringify(failed));
          return true;
        },
        40_000,
      );
    } finally {
      shell(`s6-svc -c ${folder(host)}/service`);
      await healthy();
      await client.close();
    }
  });

  it('down keeps the data, and up brings it back', async () => {
    const client = await publishing(url(), 'mail', 'f');
    const published = await client.stop();
    await cluster.must('down');
    expect(shell(`pgrep -f 'rabbit-jobs@10[.]93[.]2[.]' || true`)).toBe('');
    await cluster.must('up');
    await healthy();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
  });

  it('begins no second cluster beside its data, when addresses change or hosts are replaced while it is down', async () => {
    const client = await publishing(url(), 'mail', 'i');
    const published = await client.stop();
    await cluster.must('down');
    cluster.write(yaml({ nodes: ['data7', 'data8', 'data9'], more: `${queues}\n${changed}` }));
    const replaced = await cluster.run(['up']);
    expect(replaced.exit).toBe(1);
    expect(replaced.out).toMatch(/the data of jobs is on data1, .*where the file no longer has it/);
    await cluster.must('down');
    cluster.write(yaml({ at: '10.93.3', more: `${queues}\n${changed}` }));
    const renumbered = await cluster.run(['up']);
    expect(renumbered.exit).toBe(1);
    expect(renumbered.out).toMatch(
      /data1 has that of rabbit-jobs@10\.93\.2\.\d+ .*Give the hosts back the addresses/,
    );
    await cluster.must('down');
    cluster.write(yaml({ more: `${queues}\n${changed}` }));
    await cluster.must('up');
    await healthy();
    expect(lost(published, await consumed(url(), 'mail'))).toEqual([]);
  });

  it('killed at any moment of its first start, the next up finishes', async () => {
    for (const killAfterMs of [900, 2500, 6000]) {
      await cluster.run(['down', '--purge']);
      await cluster.run(['up'], { killAfterMs });
      const { exit, out } = await cluster.run(['up']);
      expect(exit, `killed after ${killAfterMs} ms: ${out}`).toBe(0);
      await healthy();
      expect((await row('queue mail')).facts['online'], `killed after ${killAfterMs} ms`).toBe('3 of 3');
    }
  });
});
