import type { Redis } from 'ioredis';
import type { Cluster } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import { caOf } from '../tls.ts';
import type { RedisService } from './seats.ts';
import { adminUser } from './users.ts';

/** Longest time to connect, and for one answer: long enough for a busy member, short enough for a frozen one. Milliseconds. */
export const answerMs = 1_500;

/** Somewhere to connect to. */
export interface Place {
  name: string;
  host: string;
  port: number;
}

export type Dial = (place: Place, options?: { answerMs?: number }) => Promise<Redis>;

/**
 * Gives connections to members as Phalanx's own user. A connection never repeats a command and never reconnects: what
 * it was told happened, or failed, or is not known. Rejects with the reason ('connect ECONNREFUSED', 'no answer within 1500 ms').
 */
export function dialer(service: RedisService, cluster: Cluster, reach: Reach): Dial {
  const ca = caOf(service, cluster);
  return async (place, options = {}) => {
    const deadline = options.answerMs ?? answerMs;
    const end = await reach.endpoint(place.host, place.port);
    // Loading it costs more than a command that has nothing to do with Redis may take.
    const { Redis } = await import('./client-library.ts');
    const client = new Redis({
      host: end.host,
      port: end.port,
      username: adminUser,
      password: cluster.secrets[`${service.name}/admin`] ?? '',
      ...(ca ? { tls: { ca, servername: place.name.replaceAll('@', '.') } } : {}),
      protocol: 2,
      lazyConnect: true,
      enableReadyCheck: false,
      enableOfflineQueue: true,
      disableClientInfo: true,
      connectTimeout: Math.min(deadline, answerMs),
      commandTimeout: deadline,
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      autoResendUnfulfilledCommands: false,
      retryStrategy: () => null,
    });
    let last: Error | undefined;
    client.on('error', (error) => {
      last = error;
    });
    try {
      await within(client.connect(), deadline);
      return client;
    } catch (error) {
      client.disconnect();
      throw last ?? error;
    }
  };
}

/** Runs `work` with a connection that is closed afterwards, whatever happens. */
export async function using<T>(
  dial: Dial,
  place: Place,
  work: (redis: Redis) => Promise<T>,
  options?: { answerMs?: number },
): Promise<T> {
  const redis = await dial(place, options);
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}
