import { z } from 'zod';
import { duration, line, port, size } from '../../file/units.ts';

const setting = z.union([line, z.number(), z.boolean()]);

const topic = z
  .strictObject({
    partitions: z
      .int()
      .min(1)
      .max(10_000)
      .default(1)
      .describe('Can grow later, never shrink; order holds within one partition only'),
    replication: z
      .int()
      .min(1)
      .max(15)
      .optional()
      .describe('Copies of each partition. Default: 3, or as many as there are brokers'),
    minInsync: z
      .int()
      .min(1)
      .max(15)
      .optional()
      .describe(
        'Copies that must have a record before acks=all is answered; with fewer in sync writes are refused. Default: 2, or 1 without replication',
      ),
    retention: z
      .union([z.literal('forever'), duration({ min: 1000 })])
      .optional()
      .describe("How long records are kept: for example 168h, or forever. Default: the brokers' (168h)"),
    retentionSize: size({ min: 1024 })
      .optional()
      .describe('Bytes of each partition that are kept at most. Default: no limit'),
    cleanup: z
      .enum(['delete', 'compact', 'both'])
      .default('delete')
      .describe('delete: old segments go. compact: the last record of each key stays. both: both'),
    config: z
      .record(z.string(), setting)
      .default({})
      .describe('Any other key of a topic, e.g. { segment.bytes: 104857600 }'),
  })
  .describe('A topic that is created, and changed when this says otherwise');

/** What a `type: kafka` service may say. */
export const schema = z.strictObject({
  controllers: z
    .array(z.string())
    .default([])
    .describe(
      'Hosts of controllers of their own. Without them the first three brokers (with less than three: the first) are controllers as well',
    ),
  metadata: z
    .string()
    .optional()
    .describe(
      'A zookeeper of this file that keeps the metadata, for Kafka 3.9. Without it controllers of Kafka itself keep it (KRaft)',
    ),
  topics: z
    .record(z.string(), topic)
    .default({})
    .describe(
      'Topics by name. Others, made by applications, are left alone; so is a topic that leaves the file',
    ),
  acks: z
    .union([z.literal('all'), z.literal(1)])
    .default('all')
    .describe(
      'What applications are told to write with (NAME_ACKS), and drills write with. 1: a record is acknowledged when its leader has it, and is lost with that one',
    ),
  users: z
    .array(z.string().regex(/^[A-Za-z][A-Za-z0-9._-]*$/, 'not a name: letters, digits, dot, - and _'))
    .default([])
    .describe('Further users beside "app"; each gets a password of its own'),
  port: port.default(9092).describe('Port for clients and between brokers'),
  controllerPort: port.default(9093).describe('Port of the controllers'),
  tls: z
    .boolean()
    .default(false)
    .describe('TLS for clients, between brokers and to the controllers; the plain ports are closed'),
  timing: z
    .union([
      z.enum(['default', 'fast']),
      z.strictObject({
        session: duration({ min: 1_000, max: 60_000 }).describe(
          'Silence after which a broker is fenced (broker.session.timeout.ms)',
        ),
      }),
    ])
    .optional()
    .describe(
      'How soon a silent broker counts as lost. default: 9 s, as Kafka has it. fast: 1 s; a pause that long moves its leaders for nothing. Without it: fast if promise.rto is under 12s. Or exactly: { session: 3s }',
    ),
  heap: size({ min: 128 * 2 ** 20 })
    .optional()
    .describe('Java heap. Default: 320mb on lab hosts, else a quarter of the memory, 512mb to 6gb'),
  memory: size({ min: 384 * 2 ** 20 })
    .optional()
    .describe('Hard limit on all memory of a member; at least the heap and 256mb'),
  throttle: size({ min: 1024 })
    .prefault('50mb')
    .describe('Bytes per second that moving partitions may take at each broker'),
  autoCreate: z
    .boolean()
    .default(false)
    .describe('Topics come into being when a client first names them, a misspelt one too'),
  version: z
    .string()
    .regex(/^(4\.\d+|3\.9)\.\d+$/, 'a Kafka 4 version, e.g. 4.3.1, or 3.9.x with metadata')
    .optional()
    .describe('Which Kafka; fetched once for the machine. Default: 4.3.1, or 3.9.1 with metadata'),
  path: z
    .string()
    .optional()
    .describe('Folder of an unpacked Kafka on this machine; its jars are in PATH/libs'),
  tarball: z
    .url({ protocol: /^https?$/, error: 'not an http or https URL' })
    .optional()
    .describe('Where to fetch kafka_2.13-VERSION.tgz, before Maven is tried'),
  checksum: z
    .string()
    .regex(/^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$/, 'a sha256 or sha512 in hex')
    .optional()
    .describe('What the tarball must hash to'),
  config: z
    .record(z.string(), setting)
    .default({})
    .describe('Any other key of server.properties, e.g. { num.io.threads: 4 }'),
});

export type KafkaSpec = z.output<typeof schema>;
export type TopicSpec = z.output<typeof topic>;
