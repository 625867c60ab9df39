import type { Check } from '../../check/check.ts';
import type { Cluster } from '../../file/cluster.ts';
import type { Member, MemberFile } from '../engine.ts';
import { tlsFiles } from '../tls.ts';
import { conf, directives } from './directives.ts';
import { type RedisService, type Seat, seatsOf, sentinelSeatsOf } from './seats.ts';
import { sentinelStart, startScript } from './start.ts';
import { sentinelUsersFile, usersFile } from './users.ts';

const readiness: Check = { kind: 'tcp', intervalMs: 50, timeoutMs: 1_000, rise: 1, fall: 1 };

/**
 * Every process of the service: data members, and sentinels in sentinel mode. Files of a data member are ours alone
 * (Redis reads them from standard input and by `include`, and cannot write them), so a file that differs is a change to make.
 */
export function redisMembers(service: RedisService, cluster: Cluster): Member[] {
  return [
    ...seatsOf(service, cluster).map((seat) => dataMember(service, cluster, seat)),
    ...sentinelSeatsOf(service, cluster).map((seat) => sentinelMember(service, cluster, seat)),
  ];
}

function dataMember(service: RedisService, cluster: Cluster, seat: Seat): Member {
  const { fixed, live, secret } = directives(service, cluster, seat);
  const file = (
    path: string,
    content: string,
    onChange: MemberFile['onChange'],
    mode = 0o644,
  ): MemberFile => ({
    path,
    content,
    mode,
    onChange,
    ...(mode === 0o600 || mode === 0o700 ? { secret: true } : {}),
  });
  return {
    ...common(service, seat),
    kind: 'redis',
    command: './start',
    files: [
      file('start', startScript(service, cluster, seat), 'nothing', 0o755),
      // `dir` comes last: the includes are found from the member's folder, not from `data`.
      file('redis.conf', `include live.conf\ninclude secret.conf\n${conf(fixed)}dir data\n`, 'restart'),
      file('live.conf', conf(live), 'engine'),
      file('secret.conf', conf(secret), 'engine', 0o600),
      file('users.acl', usersFile(service, cluster), 'engine', 0o600),
      file('admin.secret', `${cluster.secrets[`${service.name}/admin`] ?? ''}\n`, 'nothing', 0o600),
      ...tlsFiles(service, cluster, seat),
    ],
    ports: [
      { proto: 'tcp', port: seat.port },
      ...(service.spec.mode === 'cluster' ? [{ proto: 'tcp' as const, port: seat.port + 10_000 }] : []),
    ],
    // 128 more than clients, for Redis's own files; it lowers maxclients otherwise.
    limits: { openFiles: service.spec.maxclients + 128 },
    // Redis waits up to 10 s (shutdown-timeout) for replicas to have everything.
    stop: { signal: 'TERM', timeoutMs: 30_000 },
    ready: { check: readiness, port: seat.port, timeoutMs: 60_000 },
  };
}

/**
 * A sentinel is told only where to listen. What it is to watch is told to the running one (SENTINEL MONITOR with the master of that
 * moment), because a file with a master in it is wrong after the first failover.
 */
function sentinelMember(service: RedisService, cluster: Cluster, seat: Seat): Member {
  const { spec } = service;
  const settings: Record<string, string> = {
    ...(spec.tls
      ? {
          port: '0',
          'tls-port': String(seat.port),
          'tls-replication': 'yes',
          'tls-auth-clients': 'optional',
          'tls-cert-file': 'tls.crt',
          'tls-key-file': 'tls.key',
          'tls-ca-cert-file': 'ca.crt',
        }
      : { port: String(seat.port) }),
    bind: seat.address,
    'protected-mode': 'yes',
    logfile: '',
    aclfile: 'users.acl',
  };
  const content = `${conf(settings)}sentinel announce-ip ${seat.address}\nsentinel announce-port ${seat.port}\n`;
  return {
    ...common(service, seat),
    kind: 'sentinel',
    command: './start',
    files: [
      { path: 'start', content: sentinelStart(service, seat), mode: 0o755, onChange: 'restart' },
      { path: 'sentinel.conf', content, mode: 0o644, onChange: 'restart' },
      {
        path: 'admin.secret',
        content: `${cluster.secrets[`${service.name}/admin`] ?? ''}\n`,
        mode: 0o600,
        onChange: 'nothing',
        secret: true,
      },
      {
        path: 'users.acl',
        content: sentinelUsersFile(service, cluster),
        mode: 0o600,
        onChange: 'restart',
        secret: true,
      },
      ...tlsFiles(service, cluster, seat),
    ],
    ports: [{ proto: 'tcp', port: seat.port }],
    limits: {},
    stop: { signal: 'TERM', timeoutMs: 5_000 },
    ready: { check: readiness, port: seat.port, timeoutMs: 20_000 },
  };
}

const common = (service: RedisService, seat: Seat) => ({
  name: seat.name,
  service: service.name,
  host: seat.host,
  ...(seat.part ? { part: seat.part } : {}),
  env: {},
  data: ['data'],
});
