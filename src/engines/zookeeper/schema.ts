import { z } from 'zod';
import { duration, line, port, size } from '../../file/units.ts';

/** What a `type: zookeeper` service may say. */
export const schema = z.strictObject({
  observers: z
    .array(z.string())
    .default([])
    .describe('Further hosts, with a member each that serves reads and forwards writes but has no vote'),
  port: port.default(2181).describe('Port for clients'),
  peerPort: port.default(2888).describe('Port at which followers reach the leader'),
  electionPort: port.default(3888).describe('Port for electing a leader'),
  timing: z
    .union([
      z.enum(['default', 'fast']),
      z.strictObject({
        tickTime: duration({ min: 100, max: 10_000 }).describe(
          'A silent leader is left after four ticks; sessions last two ticks at least',
        ),
      }),
    ])
    .optional()
    .describe(
      'How soon a silent server counts as lost. default: 10 s, as ZooKeeper has it. fast: 800 ms; a pause that long elects a new leader for nothing. Without it: fast if promise.rto is under 12s. Or exactly: { tickTime: 500ms }',
    ),
  heap: size({ min: 64 * 2 ** 20 })
    .optional()
    .describe(
      'Java heap; must hold the whole tree. Default: 256mb on lab hosts, else an eighth of the memory, 128mb to 1gb',
    ),
  memory: size({ min: 192 * 2 ** 20 })
    .optional()
    .describe('Hard limit on all memory of a member; at least the heap and 128mb'),
  snapshots: z
    .strictObject({
      keep: z.int().min(3).max(1000).default(3).describe('Snapshots kept, each with its transaction logs'),
      every: duration({ min: 3_600_000 })
        .prefault('1h')
        .describe('How often older ones are removed, in whole hours; 0 is not possible: disks fill'),
    })
    .prefault({})
    .describe('Removal of old snapshots and transaction logs'),
  clients: z
    .int()
    .min(0)
    .default(300)
    .describe('Connections that one address may have to one member; 0: no limit'),
  readOnly: z
    .boolean()
    .default(false)
    .describe('Members that lost the majority go on serving reads, to clients that ask for it'),
  config: z
    .record(z.string(), z.union([line, z.number(), z.boolean()]))
    .default({})
    .describe('Any other key of zoo.cfg, e.g. { snapCount: 50000 }'),
});

export type ZooKeeperSpec = z.output<typeof schema>;
