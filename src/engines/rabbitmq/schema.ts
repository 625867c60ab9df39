import { z } from 'zod';
import { check } from '../../file/check.ts';
import { duration, line, port, size } from '../../file/units.ts';

export const partitionModes = ['pause_minority', 'autoheal', 'ignore'] as const;

/** RabbitMQ's short strings: names of vhosts, queues, exchanges (AMQP 0-9-1: at most 255 bytes of UTF-8). */
const name = line.refine((text) => Buffer.byteLength(text) <= 255, 'a name is at most 255 bytes');
const value = z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()]))]);
const table = z
  .record(z.string().min(1), value)
  .default({})
  .describe('Further arguments by their AMQP names: { x-message-ttl: 60000 }');

const queue = z
  .strictObject({
    type: z
      .enum(['quorum', 'classic'])
      .default('quorum')
      .describe('quorum: agreed on by a majority of its members. classic: on one node, or mirrored'),
    durable: z.boolean().default(true).describe('Survives a restart of its node'),
    members: z
      .int()
      .min(1)
      .max(9)
      .optional()
      .describe('quorum: how many nodes hold it; default every node, at most 5'),
    mirrored: z
      .union([z.literal('all'), z.int().min(2).max(9)])
      .optional()
      .describe(
        'classic: how many nodes hold a copy, or all. Mirrors may lose confirmed messages: prefer quorum',
      ),
    arguments: table,
  })
  .prefault({});

const exchange = z
  .strictObject({
    type: z.string().min(1).default('direct').describe('direct, fanout, topic, headers, or one of a plugin'),
    durable: z.boolean().default(true).describe('Survives a restart'),
    autoDelete: z.boolean().default(false).describe('Goes when its last binding goes'),
    internal: z.boolean().default(false).describe('Clients cannot publish to it'),
    arguments: table,
  })
  .prefault({});

const binding = z.strictObject({
  from: name.describe('Exchange that messages come from'),
  to: name.optional().describe('Queue that they go to'),
  toExchange: name.optional().describe('Exchange that they go to, instead of a queue'),
  key: z.string().default('').describe('Routing key, or a pattern of one'),
  arguments: table,
});

const policy = z.strictObject({
  pattern: line.describe('Regular expression on names of queues or exchanges'),
  apply: z.enum(['all', 'queues', 'exchanges']).default('all').describe('What it applies to'),
  priority: z.int().default(0).describe('Of those that match, the highest applies, alone'),
  definition: z
    .record(z.string().min(1), value)
    .describe('What it sets: { message-ttl: 60000, dead-letter-exchange: dead }'),
});

const permission = z.string().describe('Regular expression on names; empty: none');
const user = z
  .strictObject({
    configure: permission.default('').describe('Names that it may declare and delete; empty: none'),
    write: permission.default('').describe('Names that it may publish or bind to; empty: none'),
    read: permission.default('').describe('Names that it may consume or bind from; empty: none'),
    tags: z
      .array(z.enum(['management', 'policymaker', 'monitoring', 'administrator']))
      .default([])
      .describe('Rights on the management page'),
  })
  .prefault({});

/** `type: rabbitmq`. Durations are milliseconds, sizes bytes. */
export const schema = z.strictObject({
  port: port.max(45_535).default(5672).describe('AMQP port; nodes talk to each other on this port + 20000'),
  management: port.optional().describe('Port of the management page and API; default: the AMQP port + 10000'),
  ram: z
    .array(z.string())
    .default([])
    .describe('Hosts whose node keeps the definitions in memory only; at least one other host stays on disk'),
  partitions: z
    .enum(partitionModes)
    .default('pause_minority')
    .describe(
      'When the network splits: pause_minority (nodes without a majority stop serving), autoheal (the losing side restarts), ignore',
    ),
  timing: z
    .enum(['default', 'fast'])
    .optional()
    .describe(
      "How soon a silent node counts as dead. default: RabbitMQ's own 60 s. fast: 3 s; a pause that long then counts as a failure. Without it: fast if promise.rto is under 10s",
    ),
  vhost: name.default('/').describe('Virtual host of everything below; made if it is not there'),
  vhosts: z
    .array(name)
    .default([])
    .describe("Further virtual hosts, made if they are not there, all open to the application's own user"),
  queues: z.record(name, queue).default({}).describe('Queues by name'),
  exchanges: z.record(name, exchange).default({}).describe('Exchanges by name'),
  bindings: z.array(binding).default([]).describe('What goes from which exchange to which queue'),
  policies: z.record(name, policy).default({}).describe('Policies by name'),
  users: z
    .record(
      z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'lower-case letters, digits and -, a letter first'),
      user,
    )
    .default({})
    .describe('Further users of the vhost, each with a password of its own: NAME_USER_PASSWORD'),
  memory: z
    .union([z.number().gt(0).max(1), size({ min: 64 * 2 ** 20 })])
    .default(0.4)
    .describe("Publishers are held back above this: a part of the host's memory (0.4), or a size (512mb)"),
  disk: size({ min: 2 ** 20 })
    .prefault('50mb')
    .describe('Publishers are held back when less than this is free on disk'),
  config: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_.]*$/, 'a key of rabbitmq.conf'),
      z.union([line, z.number(), z.boolean()]),
    )
    .default({})
    .describe('Any other key of rabbitmq.conf: { channel_max: 100 }'),
  check: check
    .prefault({ amqp: true, interval: '500ms', timeout: '2s' })
    .describe('How directors know that a node serves; default: it begins an AMQP conversation'),
  drain: duration({ max: 3_600_000 })
    .prefault('500ms')
    .describe(
      'How long connections may take to end before a node is restarted; clients reconnect by themselves',
    ),
  start: duration({ min: 1000, max: 3_600_000 })
    .prefault('120s')
    .describe('How long a node may take until it serves'),
});

export type RabbitSpec = z.infer<typeof schema>;
export type QueueSpec = RabbitSpec['queues'][string];
