import { setTimeout as sleep } from 'node:timers/promises';
import { Cluster as ClusterClient, Redis, type RedisOptions, SentinelConnector } from 'ioredis';
import type { Cluster } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import type { DrillClient, DrillFinal, DrillOperation, DrillOutcome } from '../drill.ts';
import { caOf } from '../tls.ts';
import { dialer, using } from './client.ts';
import { keysOf, removeKeys } from './drill-keys.ts';
import { hashSlot } from './hash-slot.ts';
import { at, type LiveMember, mastersOf, type RedisLive } from './live.ts';
import { observeRedis } from './observe.ts';
import { type RedisService, seatsOf, sentinelSeatsOf } from './seats.ts';
import { topology } from './topology.ts';

/** Connections of the client. */
export const connections = 4;
/** After this a client has given up on an operation, milliseconds. */
const patience = 1_000;

/** The shards at the start of a drill: which group each slot belongs to. One without a name where there are no slots. */
export interface Groups {
  names: string[];
  ofKey(key: string): string;
  /** A slot of each group: whoever owns it in the end answers for the group. */
  sample: Map<string, number>;
}

export function groupsOf(service: RedisService, live: RedisLive): Groups {
  if (service.spec.mode !== 'cluster') return { names: [''], ofKey: () => '', sample: new Map() };
  const { owners, slotOwner } = topology(live);
  const sorted = [...owners].sort((a, b) => a.node.slots[0]![0] - b.node.slots[0]![0]);
  const names = new Map(sorted.map(({ node }, n) => [node.id, `shard ${n + 1}`]));
  return {
    names: [...names.values()],
    ofKey: (key) => names.get(slotOwner[hashSlot(key)] ?? '') ?? '',
    sample: new Map(sorted.map(({ node }) => [names.get(node.id)!, node.slots[0]![0]])),
  };
}

interface Held {
  /** Elements of the set. */
  values: number[];
  /** Counters by their names. */
  counters: Record<string, number | null>;
}

/** How long the first answers may take, milliseconds: nothing is measured yet, and the machine may be busy. */
const readyMs = 5_000;
/** How long in the end a master is waited for that comes back, milliseconds. */
const removalMs = 10_000;

/** An application with ioredis, set up as its manual says for the mode, that repeats nothing whose outcome it does not know. */
export class RedisDrillClient implements DrillClient {
  #service: RedisService;
  #cluster: Cluster;
  #reach: Reach;
  #groups: Groups;
  #prefix: string;
  #clients: (Redis | ClusterClient)[];
  #wrote = false;

  constructor(
    service: RedisService,
    cluster: Cluster,
    reach: Reach,
    live: RedisLive,
    groups: Groups,
    run: string,
  ) {
    this.#service = service;
    this.#cluster = cluster;
    this.#reach = reach;
    this.#groups = groups;
    this.#prefix = `${run}:`;
    this.#clients = Array.from({ length: connections }, () => application(service, cluster, live));
  }

