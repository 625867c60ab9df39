import { z } from 'zod';
import { check } from '../../file/check.ts';
import { duration, line, port, size, text } from '../../file/units.ts';

const path = z.string().regex(/^\/\S*$/, 'a path, as /file.bin');

const drill = z
  .strictObject({
    request: z
      .string()
      .regex(/^(POST|PUT) \/\S*$/, 'a method and a path, as `POST /order`')
      .transform((text) => {
        const [method, path] = text.split(' ') as [string, string];
        return { method, path };
      })
      .describe(
        'What a client of `drill --end-to-end` sends, with an Idempotency-Key of its own each time; any 2xx acknowledges it',
      )
      .optional(),
    read: z
      .string()
      .regex(/^\/\S*\{id\}\S*$/, 'a path with {id} in it, as "/order/{id}"')
      .describe('Where one is looked up by its key in the end: 200, or 404 when it is not known')
      .optional(),
    complete: z
      .array(line)
      .default([])
      .describe('Fields that the JSON of the answer has once everything has been done'),
    download: path
      .optional()
      .describe('Something of tens of megabytes, which clients of every drill take slowly: does it break?'),
    websocket: path
      .optional()
      .describe(
        'Answered as a websocket, which clients of every drill hold open: is it cut, and how soon back?',
      ),
  })
  .refine(
    ({ request, read }) => (request === undefined) === (read === undefined),
    'request and read belong together: what is sent, and where it is looked up in the end',
  );

export interface TransactionSpec {
  request: { method: string; path: string };
  read: string;
  complete: string[];
}

/** `type: app`: a user's own server process, one on each host. Durations are milliseconds, sizes bytes. */
export const schema = z.strictObject({
  command: text.describe(
    'Shell command line that starts the server and stays in the foreground; of several commands in a line the last needs exec before it',
  ),
  port: port.describe('Port the server listens on; given to it as PORT, its address as ADDRESS'),
  check: check
    .prefault({ tcp: true })
    .describe('How to know that the server serves; default: its port accepts a connection'),
  env: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a variable is letters, digits and _, not a digit first'),
      z
        .string({
          error: (issue) =>
            typeof issue.input === 'number' || typeof issue.input === 'boolean'
              ? `a variable is text: write "${issue.input}" with quotes`
              : undefined,
        })
        .refine((value) => !value.includes('\0'), 'must not hold a NUL character'),
    )
    .default({})
    .describe('Environment variables'),
  release: line
    .optional()
    .describe('Folder, relative to this file, that is shipped to the hosts; the command then runs in it'),
  build: line
    .optional()
    .describe(
      'Command run on this machine in the release folder before it is shipped; what it puts into the folder $OUT is shipped in its place',
    ),
  register: line
    .optional()
    .describe(
      "A zookeeper of `uses` in which each member has a node while its check passes; a director's pool then follows the nodes",
    ),
  drill: drill.optional().describe('What clients of `drill` do beside short requests'),
  memory: size({ min: 2 ** 20 })
    .optional()
    .describe('Most memory the process may take, for example 256mb'),
  files: z.int().min(16).max(1_048_576).optional().describe('Most files and connections it may have open'),
  drain: duration({ max: 3_600_000 })
    .prefault('5s')
    .describe('How long its connections may take to end before it is stopped'),
  stop: duration({ max: 3_600_000 })
    .prefault('10s')
    .describe('How long it may take to end after SIGTERM before SIGKILL'),
  start: duration({ min: 100, max: 3_600_000 })
    .prefault('30s')
    .describe('How long it may take until its check passes'),
});

export type AppSpec = z.infer<typeof schema>;
