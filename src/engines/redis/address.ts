import type { Cluster } from '../../file/cluster.ts';
import { caOf } from '../tls.ts';
import { type RedisService, seatsOf, sentinelSeatsOf } from './seats.ts';

/**
 * What a service that uses this one is given. URL names the first member (a client asks any for the cluster's map), with the user: redis-cli takes an
 * empty one for a name; HOSTS lists them all. In sentinel mode
 * SENTINELS and MASTER_NAME are what a Sentinel client wants, and its sentinels take the same password.
 */
export function redisAddress(service: RedisService, cluster: Cluster): Record<string, string> {
  const { spec, name } = service;
  const password = cluster.secrets[`${name}/password`] ?? '';
  const hosts = seatsOf(service, cluster).map((seat) => `${seat.address}:${seat.port}`);
  const sentinels = sentinelSeatsOf(service, cluster).map((seat) => `${seat.address}:${seat.port}`);
  const ca = caOf(service, cluster);
  return {
    URL: `${spec.tls ? 'rediss' : 'redis'}://default:${password}@${hosts[0]}`,
    HOSTS: hosts.join(','),
    USERNAME: 'default',
    PASSWORD: password,
    MODE: spec.mode,
    ...(sentinels.length > 0 ? { SENTINELS: sentinels.join(','), MASTER_NAME: name } : {}),
    ...(ca ? { CA: ca.replaceAll('\n', '\\n') } : {}),
    ...Object.fromEntries(
      Object.keys(spec.users).map((user) => [
        `${user.toUpperCase().replaceAll('-', '_')}_PASSWORD`,
        cluster.secrets[`${name}/user-${user}`] ?? '',
      ]),
    ),
  };
}
