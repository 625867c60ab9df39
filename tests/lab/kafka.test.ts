import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSession } from '../../src/cli/session.ts';
import { authority } from '../../src/engines/certificate.ts';
import { mendNetwork, partition } from '../../src/hosts/lab/faults.ts';
import { type Row, TestCluster, until } from './cluster.ts';
import {
  type Access,
  accessOf,
  everything,
  javaTool,
  kcat,
  lost,
  secretsOf,
  writeAll,
  writer,
} from './kafka-clients.ts';

const yaml = (hosts: string[], extra = ''): string => `
cluster: kftest
network: 10.94.40.0/24
hosts: { data1: {}, data2: {}, data3: {}, data4: {} }
services:
  events:
    type: kafka
    hosts: [${hosts.join(', ')}]
    heap: 256mb
    topics:
      orders: { partitions: 6 }
      small: { partitions: 2, retention: 1h, cleanup: both, config: { segment.bytes: 1048576 } }
${extra}`;

const three = ['data1', 'data2', 'data3'];
const cluster = new TestCluster(yaml(three));
const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
const folder = (host: string): string => `/var/lib/phalanx/kftest/hosts/${host}/members/events@${host}`;
const pid = (host: string): string => shell(`s6-svstat -o pid ${folder(host)}/service`).trim();
/** As a crash that the supervisor does not mend by itself. */
const kill = (host: string): string =>
  shell(`s6-svc -O -k ${folder(host)}/service; s6-svwait -D -t 5000 ${folder(host)}/service`);
const rows = async (): Promise<Row[]> => (await cluster.status()).rows;
const planned = async (): Promise<string[]> => {
  const { out } = await cluster.run(['plan', '--json']);
  return (JSON.parse(out) as { steps: { id: string }[] }).steps.map(({ id }) => id);
};
const fact = async (host: string, name: string): Promise<number> =>
  Number((await rows()).find((row) => row.name === `events@${host}`)?.facts[name] ?? Number.NaN);
/** The host of the active controller; a moment without one, or without an answer, is waited out. */
const activeOf = (of: TestCluster): Promise<string> =>
  until(
    'an active controller',
    async () => (await of.status()).rows.find(({ role }) => role.includes('active'))?.host,
  );
const healthy = () => until('healthy', async () => (await cluster.status()).health === 'healthy', 90_000);
/** Java starts slowly where two cores do everything. */
const patient = { timeout: 600_000 };

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
}, 600_000);
afterAll(() => cluster.remove(), 120_000);

