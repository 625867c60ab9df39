import type { Cluster } from '../../file/cluster.ts';
import { caOf } from '../tls.ts';
import { type KafkaService, seatsOf } from './seats.ts';
import { appUser, mechanism, protocol, usersOf } from './users.ts';

/** What an application is told: where the brokers are, and who it is. Users of the file's list get NAME_PASSWORD each. */
export function kafkaAddress(service: KafkaService, cluster: Cluster): Record<string, string> {
  const password = (user: string): string => cluster.secrets[`${service.name}/${user}`] ?? '';
  const ca = caOf(service, cluster);
  return {
    URL: seatsOf(service, cluster)
      .filter(({ broker }) => broker)
      .map(({ address }) => `${address}:${service.spec.port}`)
      .join(','),
    PROTOCOL: protocol(service),
    MECHANISM: mechanism,
    ACKS: String(service.spec.acks),
    USER: appUser,
    PASSWORD: password(appUser),
    // One line, as environments want it.
    ...(ca ? { CA: ca.replaceAll('\n', '\\n') } : {}),
    ...Object.fromEntries(
      usersOf(service)
        .filter((user) => user !== appUser)
        .map((user) => [`${user.toUpperCase().replace(/[.-]/g, '_')}_PASSWORD`, password(user)]),
    ),
  };
}
