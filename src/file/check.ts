import { z } from 'zod';
import type { Check } from '../check/check.ts';
import { duration, line, text } from './units.ts';

const statusPattern = /^[1-5]\d\d(-[1-5]\d\d)?$/;
const statusForm = 'not a status: write for example 200 or 200-299';

/** What is asked of a server whose file names no check: that its port accepts a connection. */
export const defaultCheck: Check = { kind: 'tcp', intervalMs: 500, timeoutMs: 1000, rise: 1, fall: 2 };

/** A health check in the file (`{ http: /healthz }`, `{ tcp: true }`, `{ amqp: true }`, `{ script: ./check.sh }`), a `Check` after parsing. */
export const check = z
  .strictObject({
    http: line
      .regex(/^\/\S*$/, 'a path starts with / and holds no space')
      .optional()
      .describe('Path asked for with GET; statuses 200 to 399 are healthy'),
    tcp: z.literal(true).optional().describe('The port accepts a connection'),
    amqp: z
      .literal(true)
      .optional()
      .describe('The server begins a conversation in AMQP 0-9-1, as RabbitMQ does'),
    script: text
      .optional()
      .describe('Shell command line, ADDRESS and PORT in its environment; exit 0 is healthy'),
    host: line.optional().describe('Host header of the http check; default: the address'),
    status: z
      .union([z.int().min(100).max(599), z.string().regex(statusPattern, statusForm)], {
        error: (issue) => (issue.input === undefined ? undefined : statusForm),
      })
      .optional()
      .describe('Statuses that are healthy: 200 or 200-299'),
    interval: duration({ min: 10, max: 3_600_000 }).prefault('500ms').describe('Time between two probes'),
    timeout: duration({ min: 1, max: 600_000 })
      .prefault('1s')
      .describe('A probe without an answer by then has failed'),
    rise: z.int().min(1).max(1000).default(1).describe('Successes in a row before a server comes in'),
    fall: z.int().min(1).max(1000).default(2).describe('Failures in a row before a server goes out'),
  })
  .superRefine((value, context) => {
    const kinds = (['http', 'tcp', 'amqp', 'script'] as const).filter((kind) => value[kind] !== undefined);
    if (kinds.length > 1)
      context.addIssue({
        code: 'custom',
        path: [kinds[1]!],
        message: `a check is one of http, tcp, amqp and script, not ${kinds.join(' and ')}`,
      });
    for (const key of ['host', 'status'] as const)
      if (value[key] !== undefined && value.http === undefined)
        context.addIssue({ code: 'custom', path: [key], message: `"${key}" belongs to an http check` });
    if (typeof value.status === 'string') {
      const [low, high] = value.status.split('-').map(Number);
      if (high !== undefined && high < low!)
        context.addIssue({
          code: 'custom',
          path: ['status'],
          message: 'the range is empty: write it low to high',
        });
    }
  })
  .transform((value): Check => {
    const times = {
      intervalMs: value.interval,
      timeoutMs: value.timeout,
      rise: value.rise,
      fall: value.fall,
    };
    if (value.script !== undefined) return { kind: 'script', command: value.script, ...times };
    if (value.http === undefined) return { kind: value.amqp ? 'amqp' : 'tcp', ...times };
    const made: Check = { kind: 'http', path: value.http, ...times };
    if (value.host !== undefined) made.host = value.host;
    if (value.status !== undefined) {
      const [low, high] = String(value.status).split('-').map(Number);
      made.status = [low!, high ?? low!];
    }
    return made;
  });