describe('kafka', patient, () => {
  it('three brokers form, one is the active controller, topics are as the file says, up again has nothing to do', async () => {
    const roles = (await rows()).map(({ role }) => role).sort();
    expect(roles).toEqual(['broker, active controller', 'broker, controller', 'broker, controller']);
    expect(await cluster.must('up')).toContain('nothing to do');
    const access = await accessOf(cluster);
    const said = await javaTool(access, cluster.folder, 'org.apache.kafka.tools.TopicCommand', [
      '--bootstrap-server',
      access.brokers[0]!,
      '--command-config',
      'PROPERTIES',
      '--describe',
    ]);
    expect(said).toMatch(
      /Topic: orders\s.*PartitionCount: 6\s+ReplicationFactor: 3\s.*min.insync.replicas=2/,
    );
    expect(said).toMatch(
      /Topic: small\s.*cleanup.policy=compact,delete|Topic: small\s.*cleanup.policy=delete,compact/,
    );
    expect(said).toMatch(/Topic: small\s.*retention.ms=3600000/);
  });

  it("Kafka's own performance test writes as an application", async () => {
    const said = await javaTool(
      await accessOf(cluster),
      cluster.folder,
      'org.apache.kafka.tools.ProducerPerformance',
      '--topic orders --num-records 5000 --record-size 100 --throughput -1 --command-config PROPERTIES'.split(
        ' ',
      ),
    );
    expect(said).toContain('5000 records sent');
  });

  it('no password is in a command line or in a file that others can read; without one nobody gets in', async () => {
    const lines = shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '");
    const open = shell(
      "find /var/lib/phalanx/kftest -type f -perm /044 ! -path '*/log/*' -exec cat {} + | tr -d '\\0'",
    );
    for (const secret of secretsOf('kftest')) {
      expect(lines).not.toContain(secret);
      expect(open).not.toContain(secret);
    }
    const access = { ...(await accessOf(cluster)), password: 'wrong' };
    const thief = writer(access, 'orders');
    await until('a refusal', async () => (await thief.stop()).errors.length > 0);
    expect(thief.sofar()).toBe(0);
  });

  it('a broker is killed: no acknowledged record is lost, up mends that one alone, and nothing moves', async () => {
    const access = await accessOf(cluster);
    const load = writer(access, 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    const active = await activeOf(cluster);
    const others = three.filter((host) => host !== active);
    const before = others.map(pid);
    kill(active);
    const now = load.sofar();
    await until('records go on', async () => load.sofar() > now + 100, 120_000);
    const steps = await planned();
    expect(steps.filter((id) => /^(start|ready|write) /.test(id))).toEqual(
      expect.arrayContaining([`start events@${active}`]),
    );
    expect(steps.join()).not.toMatch(new RegExp(`(restart|move|vote|${others.join('|')})`));
    await cluster.must('up');
    expect(others.map(pid)).toEqual(before);
    await healthy();
    expect(await planned()).toEqual([]);
    const controller = await activeOf(cluster);
    await cluster.must('up');
    expect(await activeOf(cluster)).toBe(controller);
    const written = await load.stop();
    expect(await lost(access, cluster.folder, 'orders', written)).toEqual([]);
    // The count is not blind: a value that was never written is missed.
    const never = { acknowledged: ['never written'], errors: [] };
    expect(await lost(access, cluster.folder, 'orders', never)).toEqual(['never written']);
  });

  it('a change of the configuration rolls through a gate, the active controller last, and loses nothing', async () => {
    const access = await accessOf(cluster);
    const load = writer(access, 'orders');
    const active = await activeOf(cluster);
    cluster.write(yaml(three, '    config: { num.io.threads: 4 }\n'));
    const restarts = (await planned()).filter((id) => id.startsWith('restart '));
    expect(restarts).toHaveLength(3);
    expect(restarts.at(-1)).toBe(`restart events@${active}`);
    await cluster.must('up');
    expect(await planned()).toEqual([]);
    for (const host of three)
      expect(readFileSync(`${folder(host)}/data/server.properties`, 'utf8')).toContain('num.io.threads=4');
    const written = await load.stop();
    expect(written.acknowledged.length).toBeGreaterThan(100);
    expect(await lost(access, cluster.folder, 'orders', written)).toEqual([]);
  });

  it('another timing rolls, from fast to default as well: nobody is fenced and let in again meanwhile, and nothing is lost', async () => {
    cluster.write(yaml(three, '    timing: fast\n'));
    await cluster.must('up');
    await healthy();
    const access = await accessOf(cluster);
    const load = writer(access, 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    cluster.write(yaml(three));
    // Fenced and let in again by one life of its process. Each is fenced while it starts, and as it ends.
    const fenced: string[] = [];
    const lives = new Map<string, { pid: string; was: 'new' | 'counted' | 'fenced' }>();
    let rolling = true;
    const watch = (async () => {
      while (rolling) {
        for (const { host, why, health } of await rows().catch(() => [])) {
          if (!three.includes(host)) continue;
          const now = pid(host);
          const life = lives.get(host);
          const was = life?.pid === now ? life.was : 'new';
          const lost = was === 'counted' && why?.includes('do not count on it');
          if (was === 'fenced' && health === 'ok') fenced.push(host);
          lives.set(host, { pid: now, was: lost ? 'fenced' : health === 'ok' ? 'counted' : was });
        }
      }
    })();
    await cluster.must('up');
    rolling = false;
    await watch;
    expect(lives.size).toBe(3);
    expect(fenced).toEqual([]);
    await healthy();
    const written = await load.stop();
    expect(written.acknowledged.length).toBeGreaterThan(100);
    expect(await lost(access, cluster.folder, 'orders', written)).toEqual([]);
  });

  it('up killed while partitions move: the next one finishes, takes the throttle off, and nothing is lost', async () => {
    const access = await accessOf(cluster);
    // 4 MB, of which a fourth broker gets a quarter of each copy: some ten seconds at this throttle.
    const bulk = Array.from({ length: 4_000 }, (_, i) => `bulk-${i}-${'x'.repeat(1_000)}`);
    await writeAll(access, 'orders', bulk);
    const extra = '    config: { num.io.threads: 4 }\n';
    cluster.write(yaml([...three, 'data4'], `${extra}    throttle: 300kb\n`));
    const up = spawn(resolve(import.meta.dirname, '../../phalanx'), ['up', '-f', cluster.file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(up, 'close');
    let said = '';
    up.stdout.on('data', (piece) => {
      said += piece;
    });
    await until('partitions are on their way', async () => said.includes('on their way'), 300_000);
    up.kill('SIGKILL');
    await ended;
    expect(await planned()).toContain('move events');
    await cluster.must('up');
    expect(await planned()).toEqual([]);
    const after = await rows();
    expect(after.find(({ name }) => name === 'events@data4')!.facts['holds']).toBeDefined();
    expect(after.filter(({ facts }) => facts['throttled'] !== undefined)).toEqual([]);
    const found = new Set(await everything(access, cluster.folder, 'orders'));
    expect(bulk.filter((value) => !found.has(value))).toEqual([]);
  });

  it('a fourth broker gets its share of the partitions; one that leaves is emptied first; nothing is lost', async () => {
    const access = await accessOf(cluster);
    const load = writer(access, 'orders');
    const extra = '    config: { num.io.threads: 4 }\n';
    const before = three.map(pid);
    cluster.write(yaml([...three, 'data4'], extra));
    await cluster.must('up');
    expect(await fact('data4', 'holds')).toBeGreaterThanOrEqual(5);
    expect(three.map(pid)).toEqual(before);
    expect(await planned()).toEqual([]);

    // A controller leaves: the newcomer takes over its vote.
    cluster.write(yaml(['data2', 'data3', 'data4'], extra));
    await cluster.must('up');
    const left = await rows();
    expect(left.map(({ name }) => name).sort()).toEqual(['events@data2', 'events@data3', 'events@data4']);
    expect(left.filter(({ role }) => role.includes('controller'))).toHaveLength(3);
    expect(left.every(({ facts }) => facts['holds'] === left[0]!.facts['holds'])).toBe(true);
    expect(await planned()).toEqual([]);
    const written = await load.stop();
    expect(written.acknowledged.length).toBeGreaterThan(100);
    const after = await accessOf(cluster);
    expect(await lost(after, cluster.folder, 'orders', written)).toEqual([]);
  });
});

/** What two stock clients of other makes than the writer's see: librdkafka's and Kafka's own. */
async function kcatAndJava(access: Access, folder: string, topic: string): Promise<void> {
  const values = Array.from({ length: 50 }, (_, i) => `by kcat ${i} ${Math.random()}`);
  await kcat(access, folder, ['-P', '-t', topic, '-X', 'acks=all'], `${values.join('\n')}\n`);
  expect(await everything(access, folder, topic)).toEqual(expect.arrayContaining(values));
  const read = await kcat(access, folder, ['-C', '-t', topic, '-o', 'beginning', '-e', '-q']);
  expect(read.split('\n')).toEqual(expect.arrayContaining(values));
}

describe('kafka with TLS', patient, () => {
  const tls = new TestCluster(`
cluster: kfatls
network: 10.163.6.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  events: { type: kafka, hosts: [d1, d2, d3], heap: 256mb, tls: true, topics: { orders: { partitions: 3 } } }
`);
  beforeAll(async () => {
    await tls.run(['down', '--purge']);
    await tls.must('up');
  }, 600_000);
  afterAll(() => tls.remove(), 120_000);

  it('forms, up again has nothing to do, and three stock clients work that know its authority', async () => {
    expect(await tls.must('up')).toContain('nothing to do');
    const access = await accessOf(tls);
    expect(access.protocol).toBe('SASL_SSL');
    await kcatAndJava(access, tls.folder, 'orders');
    const load = writer(access, 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    expect(await lost(access, tls.folder, 'orders', await load.stop())).toEqual([]);
  });

  it('nobody gets in without TLS, or with another authority', async () => {
    const access = await accessOf(tls);
    const { ca, ...plain } = access;
    const metadata = (as: Access) => kcat(as, tls.folder, ['-L', '-m', '5']);
    expect(await metadata(access)).toContain('3 brokers');
    await expect(metadata({ ...plain, protocol: 'SASL_PLAINTEXT' })).rejects.toThrow();
    await expect(metadata({ ...access, ca: authority('another', 'other').certificate })).rejects.toThrow(
      /certificate/i,
    );
    expect(ca).toContain('BEGIN CERTIFICATE');
  });
});

describe('kafka with controllers of their own', patient, () => {
  const file = (more: string): string => `
cluster: kfctl
network: 10.163.8.0/24
hosts: { d1: {}, d2: {}, d3: {}, c1: {}, c2: {}, c3: {}, c4: {}, c5: {}, c6: {} }
services:
  events: { type: kafka, hosts: [d1, d2, d3], heap: 256mb, topics: { orders: { partitions: 3 } }${more} }
`;
  const apart = new TestCluster(file(', controllers: [c1, c2, c3]'));
  const roles = async (): Promise<string[]> => (await apart.status()).rows.map(({ role }) => role).sort();
  const steps = async (): Promise<string[]> => {
    const { out } = await apart.run(['plan', '--json']);
    return (JSON.parse(out) as { steps: { id: string }[] }).steps.map(({ id }) => id);
  };
  beforeAll(async () => {
    await apart.run(['down', '--purge']);
    await apart.must('up');
  }, 900_000);
  afterAll(() => apart.remove(), 120_000);

  it('forms, up again has nothing to do, and all are healthy, those as well that do not lead', async () => {
    expect(await apart.must('up')).toContain('nothing to do');
    await until('healthy', async () => (await apart.status()).health === 'healthy', 90_000);
    expect(await roles()).toEqual([
      'active controller',
      'broker',
      'broker',
      'broker',
      'controller',
      'controller',
    ]);
  });

  it('another port is refused while they run, and nobody is restarted', async () => {
    apart.write(file(', controllers: [c1, c2, c3], port: 9192'));
    const { exit, out } = await apart.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/port 9092, not 9192.*phalanx down, then phalanx up/);
    apart.write(file(', controllers: [c1, c2, c3]'));
    expect(await steps()).toEqual([]);
  });

  it('without a majority of controllers status says that, of brokers that answer; up mends it', async () => {
    const away = ['c2', 'c3'].map(
      (host) => `/var/lib/phalanx/kfctl/hosts/${host}/members/events.controller@${host}/service`,
    );
    for (const service of away) shell(`s6-svc -O -k ${service}; s6-svwait -D -t 5000 ${service}`);
    await until(
      'no majority',
      async () => {
        const { rows: seen } = await apart.status();
        const brokers = seen.filter(({ name }) => name.startsWith('events@'));
        return brokers.length === 3 && brokers.every(({ why }) => why?.includes('have no majority'));
      },
      60_000,
    );
    await apart.must('up');
    await until('healthy', async () => (await apart.status()).health === 'healthy', 90_000);
    expect(await steps()).toEqual([]);
  });

  it('a broker that is cut off does not speak for the others, though it stands first in the file', async () => {
    const { cluster: lab } = await openSession(apart.file);
    const others = ['d2', 'd3', 'c1', 'c2', 'c3'];
    await partition(lab, [['d1'], others]);
    try {
      const first = async (): Promise<Row> =>
        (await apart.status()).rows.find(({ name }) => name === 'events@d1')!;
      await until(
        'nobody counts on it',
        async () => (await first()).why?.includes('do not count on it'),
        60_000,
      );
      const seen = await apart.status();
      expect(seen.health).toBe('degraded');
      expect(seen.rows.filter(({ name }) => /@(d2|d3)$/.test(name)).map(({ health }) => health)).toEqual([
        'ok',
        'ok',
      ]);
      // What it knew before lacks nothing.
      expect(seen.rows.find(({ name }) => name.includes('partitions'))?.why).toContain('events@d1');
    } finally {
      await mendNetwork(lab);
    }
    await until('healthy', async () => (await apart.status()).health === 'healthy', 90_000);
  });

  it('brokers take the votes over, and lose them again before their role to controllers that are new; nothing is lost', async () => {
    const access = await accessOf(apart);
    const load = writer(access, 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    apart.write(file(''));
    await apart.must('up');
    expect(await roles()).toEqual(['broker, active controller', 'broker, controller', 'broker, controller']);
    expect(await steps()).toEqual([]);

    apart.write(file(', controllers: [c4, c5, c6]'));
    const order = (await steps()).filter((id) => /^(unvote|restart)/.test(id));
    for (const host of ['d1', 'd2', 'd3']) {
      const unvote = order.findIndex((id) => id.startsWith(`unvote events@${host}`));
      expect(unvote).toBeGreaterThanOrEqual(0);
      expect(order.indexOf(`restart events@${host}`)).toBeGreaterThan(unvote);
    }
    await apart.must('up');
    expect(await steps()).toEqual([]);
    await until('healthy', async () => (await apart.status()).health === 'healthy', 90_000);
    expect(await roles()).toContain('active controller');

    // To others on hosts of their own, which have data of when they were controllers before.
    apart.write(file(', controllers: [c1, c2, c3]'));
    const exchange = await steps();
    for (const host of ['d1', 'd2', 'd3'])
      expect(exchange.indexOf(`restart events@${host}`)).toBeLessThan(
        exchange.findIndex((id) => id.startsWith('unvote')),
      );
    expect(exchange).toEqual(
      expect.arrayContaining(['d1', 'd2', 'd3'].map((host) => `restart events@${host}`)),
    );
    await apart.must('up');
    expect(await steps()).toEqual([]);

    // Another active controller is found only through those that a broker was started with.
    const active = await activeOf(apart);
    const service = `/var/lib/phalanx/kfctl/hosts/${active}/members/events.controller@${active}/service`;
    shell(`s6-svc -O -k ${service}; s6-svwait -D -t 5000 ${service}`);
    await until('another', async () => (await activeOf(apart)) !== active, 60_000);
    // Longer than the controllers count on a broker that they do not hear.
    await wait(15_000);
    await until(
      'all brokers counted on',
      async () => {
        const brokers = (await apart.status()).rows.filter(({ name }) => name.startsWith('events@'));
        return brokers.length === 3 && brokers.every(({ why }) => !why?.includes('do not count on it'));
      },
      60_000,
    );
    await apart.must('up');
    await until('healthy', async () => (await apart.status()).health === 'healthy', 90_000);
    expect(await steps()).toEqual([]);
    const written = await load.stop();
    expect(written.acknowledged.length).toBeGreaterThan(100);
    expect(await lost(access, apart.folder, 'orders', written)).toEqual([]);
  }, 900_000);
});

describe('kafka that grows from one broker', patient, () => {
  const file = (hosts: string): string => `
cluster: kfgrow
network: 10.163.9.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  events: { type: kafka, hosts: [${hosts}], heap: 256mb, topics: { orders: { partitions: 2, retention: 1h } } }
`;
  const growing = new TestCluster(file('d1'));
  beforeAll(async () => {
    await growing.run(['down', '--purge']);
    await growing.must('up');
  }, 600_000);
  afterAll(() => growing.remove(), 120_000);

  it("topics of the file and the groups' offsets get the copies of a cluster of three; a key that left the file is gone", async () => {
    const access = await accessOf(growing);
    const load = writer(access, 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    const written = await load.stop();
    // A group of readers: its offsets are in a topic with one copy.
    expect(await lost(access, growing.folder, 'orders', written)).toEqual([]);
    growing.write(file('d1, d2, d3').replace(', retention: 1h', ''));
    await growing.must('up');
    expect(await growing.must('up')).toContain('nothing to do');
    const now = await accessOf(growing);
    const said = await javaTool(now, growing.folder, 'org.apache.kafka.tools.TopicCommand', [
      '--bootstrap-server',
      now.brokers[0]!,
      '--command-config',
      'PROPERTIES',
      '--describe',
    ]);
    expect(said).toMatch(/Topic: orders\s.*ReplicationFactor: 3/);
    expect(said).toMatch(/Topic: __consumer_offsets\s.*ReplicationFactor: 3/);
    expect(said).not.toMatch(/Topic: orders\s.*retention.ms/);
    expect(await lost(now, growing.folder, 'orders', written)).toEqual([]);
  });

  it('from two to three in one up: the one controller restarts when both new ones have their votes', async () => {
    await growing.run(['down', '--purge']);
    growing.write(file('d1, d2'));
    await growing.must('up');
    growing.write(file('d1, d2, d3'));
    await growing.must('up');
    expect(await growing.must('up')).toContain('nothing to do');
    const { rows: seen } = await growing.status();
    expect(seen.map(({ role }) => role).sort()).toEqual([
      'broker, active controller',
      'broker, controller',
      'broker, controller',
    ]);
  }, 900_000);
});

describe('kafka that moves to hosts that are all new', patient, () => {
  const file = (host: string): string => `
cluster: kfmove
network: 10.163.10.0/24
hosts: { ${host}: {} }
services:
  events: { type: kafka, hosts: [${host}], heap: 256mb, topics: { orders: { partitions: 2 } } }
`;
  const moving = new TestCluster(file('d1'));
  beforeAll(async () => {
    await moving.run(['down', '--purge']);
    await moving.must('up');
  }, 600_000);
  afterAll(() => moving.remove(), 120_000);

  it('the new ones join, take over the vote and the records, and only then the old ones leave', async () => {
    const load = writer(await accessOf(moving), 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    const written = await load.stop();
    moving.write(file('d2'));
    await moving.must('up');
    expect((await moving.status()).rows.map(({ name }) => name)).toEqual(['events@d2']);
    expect(await moving.must('up')).toContain('nothing to do');
    expect(await lost(await accessOf(moving), moving.folder, 'orders', written)).toEqual([]);
  });

  it('begins no second cluster beside its data, when hosts are replaced while it is down', async () => {
    const load = writer(await accessOf(moving), 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    const written = await load.stop();
    await moving.must('down');
    moving.write(file('d3'));
    const { exit, out } = await moving.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/the data of events is on .*d2.*where the file no longer has it/);
    await moving.must('down');
    moving.write(file('d2'));
    await moving.must('up');
    expect(await lost(await accessOf(moving), moving.folder, 'orders', written)).toEqual([]);
  });
});

describe('kafka 3.9 with its metadata in ZooKeeper', patient, () => {
  const old = (threads: number): string => `
cluster: kfazk
network: 10.163.7.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  locks: { type: zookeeper, hosts: [d1, d2, d3] }
  events:
    type: kafka
    hosts: [d1, d2, d3]
    heap: 256mb
    metadata: locks
    uses: [locks]
    topics: { orders: { partitions: 3 } }
    config: { num.io.threads: ${threads} }
`;
  const keeper = new TestCluster(old(8));
  beforeAll(async () => {
    await keeper.run(['down', '--purge']);
    await keeper.must('up');
  }, 900_000);
  afterAll(() => keeper.remove(), 120_000);

  it('forms, one broker is the controller, up again has nothing to do, kcat and Java work', async () => {
    const { rows: seen } = await keeper.status();
    const roles = seen.filter(({ service }) => service === 'events').map(({ role }) => role);
    expect(roles.sort()).toEqual(['broker', 'broker', 'broker, active controller']);
    expect(await keeper.must('up')).toContain('nothing to do');
    await kcatAndJava(await accessOf(keeper), keeper.folder, 'orders');
  });

  it('a change rolls through it, the controller last, and loses nothing; then nothing is to do', async () => {
    const access = await accessOf(keeper);
    const load = writer(access, 'orders');
    await until('records', async () => load.sofar() > 100, 60_000);
    const active = await activeOf(keeper);
    keeper.write(old(4));
    const { out } = await keeper.run(['plan', '--json']);
    const restarts = (JSON.parse(out) as { steps: { id: string }[] }).steps
      .map(({ id }) => id)
      .filter((id) => id.startsWith('restart '));
    expect(restarts).toHaveLength(3);
    expect(restarts.at(-1)).toBe(`restart events@${active}`);
    await keeper.must('up');
    expect(await keeper.must('up')).toContain('nothing to do');
    expect(await lost(access, keeper.folder, 'orders', await load.stop())).toEqual([]);
  });
});

describe('kafka that is to be had nowhere', patient, () => {
  const empty = mkdtempSync(join(tmpdir(), 'phalanx-kafka-'));
  const path = process.env['PATH'];
  const other = new TestCluster(`
cluster: kfnone
network: 10.94.41.0/24
hosts: { one: {} }
services:
  web: { type: app, hosts: [one], command: sleep 1000, port: 8099, check: { script: 'true' } }
  events: { type: kafka, hosts: [one], tarball: "http://127.0.0.1:9/kafka_2.13-4.3.1.tgz" }
`);
  beforeAll(() => {
    // A Maven that reaches nothing, and a cache of our own that is empty.
    mkdirSync(join(empty, 'bin'));
    writeFileSync(
      join(empty, 'bin/mvn'),
      '#!/bin/sh\necho "[ERROR] repository: Network is unreachable"\nexit 1\n',
    );
    chmodSync(join(empty, 'bin/mvn'), 0o755);
    process.env['PATH'] = `${join(empty, 'bin')}:${path}`;
    process.env['PHALANX_CACHE'] = join(empty, 'cache');
  });
  afterAll(async () => {
    process.env['PATH'] = path;
    delete process.env['PHALANX_CACHE'];
    await other.remove();
    rmSync(empty, { recursive: true, force: true });
  });

  it('is skipped with a sentence that says what was tried; the rest goes up; status and exit status say so', async () => {
    const { exit, out } = await other.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(
      /FAILED fetch events: events is skipped, Kafka 4\.3\.1 is to be had nowhere: .*cache.*is not there; the tarball http:\/\/127\.0\.0\.1:9\/.*; Maven .*Network is unreachable/,
    );
    const { rows: seen, health } = await other.status();
    expect(health).toBe('degraded');
    expect(seen.find(({ name }) => name === 'web@one')!.health).toBe('ok');
    expect(seen.find(({ name }) => name === 'software')!.why).toContain('127.0.0.1:9');
    expect(seen.find(({ name }) => name === 'events@one')!.health).toBe('down');
  });
});
