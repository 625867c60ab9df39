import { z } from 'zod';
import { canonical, parseAddress } from '../../file/addresses.ts';
import { check } from '../../file/check.ts';
import { duration, port } from '../../file/units.ts';
import { type Forward, schedulers } from './tables.ts';

const forwards = ['nat', 'fullnat', 'dr', 'tun'] as const;
const planes = ['auto', 'ipvs', 'nftables', 'haproxy'] as const;

const address = z
  .string()
  .refine(
    (written) => parseAddress(written) !== undefined,
    'not an address: write for example 10.77.0.100 or fd00:77::100, without a prefix',
  )
  .transform(canonical);

const portForm = 'not a port: write 80, or a range as "8000-8010"';

/** `80` or `"8000-8010"`: first and last port. */
const ports = z
  .union([port, z.string().regex(/^\d{1,5}-\d{1,5}$/, portForm)], {
    error: ({ input }) =>
      input === undefined
        ? undefined
        : typeof input === 'number'
          ? `${input} is no port: a whole number from 1 to 65535`
          : portForm,
  })
  .transform((written, context): [number, number] => {
    if (typeof written === 'number') return [written, written];
    const [first, last] = written.split('-').map(Number) as [number, number];
    if (first >= 1 && last <= 65535 && first < last) return [first, last];
    context.issues.push({
      code: 'custom',
      message:
        first >= last
          ? 'the range is empty: write it low-high'
          : `${written} is no range of ports: from 1 to 65535`,
      input: written,
    });
    return z.NEVER;
  });

const listen = z.strictObject({
  port: ports.describe('Port on the VIP, or a range: 80, "8000-8010"'),
  proto: z.enum(['tcp', 'udp']).default('tcp').describe('Protocol'),
  to: z.string().describe('Service whose members are the real servers'),
  at: z
    .string()
    .optional()
    .describe("Which of the service's ports: its name, for example management; default: the one clients use"),
  scheduler: z
    .enum(schedulers)
    .default('wlc')
    .describe('Which real server a new connection goes to, as in LVS'),
  forward: z
    .enum(forwards)
    .optional()
    .describe(
      'How packets reach a real server: nat (default; replies come back through the director), fullnat (the real server needs nothing), dr (replies go straight to the client), tun',
    ),
  plane: z
    .enum(planes)
    .default('auto')
    .describe('What moves the packets: auto, ipvs, nftables, or haproxy (a proxy)'),
  persistence: duration()
    .prefault('0')
    .describe("A client's connections stay with one server for this long after its last one; 0: they do not"),
  weights: z
    .record(
      z.string().min(1),
      z.int('a weight is a whole number from 0 to 65535').min(0, 'a weight is at least 0').max(65535),
    )
    .default({})
    .describe('Weight of a host or a member; default 1; 0 takes no new connection'),
  hash: z.literal('port').optional().describe("For sh and mh: hash the client's port as well as its address"),
  sorry: z.string().optional().describe('Service that answers when no real server is left'),
  idle: duration({ min: 1000 })
    .optional()
    .describe('After how long without a packet a connection is forgotten; default 15m for tcp, 5m for udp'),
  check: check.optional().describe("Health check; default: the service's own"),
});

/**
 * `type: director`: virtual services on a VIP. Durations are milliseconds, `listen[].port` is the first and last port.
 * `listen[].forward` is undefined where the file does not say it: `forwardOf` gives what then holds.
 */
export const schema = z.strictObject({
  vip: z
    .union([address.transform((one) => [one]), z.array(address).min(1).max(64)], {
      error: (issue) =>
        issue.input === undefined
          ? undefined
          : 'not an address or a list of addresses: write for example 10.77.0.100',
    })
    .refine((vips) => new Set(vips).size === vips.length, 'the same address stands there twice')
    .describe('Virtual address that clients use, or a list of them; IPv4 and IPv6'),
  listen: z.array(listen).min(1).max(1000).describe('Virtual services'),
  preempt: z
    .boolean()
    .default(true)
    .describe('The first director of `hosts` takes the VIP back when it returns'),
  advert: duration({ min: 10, max: 10_000 })
    .refine((ms) => ms % 10 === 0, 'VRRP counts in hundredths of a second: write a multiple of 10ms')
    .prefault('50ms')
    .describe('Time between VRRP adverts; a dead owner is noticed after about three'),
  unicast: z
    .boolean()
    .default(false)
    .describe('Send adverts to the other directors only, where multicast is filtered'),
});

export type DirectorSpec = z.infer<typeof schema>;
export type ListenSpec = DirectorSpec['listen'][number];

/** How the listen's packets reach real servers; `nat` where the file does not say. */
export function forwardOf(listen: Pick<ListenSpec, 'forward'>): Forward {
  return listen.forward ?? 'nat';
}

/** `tcp-80`, `udp-8000-8010`: the listen's name in the director's tables. */
export function listenName(listen: Pick<ListenSpec, 'proto' | 'port'>): string {
  const [first, last] = listen.port;
  return first === last ? `${listen.proto}-${first}` : `${listen.proto}-${first}-${last}`;
}
