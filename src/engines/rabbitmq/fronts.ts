import type { Cluster } from '../../file/cluster.ts';
import { appUser, managementPort, type RabbitService } from './names.ts';

interface Listening {
  vip?: (string | undefined)[];
  listen?: ({ to?: string; at?: string; port?: [number, number] } | undefined)[];
}

const withPort = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** Where a director of the cluster takes connections for the service (its AMQP port, or the named one); the first there is. */
function front(service: RabbitService, cluster: Cluster, at: string | undefined): string | undefined {
  for (const other of Object.values(cluster.services)) {
    if (other.type !== 'director') continue;
    const { vip, listen } = (other.spec ?? {}) as Listening;
    const found = listen?.find((one) => one?.to === service.name && one.at === at && one.port);
    if (found?.port && vip?.[0]) return withPort(vip[0], found.port[0]);
  }
  return undefined;
}

/**
 * What services that use this one are given: through the VIP where a director stands in front, else the nodes themselves. A
 * client without director should be given all of HOSTS, since a URL of AMQP names one.
 */
export function rabbitAddress(service: RabbitService, cluster: Cluster): Record<string, string> {
  const { spec } = service;
  const nodes = (port: number): string[] =>
    service.hosts.map((host) => withPort(cluster.hosts[host]!.address, port));
  const fronted = front(service, cluster, undefined);
  const hosts = fronted ? [fronted] : nodes(spec.port);
  const user = appUser(service);
  const password = cluster.secrets[`${service.name}/password`] ?? '';
  const secret = (name: string): string => cluster.secrets[`${service.name}/user-${name}`] ?? '';
  return {
    URL: `amqp://${user}:${password}@${hosts[0]}/${encodeURIComponent(spec.vhost)}`,
    HOSTS: hosts.join(','),
    VHOST: spec.vhost,
    USER: user,
    PASSWORD: password,
    MANAGEMENT: `http://${front(service, cluster, 'management') ?? nodes(managementPort(spec))[0]}/`,
    ...Object.fromEntries(
      Object.keys(spec.users).map((name) => [
        `${name.toUpperCase().replaceAll('-', '_')}_PASSWORD`,
        secret(name),
      ]),
    ),
  };
}
