import type { Cluster } from '../../file/cluster.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { keeperOf } from './keeper.ts';
import { copies, type KafkaService, type Seat } from './seats.ts';
import { timingOf } from './timing.ts';
import { adminUser, protocol, usersOf } from './users.ts';

/** Keys that say who a member is and how it is reached: never the file's. The key of the file to use instead, if any. */
export const owned: Record<string, string> = {
  'process.roles': 'controllers',
  'node.id': '',
  'broker.id': '',
  'controller.quorum.voters': 'controllers',
  'controller.quorum.bootstrap.servers': 'controllers',
  'controller.listener.names': '',
  listeners: 'port',
  'advertised.listeners': 'port',
  'listener.security.protocol.map': '',
  'inter.broker.listener.name': '',
  'log.dirs': '',
  'log.dir': '',
  'metadata.log.dir': '',
  'auto.create.topics.enable': 'autoCreate',
};

/** The member's certificate and key as Java wants them. Kafka insists on a password; what keeps the file is its mode, 0600. */
export const keyStore = 'data/tls.p12';
export const keyStorePassword = 'phalanx';

export const clientListener = 'CLIENT';
export const controllerListener = 'CONTROLLER';

/**
 * server.properties of a member, all but the list of controllers: that one is added at each start, so that controllers which
 * come and go restart nobody.
 *
 * Whoever connects proves who he is. Applications by SCRAM-SHA-512, whose users live in the cluster's own metadata.
 * Members and Phalanx by PLAIN, from this file: controllers cannot use SCRAM, since they keep its users themselves, and
 * brokers must get in before there are any. With `tls`, which hides the password, applications may use PLAIN as well: clients before
 * librdkafka 2.6.1 (Debian 12 has 2.0.2) do SCRAM wrong, and Kafka 4 no longer overlooks it. On the wire that is as much hidden as the records are: with `tls`.
 */
export function serverProperties(service: KafkaService, cluster: Cluster, seat: Seat): string {
  const { spec } = service;
  const { replication, minInsync } = copies(service);
  const password = cluster.secrets[`${service.name}/${adminUser}`] ?? '';
  const plainLogin = (users: string[]): string => {
    const known = users.map((user) => ` user_${user}="${cluster.secrets[`${service.name}/${user}`] ?? ''}"`);
    return `org.apache.kafka.common.security.plain.PlainLoginModule required username="${adminUser}" password="${password}"${known.join('')};`;
  };
  const listeners = [
    ...(seat.broker ? [`${clientListener}://${seat.address}:${spec.port}`] : []),
    ...(seat.controller ? [`${controllerListener}://${seat.address}:${spec.controllerPort}`] : []),
  ];
  const keeper = spec.metadata === undefined ? undefined : keeperOf(service, cluster);
  const kraft = {
    'process.roles': [...(seat.broker ? ['broker'] : []), ...(seat.controller ? ['controller'] : [])].join(
      ',',
    ),
    'node.id': seat.id,
    'controller.listener.names': controllerListener,
    'sasl.mechanism.controller.protocol': 'PLAIN',
    [`listener.name.${controllerListener.toLowerCase()}.sasl.enabled.mechanisms`]: 'PLAIN',
    [`listener.name.${controllerListener.toLowerCase()}.plain.sasl.jaas.config`]: plainLogin([adminUser]),
    'share.coordinator.state.topic.replication.factor': replication,
    'share.coordinator.state.topic.min.isr': minInsync,
    ...timingOf(service).keys,
  };
  const keys: Record<string, string | number | boolean> = {
    ...(keeper
      ? {
          'broker.id': seat.id,
          'zookeeper.connect': `${keeper.servers.map(({ host, port }) => `${cluster.hosts[host]!.address}:${port}`).join(',')}${keeper.root}`,
          // Longer than an ensemble takes that is started together with its brokers.
          'zookeeper.connection.timeout.ms': 120_000,
          ...timingOf(service).keeperKeys,
        }
      : kraft),
    listeners: listeners.join(','),
    'advertised.listeners': listeners.join(','),
    'listener.security.protocol.map': [clientListener, ...(keeper ? [] : [controllerListener])]
      .map((name) => `${name}:${protocol(service)}`)
      .join(','),
    'inter.broker.listener.name': clientListener,
    'sasl.mechanism.inter.broker.protocol': 'PLAIN',
    [`listener.name.${clientListener.toLowerCase()}.sasl.enabled.mechanisms`]: 'SCRAM-SHA-512,PLAIN',
    [`listener.name.${clientListener.toLowerCase()}.plain.sasl.jaas.config`]: plainLogin([
      adminUser,
      ...(spec.tls ? usersOf(service) : []),
    ]),
    [`listener.name.${clientListener.toLowerCase()}.scram-sha-512.sasl.jaas.config`]:
      'org.apache.kafka.common.security.scram.ScramLoginModule required;',
    'log.dirs': `${memberFolder(seat, cluster.hosts[seat.host]!.root)}/data/log`,
    // The start script makes the key store: Kafka itself reads no Ed25519 key from a PEM file (4.3).
    ...(spec.tls
      ? {
          'ssl.keystore.type': 'PKCS12',
          'ssl.keystore.location': keyStore,
          'ssl.keystore.password': keyStorePassword,
          'ssl.truststore.type': 'PEM',
          'ssl.truststore.location': 'ca.crt',
        }
      : {}),
    'auto.create.topics.enable': spec.autoCreate,
    'default.replication.factor': replication,
    'min.insync.replicas': minInsync,
    'unclean.leader.election.enable': false,
    'offsets.topic.replication.factor': replication,
    'transaction.state.log.replication.factor': replication,
    'transaction.state.log.min.isr': minInsync,
    ...spec.config,
  };
  return `# ${seat.name}: written by Phalanx, see src/engines/kafka/configuration.ts
${Object.entries(keys)
  .map(([key, value]) => `${key}=${String(value).replaceAll('\\', '\\\\')}\n`)
  .join('')}`;
}

const quiet = [
  'kafka.server.KafkaConfig',
  'org.apache.kafka.server.config.AbstractKafkaConfig',
  'org.apache.kafka.clients',
  'org.apache.kafka.common.utils.AppInfoParser',
  'org.apache.kafka.common.config.AbstractConfig',
];

/** Everything to standard output, where the supervisor keeps it; without the dumps of the whole configuration at each start. */
export const logging = `# Written by Phalanx
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %p %m (%c{1})%n%throwable
${quiet.map((name, i) => `logger.l${i}.name = ${name}\nlogger.l${i}.level = warn\n`).join('')}`;

/** The same for Kafka 3, which logs by log4j 1. */
export const logging1 = `# Written by Phalanx
log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%p %m (%c{1})%n
${quiet.map((name) => `log4j.logger.${name}=WARN\n`).join('')}`;
