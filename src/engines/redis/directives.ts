import type { Cluster } from '../../file/cluster.ts';
import { guardDown } from './guard.ts';
import { snapshots } from './kept.ts';
import { defaults, immutable, newerName } from './known.ts';
import type { RedisSpec } from './schema.ts';
import { minReplicasOf, type RedisService, replicasOf, type Seat } from './seats.ts';
import { timingOf } from './timing.ts';

/**
 * What redis.conf is to say, in the form in which CONFIG GET answers (bytes, yes and no, `slave` for replicas), so
 * that drift is a comparison of strings. `fixed` needs a restart; `live` is changed with CONFIG SET; `secret` as well,
 * but it is written to a file that only root reads. `unsaid` is what all others are as long as nobody says otherwise: in no file, but a
 * running member keeps what the file said once.
 */
export interface Directives {
  fixed: Record<string, string>;
  live: Record<string, string>;
  secret: Record<string, string>;
  unsaid: Record<string, string>;
}

/** Directives of ours that `config:` may not touch, and the key of the file that says the same. */
export const owned: Record<string, string> = {
  port: 'port',
  'tls-port': 'tls',
  bind: '',
  'protected-mode': '',
  dir: '',
  pidfile: '',
  aclfile: '',
  daemonize: '',
  supervised: '',
  logfile: '',
  include: '',
  loadmodule: '',
  replicaof: '',
  slaveof: '',
  user: 'users',
  requirepass: 'users',
  masteruser: '',
  masterauth: '',
  'cluster-enabled': 'mode',
  'cluster-config-file': '',
  'cluster-port': 'port',
  'cluster-node-timeout': 'timing',
  'cluster-announce-ip': '',
  'cluster-allow-replica-migration': '',
  'cluster-replica-no-failover': '',
  'cluster-slave-no-failover': '',
  'replica-announce-ip': '',
  'replica-announce-port': '',
  'replica-priority': '',
  'slave-priority': '',
  'replica-read-only': '',
  'slave-read-only': '',
  'aof-load-truncated': '',
  appendonly: 'persistence',
  'aof-use-rdb-preamble': 'persistence',
  save: 'persistence',
  dbfilename: '',
  appendfilename: '',
  appenddirname: '',
  'enable-debug-command': '',
  'enable-module-command': '',
  'enable-protected-configs': '',
  maxmemory: 'maxmemory',
  'maxmemory-policy': 'eviction',
  maxclients: 'maxclients',
  'client-output-buffer-limit': 'buffers',
  'min-replicas-to-write': 'minReplicas',
  'min-slaves-to-write': 'minReplicas',
  'min-replicas-max-lag': 'timing',
  'min-slaves-max-lag': 'timing',
  'tls-replication': 'tls',
  'tls-cluster': 'tls',
  'tls-auth-clients': 'tls',
  'tls-cert-file': 'tls',
  'tls-key-file': 'tls',
  'tls-ca-cert-file': 'tls',
};

const yes = (on: boolean): string => (on ? 'yes' : 'no');

const units: Record<string, number> = {
  b: 1,
  k: 1000,
  kb: 1024,
  m: 1e6,
  mb: 1024 ** 2,
  g: 1e9,
  gb: 1024 ** 3,
};

/** The form in which CONFIG GET answers: a size such as 64mb in bytes (with redis.conf's units: k is 1000, kb 1024), true as yes. */
export function canonical(value: string | number | boolean): string {
  if (typeof value === 'boolean') return yes(value);
  const text = String(value);
  const [, count, unit] = /^(\d+)([kKmMgG][bB]?|[bB])$/.exec(text) ?? [];
  return count && unit ? String(Number(count) * units[unit.toLowerCase()]!) : text;
}

function buffers(spec: RedisSpec): string {
  const mb = 1024 ** 2;
  const of = (name: string, hard: number, soft: number, seconds: number): string =>
    `${name} ${hard} ${soft} ${seconds}`;
  const normal = spec.buffers?.normal ?? { hard: 0, soft: 0, seconds: 0 };
  const replica = spec.buffers?.replica ?? { hard: 256 * mb, soft: 64 * mb, seconds: 60 };
  const pubsub = spec.buffers?.pubsub ?? { hard: 32 * mb, soft: 8 * mb, seconds: 60 };
  return [
    of('normal', normal.hard, normal.soft, normal.seconds),
    of('slave', replica.hard, replica.soft, replica.seconds),
    of('pubsub', pubsub.hard, pubsub.soft, pubsub.seconds),
  ].join(' ');
}

