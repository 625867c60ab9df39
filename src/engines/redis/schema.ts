import { z } from 'zod';
import { duration, size } from '../../file/units.ts';

export const modes = ['replication', 'sentinel', 'cluster'] as const;
export const persistences = ['none', 'rdb', 'aof', 'mixed'] as const;
export const evictions = [
  'noeviction',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'volatile-ttl',
] as const;

const port = z.number().int().min(1).max(55_535);

const buffer = z.strictObject({
  hard: size().describe(
    'A client whose unread replies reach this size is disconnected at once; 0: no limit.',
  ),
  soft: size().prefault(0).describe('A client above this size for `seconds` is disconnected; 0: no limit.'),
  seconds: z.number().int().nonnegative().default(0).describe('How long a client may stay above `soft`.'),
});

const user = z.strictObject({
  commands: z
    .array(z.string().regex(/^[+-][@a-z0-9|_.-]+$/, 'a rule such as +@read, -@dangerous or +get'))
    .default(['+@all', '-@dangerous'])
    .describe(
      'What the user may run, as ACL rules in order: +@read, +get, -@dangerous. Nothing is allowed that is not named.',
    ),
  keys: z.array(z.string().min(1)).default(['*']).describe('Patterns of the keys it may touch.'),
  channels: z
    .array(z.string().min(1))
    .default(['*'])
    .describe('Patterns of the channels it may publish and subscribe to.'),
});

/** Least values: below them masters are deposed for nothing even on a machine that is not busy, or (downAfter) twice (timing.ts). */
const exactTiming = z
  .strictObject({
    nodeTimeout: duration({ min: 200, max: 60_000 })
      .optional()
      .describe('cluster: silence after which a master is taken for dead (cluster-node-timeout).'),
    downAfter: duration({ min: 800, max: 60_000 })
      .optional()
      .describe('sentinel: silence after which a master is taken for dead (down-after-milliseconds).'),
  })
  .refine(
    ({ nodeTimeout, downAfter }) => (nodeTimeout === undefined) !== (downAfter === undefined),
    'says one of nodeTimeout (mode cluster) and downAfter (mode sentinel)',
  );

/** What a `type: redis` service may say. */
export const redisSchema = z.strictObject({
  mode: z
    .enum(modes)
    .default('replication')
    .describe(
      'replication: one master and replicas, no failover by itself. sentinel: failover by Redis Sentinel. cluster: keys spread over shards, failover by Redis Cluster.',
    ),
  shards: z
    .number()
    .int()
    .min(1)
    .max(500)
    .optional()
    .describe('cluster: how many masters share the 16384 slots (at least 3, the default).'),
  replicas: z
    .number()
    .int()
    .min(0)
    .max(50)
    .optional()
    .describe('Replicas of each master. Default: 1 in cluster mode; else one member on each host.'),
  port: port
    .default(6379)
    .describe(
      'Port of the first member on a host; further members of the service on that host get port + 1, + 2, ...',
    ),
  sentinelPort: port.default(26_379).describe('sentinel: port of the sentinels.'),
  sentinels: z
    .number()
    .int()
    .min(3)
    .max(15)
    .optional()
    .describe(
      'sentinel: how many sentinels, one a host from the first on. Default: one on each host, and an odd number.',
    ),
  quorum: z
    .number()
    .int()
    .min(1)
    .optional()
    .describe(
      'sentinel: how many sentinels must find the master dead before one asks to fail over. Default: the majority.',
    ),
  depth: z
    .number()
    .int()
    .min(1)
    .max(8)
    .default(1)
    .describe('replication: length of the chains: 2 makes master, replica, replica of the replica.'),
  upstream: z
    .record(z.string(), z.string())
    .optional()
    .describe(
      'replication: which member each replica copies from, instead of `depth`: { cart@data3: cart@data2 }. Members not named copy from the master.',
    ),
  timing: z
    .union([z.enum(['default', 'fast']), exactTiming])
    .optional()
    .describe(
      'How soon a silent master counts as dead. default: 5 s, calm on busy machines. fast: about half a second; a pause that long (a swap, a slow fork, a stolen CPU) fails over for nothing. Without it: fast if promise.rto is under 10s. Or exactly: { nodeTimeout: 1s } (cluster), { downAfter: 1s } (sentinel).',
    ),
  persistence: z
    .enum(persistences)
    .default('aof')
    .describe(
      'none: memory only. rdb: snapshots, minutes may be lost. aof: every write logged and synced each second. mixed: aof that begins with a snapshot, quicker to load.',
    ),
  eviction: z
    .enum(evictions)
    .default('noeviction')
    .describe('What goes when maxmemory is reached; noeviction refuses writes instead.'),
  maxmemory: size().optional().describe('Memory for data of each member, e.g. 256mb. Without it: no limit.'),
  maxclients: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('Connections that a member accepts at once.'),
  buffers: z
    .strictObject({
      normal: buffer.optional().describe('Ordinary clients; Redis has no limit for them by default.'),
      replica: buffer.optional().describe('Replicas; default 256mb hard, 64mb for 60 s.'),
      pubsub: buffer.optional().describe('Subscribers; default 32mb hard, 8mb for 60 s.'),
    })
    .optional()
    .describe('Limits on replies that wait for a slow client.'),
  minReplicas: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe(
      'A master with fewer replicas than this in touch refuses writes, so a master that is cut off with its clients loses about 12 s of them at most (fast: 4 s). Default: 1 with two or more replicas, else 0 (the loss of the only replica would stop writes).',
    ),
  tls: z
    .boolean()
    .default(false)
    .describe(
      'Encrypt everything (clients, replication, the cluster bus) with generated certificates; plain connections are then refused.',
    ),
  allow: z
    .array(z.string().regex(/^[@a-z0-9|_-]+$/, 'a command such as keys or config|get'))
    .default([])
    .describe('Dangerous commands that the application may use nevertheless: [keys, flushdb].'),
  users: z
    .record(z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'lower-case letters, digits and -'), user)
    .default({})
    .describe(
      'Further users, each with a generated password, given to services that use this one as NAME_USERNAME_PASSWORD.',
    ),
  config: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
    .default({})
    .describe('Any other directive of redis.conf by its name, e.g. { repl-backlog-size: 64mb }.'),
  promise: z
    .strictObject({
      rto: duration().optional().describe('Longest time without writes when a master dies.'),
      lostWrites: z
        .number()
        .int()
        .nonnegative()
        .optional()
        .describe('How many acknowledged writes may be lost when a master is killed.'),
    })
    .optional()
    .describe('What `phalanx drill` holds this service to.'),
});

export type RedisSpec = z.output<typeof redisSchema>;
