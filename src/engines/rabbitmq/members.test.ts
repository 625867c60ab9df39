import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { rabbitRules } from './check.ts';
import { rabbitAddress } from './fronts.ts';
import { rabbitMembers } from './members.ts';
import { sample } from './sample.ts';
import { schema } from './schema.ts';
import { blankTest } from './start.ts';
import { watchFile } from './watch.ts';

const three = ['h1', 'h2', 'h3'];
const render = (hosts: string[], spec: Record<string, unknown> = {}) => {
  const { service, cluster } = sample(hosts, spec);
  return rabbitMembers(service, cluster);
};
const text = (members: ReturnType<typeof render>, path: string): string =>
  members[0]!.files.find((file) => file.path === path)!.content;

describe('a node', () => {
  it('keeps every secret in a file of its own user, and out of its environment and command', () => {
    for (const member of render(three)) {
      for (const file of member.files)
        if (/-word/.test(file.content)) expect(file).toMatchObject({ mode: 0o600, secret: true });
      expect(JSON.stringify([member.command, member.env])).not.toMatch(/-word/);
    }
  });

  it('a neighbour more is no reason to restart', () => {
    const restarts = (hosts: string[]) =>
      render(hosts)[0]!
        .files.filter((file) => file.onChange === 'restart')
        .map((file) => file.content);
    expect(restarts([...three, 'h4'])).toEqual(restarts(three));
    expect(text(render([...three, 'h4']), 'join.conf')).toContain('rabbit-jobs@10.93.0.14');
  });

  it('is watched whatever becomes of a split, from before RabbitMQ starts: its start may hang', () => {
    for (const partitions of ['pause_minority', 'autoheal', 'ignore']) {
      const { env, files } = render(three, { partitions })[0]!;
      expect(env['RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS']).toMatch(
        / -eval spawn\(\S+\/watch\.erl\S+ -s rabbit boot$/,
      );
      // Else RabbitMQ's script says it as well, and first.
      expect(env['RABBITMQ_NODE_ONLY']).toBe('true');
      expect(files.find((file) => file.path === watchFile)?.content).toContain('global:sync()');
    }
  });

  it('needs no epmd: its name and the one port of all nodes are said at the start', () => {
    const { env } = render(three)[0]!;
    expect(env['RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS']).toContain(
      '-name rabbit-jobs@10.93.0.11 -erl_epmd_port 25672 -kernel inet_dist_use_interface {10,93,0,11}',
    );
    expect(env['ERL_ZFLAGS']).toBe('-start_epmd false');
  });

  it('how soon a silent peer is dead is said where the distribution starts, which is before its configuration is read', () => {
    const ticks = (spec: object) => render(three, { ...spec })[0]!.env['RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS'];
    expect(ticks({ timing: 'fast' })).toContain('-kernel net_ticktime 3 -kernel net_tickintensity 20');
    expect(ticks({})).toContain('-kernel net_ticktime 60');
  });

  it('two services on one host share no port', () => {
    const ports = (spec: object) => render(['h1'], { ...spec })[0]!.ports.map((one) => one.port);
    expect(ports({})).toEqual([5672, 15672, 25672]);
    expect(ports({ port: 5673 })).toEqual([5673, 15673, 25673]);
  });

  it('timing, watermarks and further keys of the file are in its configuration', () => {
    const conf = text(
      render(three, { timing: 'fast', memory: '512mb', disk: '1gb', config: { channel_max: 100 } }),
      'rabbitmq.conf',
    );
    expect(conf).toContain('heartbeat = 5\n');
    expect(conf).toContain('vm_memory_high_watermark.absolute = 536870912\n');
    expect(conf).toContain('disk_free_limit.absolute = 1073741824\n');
    expect(conf).toContain('channel_max = 100\n');
    expect(text(render(three), 'rabbitmq.conf')).toContain('vm_memory_high_watermark.relative = 0.4\n');
  });
});

describe('the test for a node without data', () => {
  const database = mkdtempSync(join(tmpdir(), 'rabbit-blank-'));
  afterAll(() => rmSync(database, { recursive: true }));
  const blank = (): boolean => {
    const script = `database='${database}/node'; if ${blankTest}; then echo yes; else echo no; fi`;
    return execFileSync('sh', ['-c', script], { encoding: 'utf8' }).trim() === 'yes';
  };

  it("is RabbitMQ's own: what a first start leaves before it knows its cluster is none", () => {
    expect(blank()).toBe(true);
    mkdirSync(`${database}/node/quorum`, { recursive: true });
    writeFileSync(`${database}/node/cluster_nodes.config`, '');
    expect(blank()).toBe(true);
    writeFileSync(`${database}/node/schema.DAT`, '');
    expect(blank()).toBe(false);
  });
});

describe('what an app is given', () => {
  const director = (listen: object[]) => ({
    name: 'front',
    type: 'director',
    hosts: ['h1'],
    uses: [],
    spec: { vip: ['10.93.0.100'], listen },
  });

  it('the VIP where a director stands in front, for each port its own', () => {
    const { service, cluster } = sample(three);
    cluster.services['front'] = director([
      { to: 'jobs', at: 'management', port: [80, 80] },
      { to: 'jobs', port: [5673, 5673] },
    ]);
    expect(rabbitAddress(service, cluster)).toMatchObject({
      URL: 'amqp://jobs:app-word@10.93.0.100:5673/%2F',
      HOSTS: '10.93.0.100:5673',
      MANAGEMENT: 'http://10.93.0.100:80/',
    });
  });

  it('every node where none does', () => {
    const { service, cluster } = sample(three, { vhost: 'shop' });
    expect(rabbitAddress(service, cluster)).toMatchObject({
      URL: 'amqp://jobs:app-word@10.93.0.11:5672/shop',
      HOSTS: '10.93.0.11:5672,10.93.0.12:5672,10.93.0.13:5672',
      MANAGEMENT: 'http://10.93.0.11:15672/',
    });
  });
});

describe('rules of the file', () => {
  const problems = (spec: Record<string, unknown>): string[] => {
    const { service, cluster } = sample(three, spec);
    return rabbitRules(service, cluster).map(({ path, message }) => `${path.slice(2).join('.')}: ${message}`);
  };

  it('a good one has none', () => {
    expect(
      problems({
        ram: ['h3'],
        queues: { mail: { members: 3 }, old: { type: 'classic', mirrored: 'all' } },
        exchanges: { orders: {} },
        bindings: [
          { from: 'orders', to: 'mail' },
          { from: 'amq.topic', to: 'old' },
        ],
      }),
    ).toEqual([]);
  });

  it.each([
    [{ ram: ['h9'] }, 'ram.0: "h9" is not one'],
    [{ ram: three }, 'ram: every host is a RAM node'],
    [{ queues: { mail: { durable: false } } }, 'queues.mail.durable: a quorum queue is always durable'],
    [{ queues: { mail: { mirrored: 'all' } } }, 'queues.mail.mirrored: a quorum queue has members'],
    [{ queues: { mail: { members: 5 } } }, 'queues.mail.members: the service has 3 hosts only'],
    [{ queues: { old: { type: 'classic', members: 3 } } }, 'queues.old.members: a classic queue has mirrors'],
    [{ queues: { 'amq.x': {} } }, 'queues.amq.x: names that begin'],
    [{ bindings: [{ from: 'orders', to: 'mail' }] }, 'bindings.0.from: no exchange "orders"'],
    [{ exchanges: { a: {} }, bindings: [{ from: 'a' }] }, 'bindings.0: a binding goes to one'],
    [{ policies: { p: { pattern: '(', definition: {} } } }, 'policies.p.pattern: not a regular'],
    [{ users: { guest: {} } }, 'users.guest: the user "guest"'],
    [{ config: { default_pass: 'x' } }, "config.default_pass: default_pass is Phalanx's"],
    [{ config: { 'cluster_formation.node_type': 'ram' } }, 'config.cluster_formation.node_type:'],
  ])('%j', (spec, message) => {
    expect(problems(spec).join('\n')).toContain(message);
  });

  it.each(['phalanx', 'guest'])(
    "a service is not called as a user that is not the application's: %s",
    (name) => {
      const { service, cluster } = sample(three);
      const [problem] = rabbitRules({ ...service, name }, cluster);
      expect(problem).toMatchObject({
        path: ['services', name],
        message: expect.stringContaining(`user would be called "${name}"`),
        hint: 'give the service another name',
      });
    },
  );

  it('the schema refuses what RabbitMQ could not be told', () => {
    expect(schema.safeParse({ partitions: 'pause' }).success).toBe(false);
    expect(schema.safeParse({ memory: 1.5 }).success).toBe(false);
    expect(schema.safeParse({ port: 60_000 }).success).toBe(false);
    expect(schema.safeParse({}).success).toBe(true);
  });
});
