import type { Cluster } from '../../file/cluster.ts';
import { adminUser, isFast, managementPort, nodeOf, type RabbitService } from './names.ts';

/** Keys of rabbitmq.conf that `config:` may not set, and what to do instead. */
export const reservedKeys: [string, string][] = [
  ['listeners', 'use port'],
  ['management.tcp', 'use management'],
  ['management.listener', 'use management'],
  ['cluster_formation', 'use hosts and ram'],
  ['cluster_partition_handling', 'use partitions'],
  ['cluster_name', 'it is the name of the cluster and the service'],
  ['default_user', 'use users'],
  ['default_pass', 'use users'],
  ['default_vhost', 'use vhost'],
  ['default_permissions', 'use users'],
  ['default_user_tags', 'use users'],
  ['load_definitions', 'use queues, exchanges, bindings and policies'],
  ['definitions', 'use queues, exchanges, bindings and policies'],
  ['management.load_definitions', 'use queues, exchanges, bindings and policies'],
  ['vm_memory_high_watermark.relative', 'use memory'],
  ['vm_memory_high_watermark.absolute', 'use memory'],
  ['disk_free_limit.absolute', 'use disk'],
  ['disk_free_limit.relative', 'use disk'],
  ['net_ticktime', 'use timing'],
];

const lines = (values: Record<string, string | number | boolean>): string =>
  Object.entries(values)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');

/**
 * rabbitmq.conf of one host's node (rabbitmq.com/configure.html). The first node of a new cluster makes the administrator
 * from it instead of guest; nodes that join take the users of the cluster. Holds a password: mode 0600.
 */
export function rabbitmqConf(service: RabbitService, cluster: Cluster, host: string): string {
  const { spec } = service;
  const { address } = cluster.hosts[host]!;
  const own: Record<string, string | number | boolean> = {
    'listeners.tcp.1': `${address}:${spec.port}`,
    'management.tcp.ip': address,
    'management.tcp.port': managementPort(spec),
    cluster_name: `${cluster.name}/${service.name}`,
    cluster_partition_handling: spec.partitions,
    default_user: adminUser,
    default_pass: cluster.secrets[`${service.name}/admin`] ?? '',
    [`vm_memory_high_watermark.${spec.memory <= 1 ? 'relative' : 'absolute'}`]: spec.memory,
    'disk_free_limit.absolute': spec.disk,
    heartbeat: isFast(service) ? 5 : 60,
    'log.console': true,
    'log.console.level': 'info',
    'log.file': false,
    // Each health check is a connection that is not kept: said twice a second, nothing else could be found.
    'log.connection.level': 'error',
  };
  return lines({ ...own, ...spec.config });
}

/** What a node without data of its own is told besides: whom to join. It never begins a cluster of its own. */
export function joinConf(service: RabbitService, cluster: Cluster, host: string): string {
  const nodes = service.hosts.map((name, i) => [
    `cluster_formation.classic_config.nodes.${i + 1}`,
    nodeOf(service, cluster, name),
  ]);
  return lines({
    'cluster_formation.peer_discovery_backend': 'classic_config',
    ...Object.fromEntries(nodes),
    'cluster_formation.node_type': service.spec.ram.includes(host) ? 'ram' : 'disc',
    // Out of retries it would stand alone as a cluster of its own (rabbit_mnesia, 3.10): it never is, in six days.
    'cluster_formation.discovery_retry_limit': 1_000_000,
    'cluster_formation.discovery_retry_interval': 500,
  });
}

/** The nodes to find the cluster by that are none of the file's. Numbered after those of `joinConf`. */
export function peersConf(service: RabbitService, cluster: Cluster, peers: string[]): string {
  const known = service.hosts.map((host) => nodeOf(service, cluster, host));
  const further = peers
    .filter((node) => !known.includes(node))
    .map((node, i) => [`cluster_formation.classic_config.nodes.${known.length + i + 1}`, node]);
  return lines(Object.fromEntries(further));
}

/**
 * What rabbitmq.conf cannot say: quorum queues on up to five nodes, and how often Ra's failure detector (aten) looks, in
 * milliseconds (1000 is its own).
 */
export function advancedConfig(service: RabbitService): string {
  const aten = isFast(service) ? '\n {aten, [{poll_interval, 250}]},' : '';
  return `[${aten}\n {rabbit, [{quorum_cluster_size, ${mostMembers}}]}\n].\n`;
}

/**
 * When a silent peer counts as dead, as arguments of erl (kernel(6), net_ticktime and net_tickintensity): a minute, give or take a quarter; `fast` three
 * seconds, give or take 0.15, because until then new channels ask a leader that hangs, and nobody can say that it leads no more. RabbitMQ's own
 * key of that name is read when it starts the distribution, which here runs before it: it goes on the command line.
 */
export const tickArguments = (service: RabbitService): string =>
  isFast(service) ? '-kernel net_ticktime 3 -kernel net_tickintensity 20' : '-kernel net_ticktime 60';

/** Members that a quorum queue gets where nothing else is said: more only cost (rabbitmq.com/quorum-queues.html). */
export const mostMembers = 5;