/** Everything redis.conf says for one member. Nothing about its role: Redis, Sentinel or the start script know that. */
export function directives(service: RedisService, cluster: Cluster, seat: Seat): Directives {
  const { spec } = service;
  const timing = timingOf(spec);
  const fixed: Record<string, string> = {
    daemonize: 'no',
    supervised: 'no',
    logfile: '',
    pidfile: 'redis.pid',
    aclfile: '../users.acl',
    'enable-debug-command': 'no',
    'enable-module-command': 'no',
    'enable-protected-configs': 'no',
    // Settable at run time, but a running member never changes where it listens: that is a restart.
    port: spec.tls ? '0' : String(seat.port),
    bind: seat.address,
    'protected-mode': 'yes',
    ...(spec.tls
      ? {
          'tls-port': String(seat.port),
          'tls-replication': 'yes',
          'tls-cluster': yes(spec.mode === 'cluster'),
          'tls-auth-clients': 'optional',
          'tls-cert-file': '../tls.crt',
          'tls-key-file': '../tls.key',
          'tls-ca-cert-file': '../ca.crt',
        }
      : {}),
    ...(spec.mode === 'cluster' ? { 'cluster-enabled': 'yes', 'cluster-config-file': 'nodes.conf' } : {}),
  };
  const live: Record<string, string> = {
    maxmemory: String(spec.maxmemory ?? 0),
    'maxmemory-policy': spec.eviction,
    maxclients: String(spec.maxclients),
    'client-output-buffer-limit': buffers(spec),
    save: spec.persistence === 'rdb' ? snapshots : '',
    'aof-use-rdb-preamble': yes(spec.persistence === 'mixed'),
    appendonly: yes(spec.persistence === 'aof' || spec.persistence === 'mixed'),
    // A cut-off log is shown and mended on a copy (phalanx repair), never shortened in silence.
    'aof-load-truncated': 'no',
    'min-replicas-to-write': String(minReplicasOf(service)),
    'min-replicas-max-lag': String(timing.maxLag),
    // 0 marks a member that is not to be promoted (start.ts, guard.ts); it is as good as any once it has caught up.
    'replica-priority': '100',
    ...guardDown(spec),
    'replica-read-only': 'yes',
    'replica-announce-ip': seat.address,
    'replica-announce-port': String(seat.port),
    // Replicas come one after the other when they are rebuilt; waiting for more of them only delays the first.
    'repl-diskless-sync-delay': '0',
    // Room for the writes made while a replica is away, so that it comes back with a partial copy.
    'repl-backlog-size': String(16 * 1024 ** 2),
    masteruser: replicaUser,
    ...(spec.mode === 'cluster'
      ? {
          'cluster-node-timeout': String(timing.nodeTimeout),
          'cluster-announce-ip': seat.address,
          // Who replicates whom is the plan's to say; Redis moving replicas by itself would undo it.
          'cluster-allow-replica-migration': 'no',
          // A shard that is down takes only its own keys down with it.
          'cluster-require-full-coverage': 'no',
          // A replica that lost touch long ago may still be the newest there is: validity is judged by offsets.
          'cluster-replica-validity-factor': '0',
        }
      : {}),
  };
  for (const [name, value] of Object.entries(spec.config)) {
    const of = immutable.has(name) ? fixed : live;
    of[name] = canonical(value);
  }
  const secret = { masterauth: cluster.secrets[`${service.name}/replica`] ?? '' };
  if (replicasOf(service) === 0) live['min-replicas-to-write'] = '0';
  const said = new Set(Object.keys(live).map(newerName));
  const unsaid = Object.fromEntries(Object.entries(defaults).filter(([name]) => !said.has(name)));
  return { fixed, live, secret, unsaid };
}

/** The user as which members copy from each other. */
export const replicaUser = 'replica';

const quoted = (value: string): string =>
  value === '' || /[\s"'#\\]/.test(value)
    ? `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
    : value;

/** Directives whose value is a list of words, which redis.conf takes unquoted. */
const lists = new Set([
  'save',
  'client-output-buffer-limit',
  'bind',
  'oom-score-adj-values',
  'tls-protocols',
]);

/** redis.conf's text for these directives. Source of the syntax: redis.conf of Redis 7.0. */
export function conf(values: Record<string, string>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${lists.has(name) && value !== '' ? value : quoted(value)}\n`)
    .join('');
}

/** Classes of events that `A` stands for in notify-keyspace-events. */
const everyEvent = [...'g$lshzxetd'];

/** A value in a form in which two that mean the same are the same, where Redis answers in words of its own. */
function meaning(name: string, value: string): string {
  if (name === 'oom-score-adj') return value === 'relative' ? 'yes' : value;
  if (name !== 'notify-keyspace-events') return value;
  const letters = new Set([...value].flatMap((letter) => (letter === 'A' ? everyEvent : letter)));
  // Redis 7.0 takes n and does not say it beside A.
  if (everyEvent.every((letter) => letters.has(letter))) letters.delete('n');
  return [...letters].sort().join('');
}

/**
 * Names of the live directives that the running member holds otherwise than they are to be, with what it has. `guardedBy` may differ: the
 * member is not to be promoted now (guard.ts). What the file does not say is compared where its version's defaults are known.
 */
export function drift(
  wanted: Directives,
  running: Record<string, string>,
  version: string | undefined,
  guardedBy?: string,
): { name: string; from: string; to: string }[] {
  const unsaid = version?.startsWith('7.0.') ? wanted.unsaid : {};
  return Object.entries({ ...unsaid, ...wanted.live, ...wanted.secret }).flatMap(([name, to]) => {
    const from = running[name];
    return from === undefined || meaning(name, from) === meaning(name, to) || name === guardedBy
      ? []
      : [{ name, from, to }];
  });
}
