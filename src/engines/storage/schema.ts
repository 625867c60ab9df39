import { z } from 'zod';
import { line } from '../../file/units.ts';

/** What a `type: storage` service may say. */
export const schema = z.strictObject({
  at: line
    .regex(/^(\/[A-Za-z0-9._-]+)+$/, 'an absolute path of letters, digits, dots, dashes and underscores')
    .refine((path) => !path.split('/').some((part) => part === '.' || part === '..'), 'without . and ..')
    .optional()
    .describe(
      'Where the hosts of services that use it have it mounted; default /run/phalanx/CLUSTER/SERVICE. On lab hosts below /run',
    ),
  arbiter: z
    .boolean()
    .default(false)
    .describe(
      'The last of the three hosts keeps names and attributes only, no contents: two copies, and still a majority',
    ),
  timing: z
    .enum(['default', 'fast'])
    .optional()
    .describe(
      'How long reads and writes wait for a silent host before they go on without it. default: 42 s, as GlusterFS has it. fast: 3 s; a host that is held up that long is given up and has to be healed. Without it: fast if promise.rto is under 50s',
    ),
});

export type StorageSpec = z.output<typeof schema>;
