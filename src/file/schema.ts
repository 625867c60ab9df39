import { type ZodType, z } from 'zod';
import { canonical, parseAddress, parseRange } from './addresses.ts';
import { shapeOf } from './shape.ts';
import { duration, line, size } from './units.ts';

/** What the file floor needs of an engine to say which words its part of the file has. */
export interface Vocabulary {
  type: string;
  schema: ZodType;
}

const nameForm = 'lower-case letters, digits and -, a letter first';
/** Becomes part of folder, interface and table names. */
export const clusterName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,30}$/, `a cluster's name is at most 31 ${nameForm}`);
const serviceName = z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, `a service's name is at most 31 ${nameForm}`);
const hostName = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, `a host's name is at most 63 ${nameForm}`);

const addressOf = (family: 4 | 6, example: string) =>
  z
    .string()
    .refine(
      (written) => parseAddress(written)?.family === family,
      `not an IPv${family} address: write for example ${example}`,
    )
    .transform(canonical);

const rangeOf = (family?: 4 | 6) =>
  z.string().transform((written, context) => {
    const range = parseRange(written);
    if (typeof range !== 'string' && (family === undefined || range.family === family)) return range;
    const message = typeof range === 'string' ? range : `this is an IPv${range.family} network`;
    context.issues.push({ code: 'custom', message, input: written });
    return z.NEVER;
  });

const host = z
  .strictObject({
    ssh: line
      .regex(/^[^\s-]\S*$/, 'not a host for ssh: write for example root@203.0.113.7')
      .optional()
      .describe('A real machine, as ssh is told it: root@203.0.113.7, or an alias of ssh_config'),
    address: addressOf(4, '10.77.0.11')
      .optional()
      .describe('IPv4 address that members listen on; default: a free one (lab), or the address in ssh'),
    address6: addressOf(6, 'fd00:77::11').optional().describe('IPv6 address, in a cluster with an IPv6 VIP'),
    disk: size({ min: 2 ** 26 })
      .optional()
      .describe(
        "A lab host's disk of its own, which a drill can fill: 512mb; default: it shares this machine's",
      ),
    clock: z
      .literal('own')
      .optional()
      .describe("A lab host's wall clock of its own, which a drill can set: own; default: this machine's"),
  })
  .nullable();

const network = z.union([
  rangeOf(),
  z.strictObject({
    ipv4: rangeOf(4).optional().describe('For example 10.77.0.0/24'),
    ipv6: rangeOf(6).optional().describe('For example fd00:77::/64'),
  }),
]);

/** The root of the file; each service is looked at on its own, by the schema of its type. */
export const root = z.strictObject({
  cluster: clusterName.describe('Name of the cluster'),
  network: network.optional().describe('Network of the lab hosts; default: the /24 around the first VIP'),
  hosts: z
    .record(hostName, host)
    .refine((hosts) => Object.keys(hosts).length > 0, 'needs at least one host, for example `app1: {}`')
    .refine((hosts) => Object.keys(hosts).length <= 10_000, 'has more than 10000 hosts')
    .describe(
      'Hosts by name: {} is a network namespace on this machine, { ssh: root@203.0.113.7 } a real machine',
    ),
  services: z
    .record(serviceName, z.unknown())
    .refine((services) => Object.keys(services).length > 0, 'needs at least one service')
    .refine((services) => Object.keys(services).length <= 1000, 'has more than 1000 services')
    .describe('Services by name'),
});

/** The keys that every service has. */
export const common = {
  hosts: z
    .array(z.string())
    .min(1, 'needs at least one host')
    .describe('Hosts that it runs on, one member each or more'),
  uses: z
    .array(z.string())
    .default([])
    .describe('Services whose address and secret it is given: CART_URL and so on'),
  promise: z
    .strictObject({
      rto: duration({ min: 1 })
        .optional()
        .describe('Longest time that clients may be without answers in a fault'),
      lostWrites: z.int().min(0).optional().describe('Most acknowledged writes that may be lost in a fault'),
    })
    .optional()
    .describe('What `phalanx drill` holds the service to'),
};

/** JSON Schema (draft 7, which editors know best) of the whole file: services are told apart by `type`. Has `$id`, no `$ref`. */
export function jsonSchema(engines: Iterable<Vocabulary>): Record<string, unknown> {
  const services = [...engines].map(({ type, schema }) =>
    z.strictObject({ type: z.literal(type).describe('Engine'), ...common, ...shapeOf(schema) }),
  );
  const union = z.discriminatedUnion('type', services as [(typeof services)[number], ...typeof services]);
  const file = root.extend({ services: z.record(serviceName, union).describe('Services by name') });
  const made = z.toJSONSchema(file, { io: 'input', target: 'draft-7' }) as Record<string, unknown>;
  return {
    ...made,
    title: 'A Phalanx cluster',
    description: 'The hosts and services of a highly available cluster: phalanx up FILE',
    // Root keys that start with x- are the user's own: a place for anchors.
    patternProperties: { '^x-': {} },
  };
}
