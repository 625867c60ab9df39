import type { Connection } from '@platformatic/kafka';
import type { Cluster } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import { caOf } from '../tls.ts';
import { type KafkaService, seatsOf } from './seats.ts';
import { adminUser, appUser, mechanism } from './users.ts';

export type Kafka = typeof import('@platformatic/kafka');

/** Where a member listens: a broker's port for clients, or a controller's. */
export interface Place {
  host: string;
  port: number;
}

/** Loading it costs more than a command that has nothing to do with Kafka may take. */
export const kafka = (): Promise<Kafka> => import('@platformatic/kafka');

/**
 * A connection to one member, as Phalanx's own user, for as long as `use` takes; never to another than that one, so that the
 * answer is that member's, and never longer than `ms` in all, also when it is frozen.
 */
export async function asking<T>(
  { service, cluster, reach }: { service: KafkaService; cluster: Cluster; reach: Reach },
  place: Place,
  ms: number,
  use: (connection: Connection, api: Kafka) => Promise<T>,
): Promise<T> {
  const api = await kafka();
  const at = await reach.endpoint(place.host, place.port);
  const ca = caOf(service, cluster);
  const connection = new api.Connection('phalanx', {
    connectTimeout: ms,
    requestTimeout: ms,
    // A certificate is for its member's address, and here a forwarded port may be dialled.
    ...(ca ? { tls: { ca, checkServerIdentity: () => undefined } } : {}),
    sasl: {
      mechanism: 'PLAIN',
      username: adminUser,
      password: cluster.secrets[`${service.name}/${adminUser}`] ?? '',
    },
  });
  connection.on('error', () => {});
  const work = (async () => {
    await connection.connect(at.host, at.port);
    return use(connection, api);
  })();
  try {
    return await within(work, ms);
  } finally {
    connection.close().catch(() => {});
    connection.socket?.destroy();
  }
}

/**
 * How an application that `uses` the service connects: where the brokers are, and who it is. The library asks the first broker
 * that lets it connect for leaders, also when that one is silent or cut off: one that will be missed stands `last` better.
 */
export function application(service: KafkaService, cluster: Cluster, last?: number) {
  const ca = caOf(service, cluster);
  return {
    bootstrapBrokers: seatsOf(service, cluster)
      .filter(({ broker }) => broker)
      .sort((a, b) => Number(a.id === last) - Number(b.id === last))
      .map(({ address }) => `${address}:${service.spec.port}`),
    sasl: {
      mechanism,
      username: appUser,
      password: cluster.secrets[`${service.name}/${appUser}`] ?? '',
    },
    ...(ca ? { tls: { ca } } : {}),
  };
}

/** Said of a member whose host answers and which does not: no process serves there. */
export const nothingListens = 'nothing listens';

/** Why a member did not do it, in a few words: what the member itself said, if it did. */
export function reason(error: unknown): string {
  const { message, cause } = error as Error;
  const errors = causes(error);
  const said = [message, ...errors.map((one) => one.message), (cause as Error | undefined)?.message].join(
    '; ',
  );
  if (/ECONNREFUSED/.test(said)) return nothingListens;
  if (/timed out|no answer within/i.test(said)) return 'no answer';
  return ([...new Set(errors.map((one) => one.message))].join('; ') || message).replace(/\s+/g, ' ');
}

/** What a member answered, also where it could not answer for all that it was asked: then each part of the answer has its own error. */
export function partly<T>(answer: Promise<T>): Promise<T> {
  return answer.catch((error: { response?: T }) => {
    if (error.response === undefined) throw error;
    return error.response;
  });
}

/** What an error of several is made of, to the last. */
function causes(error: unknown): Error[] {
  const { errors = [] } = error as { errors?: Error[] };
  return errors.flatMap((one) => (one instanceof AggregateError ? causes(one) : [one]));
}

/** Kafka's name for an error that it answered with, e.g. TOPIC_ALREADY_EXISTS; undefined for other errors. */
export function errorName(error: unknown): string | undefined {
  const { errors } = error as { errors?: { apiId?: string }[] };
  return errors?.find(({ apiId }) => apiId)?.apiId;
}
