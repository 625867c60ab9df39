import { setTimeout as wait } from 'node:timers/promises';
import { Cluster, Redis } from 'ioredis';
import { openSession, type Session } from '../../src/cli/session.ts';
import { redisAddress } from '../../src/engines/redis/address.ts';
import { dialer, using } from '../../src/engines/redis/client.ts';
import { parseInfo } from '../../src/engines/redis/info.ts';
import type { LiveMember, RedisLive } from '../../src/engines/redis/live.ts';
import { observeRedis } from '../../src/engines/redis/observe.ts';
import type { RedisService } from '../../src/engines/redis/seats.ts';
import { type TestCluster, until } from './cluster.ts';

/** The service `cart` of a test's cluster, seen as its users see it and as Redis sees itself. */
export class Cart {
  readonly cluster: TestCluster;
  #session: Session | undefined;

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  /** Reads the file again: for after it was changed. */
  async session(again = false): Promise<Session> {
    if (again || !this.#session) this.#session = await openSession(this.cluster.file);
    return this.#session;
  }

  async service(): Promise<RedisService> {
    return (await this.session()).cluster.services['cart'] as RedisService;
  }

  /** What an app that `uses: [cart]` is told. */
  async address(): Promise<Record<string, string>> {
    return redisAddress(await this.service(), (await this.session()).cluster);
  }

  async live(): Promise<RedisLive> {
    const { cluster, reach } = await this.session();
    return observeRedis(await this.service(), cluster, reach);
  }

  async masters(): Promise<string[]> {
    return (await this.live()).members.filter((one) => one.role === 'master').map((one) => one.name);
  }

  /** A stock client, set up as its own manual says for the mode; in mode replication for the present master. */
  async client(): Promise<Redis | Cluster> {
    const given = await this.address();
    const hosts = given['HOSTS']!.split(',').map(endpoint);
    const password = given['PASSWORD']!;
    const patience = { commandTimeout: 1_000, maxRetriesPerRequest: 1 };
    if (given['MODE'] === 'cluster') {
      const redisOptions = { password, ...patience };
      const client = new Cluster(hosts, {
        redisOptions,
        slotsRefreshTimeout: 1_000,
        clusterRetryStrategy: () => 50,
      });
      client.on('error', () => {});
      return client;
    }
    const master = (await this.live()).members.find((one) => one.role === 'master')!;
    const client =
      given['MODE'] === 'sentinel'
        ? // No failoverDetector: when it strikes while ioredis 6.0.0 is asking the sentinels, the client ends for good.
          new Redis({
            sentinels: given['SENTINELS']!.split(',').map(endpoint),
            name: given['MASTER_NAME']!,
            sentinelPassword: password,
            password,
            sentinelRetryStrategy: () => 50,
            retryStrategy: () => 50,
            ...patience,
          })
        : new Redis({
            host: master.address,
            port: master.port,
            password,
            retryStrategy: () => 50,
            ...patience,
          });
    client.on('error', () => {});
    return client;
  }

  /** Runs sh on one of the cluster's hosts. */
  async on(host: string, script: string): Promise<string> {
    const { reach } = await this.session();
    return (await reach.host(host).run(script)).text;
  }

  /** Sends a signal to the process of a member or sentinel: on its host, whose process ids are its own. */
  async kill(name: string, signal: string): Promise<void> {
    const { cluster, reach } = await this.session();
    const live = await this.live();
    const found = [...live.members, ...live.sentinels].find((one) => one.name === name)!;
    const dial = dialer(await this.service(), cluster, reach);
    const info = await using(dial, found, (redis) => redis.info('server'));
    await this.on(found.host, `kill -${signal} ${Number(parseInfo(info)['process_id'])}`);
  }

  async member(name: string): Promise<LiveMember | undefined> {
    return (await this.live()).members.find((one) => one.name === name);
  }

  /** `plan` finds nothing to do. */
  async asTheFileSays(ms = 30_000): Promise<void> {
    let last = '';
    await until(
      'plan finds nothing to do',
      async () => {
        const { exit, out } = await this.cluster.run(['plan']);
        last = out;
        return exit === 0;
      },
      ms,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${last}`);
    });
  }
}

function endpoint(place: string): { host: string; port: number } {
  const [host = '', port = ''] = place.split(':');
  return { host, port: Number(port) };
}

export interface Written {
  /** Keys whose write was acknowledged. */
  acknowledged: string[];
  errors: string[];
  /** Longest time between two acknowledgements, milliseconds. */
  longestGapMs: number;
}

/** Clients that write unique keys to every part of the key space, one after the other, until stopped. */
export async function writers(cart: Cart, count = 4): Promise<{ stop(): Promise<Written> }> {
  const clients = await Promise.all(Array.from({ length: count }, () => cart.client()));
  const result: Written = { acknowledged: [], errors: [], longestGapMs: 0 };
  const run = Math.random().toString(36).slice(2, 8);
  let going = true;
  let last = performance.now();
  const work = clients.map(async (client, who) => {
    for (let i = 0; going; i++) {
      const key = `w:${run}:${who}:${i}`;
      try {
        await client.set(key, key);
        result.acknowledged.push(key);
        const now = performance.now();
        result.longestGapMs = Math.max(result.longestGapMs, now - last);
        last = now;
      } catch (error) {
        result.errors.push((error as Error).message);
        await wait(20);
      }
      await wait(1);
    }
  });
  return {
    async stop() {
      going = false;
      await Promise.all(work);
      for (const client of clients) client.disconnect();
      return result;
    },
  };
}

/** Acknowledged keys that are no longer there. */
export async function lost(cart: Cart, written: Written): Promise<string[]> {
  const client = await cart.client();
  const missing: string[] = [];
  for (let i = 0; i < written.acknowledged.length; i += 200) {
    const keys = written.acknowledged.slice(i, i + 200);
    const values = await Promise.all(keys.map((key) => client.get(key)));
    missing.push(...keys.filter((key, at) => values[at] !== key));
  }
  client.disconnect();
  return missing;
}
