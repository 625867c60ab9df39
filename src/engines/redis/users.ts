import { createHash } from 'node:crypto';
import type { Cluster } from '../../file/cluster.ts';
import { replicaUser } from './directives.ts';
import type { RedisService } from './seats.ts';

/** The user as which Phalanx itself looks and acts; nobody else is given its password. */
export const adminUser = 'phalanx';
export const sentinelUser = 'sentinel';

/** Names of the service's secrets: the application's password, ours, the replicas', and one for each further user. */
export function secretsOf(service: RedisService): string[] {
  return [
    'password',
    'admin',
    'replica',
    ...(service.spec.mode === 'sentinel' ? ['sentinel'] : []),
    ...(service.spec.tls ? ['tls'] : []),
    ...Object.keys(service.spec.users).map((name) => `user-${name}`),
  ];
}

// Dangerous by Redis's own category, but read-only, and clients run them by themselves to find their way (INFO
// when they connect, ROLE to check that a master is one).
const harmless = ['+info', '+role', '+sort', '+sort_ro', '+lastsave'];

/**
 * The ACL rules of every user, by name, as ACL SETUSER takes them. Passwords are hashes: the file tells nobody a
 * password. `default` is the application, so that clients that know only a password get in with it.
 */
export function users(service: RedisService, cluster: Cluster): Record<string, string[]> {
  const all = acting(service, cluster);
  const mark = createHash('sha256').update(JSON.stringify(all)).digest('hex').slice(0, 12);
  return { ...all, [`${markPrefix}${mark}`]: ['off'] };
}

/**
 * Begins the name of a user that is off and may do nothing: a running server says by it which rules it was given. Its own list of them cannot be compared, since it
 * says them in its own words (`-@dangerous` becomes the commands that this takes away). Set last.
 */
export const markPrefix = 'rules-';

function acting(service: RedisService, cluster: Cluster): Record<string, string[]> {
  const { spec, name } = service;
  const hash = (secret: string): string =>
    `#${createHash('sha256')
      .update(cluster.secrets[`${name}/${secret}`] ?? '')
      .digest('hex')}`;
  const allow = spec.allow.map((command) => `+${command}`);
  return {
    default: ['on', hash('password'), '~*', '&*', '+@all', '-@dangerous', ...harmless, ...allow],
    [adminUser]: ['on', hash('admin'), '~*', '&*', '+@all'],
    // Source: Redis documentation, "ACL rules for Sentinel and Replicas".
    [replicaUser]: ['on', hash('replica'), '+psync', '+replconf', '+ping'],
    ...(spec.mode === 'sentinel'
      ? {
          [sentinelUser]: [
            ...['on', hash('sentinel'), 'allchannels', '+multi', '+slaveof', '+ping', '+exec', '+subscribe'],
            ...[
              '+config|rewrite',
              '+role',
              '+publish',
              '+info',
              '+client|setname',
              '+client|kill',
              '+script|kill',
            ],
          ],
        }
      : {}),
    ...Object.fromEntries(
      Object.entries(spec.users).map(([user, { keys, channels, commands }]) => [
        user,
        [
          ...['on', hash(`user-${user}`)],
          ...keys.map((key) => `~${key}`),
          ...channels.map((channel) => `&${channel}`),
          ...commands,
        ],
      ]),
    ),
  };
}

/** The text of users.acl. */
export function usersFile(service: RedisService, cluster: Cluster): string {
  return Object.entries(users(service, cluster))
    .map(([name, rules]) => `user ${name} ${rules.join(' ')}\n`)
    .join('');
}

/** users.acl of a sentinel: clients may look for the master, nothing else. */
export function sentinelUsersFile(service: RedisService, cluster: Cluster): string {
  const hash = (secret: string): string =>
    `#${createHash('sha256')
      .update(cluster.secrets[`${service.name}/${secret}`] ?? '')
      .digest('hex')}`;
  const looks = [
    'get-master-addr-by-name',
    'sentinels',
    'replicas',
    'slaves',
    'master',
    'masters',
    'myid',
    'ckquorum',
  ];
  const app = [
    '-@all',
    '+auth',
    '+hello',
    '+ping',
    '+info',
    '+role',
    '+client|setname',
    '+client|id',
    '+client|getname',
  ];
  const subscribes = ['+subscribe', '+psubscribe', '+unsubscribe', '+punsubscribe', '+command'];
  const rules = [...app, ...subscribes, ...looks.map((look) => `+sentinel|${look}`)];
  return [
    `user default on ${hash('password')} ~* &* ${rules.join(' ')}\n`,
    `user ${adminUser} on ${hash('admin')} ~* &* +@all\n`,
  ].join('');
}