  /** Resolves when every connection has had an answer: the first operations must not measure connecting. */
  async ready(): Promise<void> {
    const until = performance.now() + readyMs;
    const answered = async (client: Redis | ClusterClient): Promise<void> => {
      for (;;)
        try {
          await within(client.get(`${this.#prefix}ready`), readyMs);
          return;
        } catch (error) {
          // The client itself gives a command up sooner.
          if (performance.now() > until) throw error;
          await sleep(100);
        }
    };
    await Promise.all(this.#clients.map(answered));
  }

  groupOf(operation: DrillOperation): string | undefined {
    return this.#groups.ofKey(this.#keyOf(operation)) || undefined;
  }

  async invoke(operation: DrillOperation): Promise<DrillOutcome> {
    const client = this.#clients[operation.p % this.#clients.length]!;
    const key = this.#keyOf(operation);
    if (operation.f === 'add' || operation.f === 'incr') this.#wrote = true;
    try {
      switch (operation.f) {
        case 'add':
          await client.set(key, operation.v as number);
          return { type: 'ok' };
        case 'has':
          return { type: 'ok', v: (await client.get(key)) !== null };
        case 'incr':
          await client.incrby(key, operation.v as number);
          return { type: 'ok' };
        default: {
          const value = await client.get(key);
          return { type: 'ok', v: value === null ? null : Number(value) };
        }
      }
    } catch (error) {
      const { name, message } = error as Error;
      // Redis said no: it was not carried out. Anything else, and it may have been.
      return { type: name === 'ReplyError' ? 'fail' : 'info', error: message };
    }
  }

  /** Asks each member by itself, once all agree on its place and replicas have what their master has, or five seconds have not been enough. */
  async finals(): Promise<DrillFinal[]> {
    for (const client of this.#clients) hangUp(client);
    const live = await this.#settled();
    const authority = authoritiesOf(this.#service, live, this.#groups);
    const read: DrillFinal[] = [];
    // One after the other: of a long drill each holds millions, and while it is read they are held twice.
    for (const member of live.members) read.push(...(await this.#read(member, live, authority)));
    return read;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) hangUp(client);
    if (!this.#wrote) return;
    const removal = {
      prefix: this.#prefix,
      observe: () => observeRedis(this.#service, this.#cluster, this.#reach),
      masterless: (live: RedisLive) => masterless(this.#service, live, this.#groups),
      dial: dialer(this.#service, this.#cluster, this.#reach),
    };
    await removeKeys(removal, removalMs);
  }

  async #settled(): Promise<RedisLive> {
    const until = performance.now() + 5_000;
    for (;;) {
      const live = await observeRedis(this.#service, this.#cluster, this.#reach);
      const behind = live.members.some((member) => {
        const master = member.upstream && live.members.find((one) => at(one) === at(member.upstream!));
        const placed = groupsHeldBy(this.#service, member, live, this.#groups).length > 0;
        return !member.up || !placed || (master?.up && (member.offset ?? 0) < (master.offset ?? 0));
      });
      if (!behind || performance.now() > until) return live;
      await sleep(100);
    }
  }

  async #read(member: LiveMember, live: RedisLive, authority: Map<string, string[]>): Promise<DrillFinal[]> {
    const groups = groupsHeldBy(this.#service, member, live, this.#groups);
    let held: Held = { values: [], counters: {} };
    let failed: string | undefined;
    try {
      if (!member.up) throw new Error(member.why ?? 'does not answer');
      held = await using(
        dialer(this.#service, this.#cluster, this.#reach),
        member,
        async (redis) => {
          if (this.#service.spec.mode === 'cluster') await redis.call('READONLY');
          return this.#held(redis);
        },
        { answerMs: 10_000 },
      );
    } catch (error) {
      failed = (error as Error).message;
    }
    return groups.flatMap((group): DrillFinal[] => {
      const head = {
        member: member.name,
        role: authority.get(group)?.includes(member.name) ? ('authority' as const) : ('replica' as const),
        group,
      };
      if (failed !== undefined)
        return [
          { ...head, model: 'set', holds: { failed } },
          { ...head, model: 'counter', holds: { failed } },
        ];
      const own = (name: number | string): boolean => this.#groups.ofKey(`${this.#prefix}${name}`) === group;
      const counters = Object.entries(held.counters).filter(([name]) => own(name));
      return [
        { ...head, model: 'set', holds: { values: held.values.filter(own) } },
        { ...head, model: 'counter', holds: { keys: Object.fromEntries(counters) } },
      ];
    });
  }

  /** What one member holds of this drill. */
  async #held(redis: Redis): Promise<Held> {
    const values = new Set<number>();
    const counters: Held['counters'] = {};
    for await (const page of keysOf(redis, this.#prefix))
      for (const key of page) {
        const name = key.slice(this.#prefix.length);
        if (!isCounter(name)) values.add(Number(name));
        else if (!(name in counters)) {
          const value = await redis.get(key);
          counters[name] = value === null ? null : Number(value);
        }
      }
    return { values: [...values], counters };
  }

  #keyOf({ k, v }: DrillOperation): string {
    return `${this.#prefix}${k ?? String(v)}`;
  }
}

const isCounter = (name: string): boolean => /^c\d+$/.test(name);

/** Who answers for each group: the owner of its slots, or whom a client would be sent to. Two of them: both, which the verdict does not overlook. */
function authoritiesOf(service: RedisService, live: RedisLive, groups: Groups): Map<string, string[]> {
  if (service.spec.mode === 'cluster') {
    const { slotOwner, nodes } = topology(live);
    return new Map(
      groups.names.map((name) => {
        const owner = nodes.get(slotOwner[groups.sample.get(name)!] ?? '')?.member;
        return [name, owner ? [owner.name] : []];
      }),
    );
  }
  return new Map([['', mastersOf(live).map((member) => member.name)]]);
}

/** Groups that nobody answers for, a sentence each. */
export function masterless(service: RedisService, live: RedisLive, groups: Groups): string[] {
  const answers = (name: string): boolean =>
    live.members.some((member) => member.name === name && member.up && member.role === 'master');
  return [...authoritiesOf(service, live, groups)].flatMap(([group, names]) =>
    names.some(answers) ? [] : [`${group || service.name} has no master that answers`],
  );
}

function groupsHeldBy(service: RedisService, member: LiveMember, live: RedisLive, groups: Groups): string[] {
  if (service.spec.mode !== 'cluster') return [''];
  const { slotOwner, nodes } = topology(live);
  const own = [...nodes.values()].find((known) => known.member?.name === member.name)?.node;
  const master = own?.master ?? own?.id;
  return groups.names.filter((name) => slotOwner[groups.sample.get(name)!] === master);
}

/** Clients that are being closed on purpose. */
const closing = new WeakSet<Redis | ClusterClient>();

function hangUp(client: Redis | ClusterClient): void {
  closing.add(client);
  client.disconnect();
}

/** ioredis prints errors of its failover detector's own connections, which it lets nobody listen to. */
class QuietConnector extends SentinelConnector {}
interface Inner {
  connectToSentinel(...given: unknown[]): Redis;
}
const inner = SentinelConnector.prototype as unknown as Inner;
(QuietConnector.prototype as unknown as Inner).connectToSentinel = function (...given) {
  const client = inner.connectToSentinel.apply(this, given);
  return client.on('error', () => {});
};

function application(service: RedisService, cluster: Cluster, live: RedisLive): Redis | ClusterClient {
  const ca = caOf(service, cluster);
  const common = {
    password: cluster.secrets[`${service.name}/password`] ?? '',
    commandTimeout: patience,
    connectTimeout: patience,
    // How long a connection that is given up may take to close: a server that hangs never closes it, and by itself ioredis waits two seconds before it connects anew.
    disconnectTimeout: 100,
    maxRetriesPerRequest: 1,
    autoResendUnfulfilledCommands: false,
    // Certificates are for names of members, and a client is sent to addresses.
    ...(ca ? { tls: { ca, checkServerIdentity: () => undefined } } : {}),
  };
  const place = ({ address, port }: { address: string; port: number }) => ({ host: address, port });
  const { mode } = service.spec;
  let client: Redis | ClusterClient;
  if (mode === 'cluster')
    client = new ClusterClient(seatsOf(service, cluster).map(place), {
      redisOptions: common,
      slotsRefreshTimeout: patience,
      slotsRefreshInterval: patience,
      clusterRetryStrategy: () => 50,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
    });
  else if (mode === 'sentinel')
    client = new Redis({
      ...common,
      sentinels: sentinelSeatsOf(service, cluster).map(place),
      name: service.name,
      sentinelPassword: common.password,
      ...(ca ? { enableTLSForSentinelMode: true, sentinelTLS: common.tls } : {}),
      sentinelRetryStrategy: () => 50,
      retryStrategy: () => 50,
      failoverDetector: true,
      Connector: QuietConnector as NonNullable<RedisOptions['Connector']>,
    } satisfies RedisOptions);
  else {
    const [master] = mastersOf(live);
    if (!master) throw new Error(`${service.name} has no master that answers`);
    client = new Redis({ ...common, ...place(master), retryStrategy: () => 50 });
  }
  // Said by each operation's own outcome.
  client.on('error', () => {});
  // A +switch-master that comes while ioredis 6.0.0 connects ends it for good: connect() is then up to the application.
  client.on('end', () => {
    setTimeout(() => {
      if (!closing.has(client)) client.connect().catch(() => {});
    }, 50);
  });
  return client;
}
