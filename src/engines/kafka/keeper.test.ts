import { describe, expect, it } from 'vitest';
import type { Cluster, Problem } from '../../file/cluster.ts';
import type { Step } from '../engine.ts';
import { schema as keeperSchema } from '../zookeeper/schema.ts';
import { kafkaCheck } from './check.ts';
import { kafkaMembers } from './members.ts';
import { planKafka } from './plan.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';

const hosts = ['d1', 'd2', 'd3'];
const service = (spec: Record<string, unknown>): KafkaService => ({
  name: 'events',
  type: 'kafka',
  hosts,
  uses: [],
  spec: schema.parse(spec),
});
const cluster = {
  name: 'shop',
  home: '/nowhere',
  ids: Object.fromEntries(hosts.map((host, i) => [`events/${host}`, i + 1])),
  secrets: { 'events/phalanx': 'internal', 'events/app': 'of the app' },
  services: { locks: { name: 'locks', type: 'zookeeper', hosts, uses: [], spec: keeperSchema.parse({}) } },
  hosts: Object.fromEntries(
    hosts.map((name, i) => [
      name,
      { name, kind: 'lab', address: `10.0.0.${i + 1}`, root: `/nowhere/hosts/${name}` },
    ]),
  ),
} as unknown as Cluster;
const file = (of: KafkaService, path: string): string =>
  kafkaMembers(of, cluster)[0]!.files.find((one) => one.path === path)?.content ?? '';
const said = (problems: Problem[]): string[] =>
  problems.map(({ path, message }) => `${path.at(-1)}: ${message}`);

describe('kafka 3.9 on ZooKeeper', () => {
  const old = service({ metadata: 'locks' });

  it('is configured without a word of KRaft, and Kafka 4 without a word of ZooKeeper', () => {
    const properties = file(old, 'server.properties');
    expect(properties).toContain('zookeeper.connect=10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181/events\n');
    expect(properties).toContain('broker.id=1\n');
    expect(properties).not.toMatch(/node\.id|process\.roles|controller|CONTROLLER|share\./);
    expect(file(service({}), 'server.properties')).not.toMatch(/zookeeper|broker\.id/);
    expect(kafkaMembers(old, cluster)[0]!.ports.map(({ port }) => port)).toEqual([9092]);
  });

  it('is formatted by nobody: a new disk is no reason not to start', () => {
    expect(file(old, 'start')).not.toContain('StorageTool');
    expect(file(service({}), 'start')).toContain('StorageTool');
  });

  it('has its place made before anybody starts', () => {
    const step = (verb: string, host: string): Step => ({
      id: `${verb} events@${host}`,
      verb,
      target: `events@${host}`,
      host,
      why: '',
      needs: [],
      do: { kind: 'script', script: '', timeoutMs: 1 },
    });
    // d3 runs, and does not answer.
    const own = (host: string) => [step('write', host), step(host === 'd3' ? 'restart' : 'start', host)];
    const steps = planKafka(old, cluster, undefined, {
      members: kafkaMembers(old, cluster),
      observed: new Map(),
      byMember: new Map(hosts.map((host) => [`events@${host}`, own(host)])),
      leaving: new Map(),
      ready: () => undefined,
      around: () => ({ before: [], after: [] }),
      dismiss: () => [],
    });
    const ids = steps.map(({ id }) => id);
    expect(ids).toContain('tree events');
    expect(ids).not.toContain('form events');
    for (const { needs } of steps.filter(({ verb }) => verb === 'start' || verb === 'restart'))
      expect(needs).toEqual(expect.arrayContaining(['tree events', 'fetch events']));
    // Not while packages are installed: its own time would be over. Nobody waits in a circle for it.
    const tree = steps.find(({ verb }) => verb === 'tree')!;
    expect([tree.needs, tree.after]).toEqual([[], ['write events@d1', 'write events@d2']]);
  });

  it('a version and the place of the metadata that do not fit are told by their key', () => {
    expect(said(kafkaCheck(old, cluster))).toEqual([]);
    expect(said(kafkaCheck(service({ version: '3.9.1' }), cluster))).toEqual([
      expect.stringContaining('version: Kafka 3.9.1 is run here with its metadata in ZooKeeper only'),
    ]);
    expect(said(kafkaCheck(service({ version: '4.3.1', metadata: 'locks' }), cluster))).toEqual([
      'metadata: Kafka 4.3.1 knows no ZooKeeper',
    ]);
    expect(said(kafkaCheck(service({ metadata: 'carts' }), cluster))).toEqual([
      'metadata: there is no zookeeper "carts"',
    ]);
    expect(said(kafkaCheck(service({ metadata: 'locks', controllers: ['d1'] }), cluster))).toEqual([
      'controllers: with metadata in ZooKeeper there are no controllers',
    ]);
  });
});

describe('kafka with TLS', () => {
  it('closes every plain port, and keeps keys from others', () => {
    const members = kafkaMembers(service({ tls: true }), cluster);
    const properties = file(service({ tls: true }), 'server.properties');
    expect(properties).toContain('listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:SASL_SSL\n');
    const key = members[0]!.files.find(({ path }) => path === 'tls.key')!;
    expect([key.mode, key.secret]).toEqual([0o600, true]);
  });

  it('only then takes a password in the open, from applications', () => {
    expect(file(service({ tls: true }), 'server.properties')).toContain('user_app="of the app"');
    expect(file(service({}), 'server.properties')).not.toContain('of the app');
  });

  it('no user is called like a secret of the service: its password would be the seed of the private key', () => {
    for (const name of ['tls', 'cluster', 'phalanx'])
      expect(said(kafkaCheck(service({ users: ['reports', name] }), cluster))).toEqual([
        `1: "${name}" is a name of Phalanx's own`,
      ]);
    expect(said(kafkaCheck(service({ tls: true, users: ['reports'] }), cluster))).toEqual([]);
  });
});
