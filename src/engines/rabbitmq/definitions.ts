import { isDeepStrictEqual } from 'node:util';
import type { Cluster } from '../../file/cluster.ts';
import { adminUser, appUser, type RabbitService } from './names.ts';
import { matches, passwordHash } from './password.ts';
import type { QueueSpec } from './schema.ts';

type Arguments = Record<string, unknown>;

/** What the cluster has, as RabbitMQ exports it, as far as it is looked at. */
export interface Definitions {
  users: { name: string; password_hash: string; hashing_algorithm?: string; tags: string | string[] }[];
  vhosts: { name: string }[];
  permissions: { user: string; vhost: string; configure: string; write: string; read: string }[];
  policies: {
    vhost: string;
    name: string;
    pattern: string;
    'apply-to': string;
    definition: Arguments;
    priority: number;
  }[];
  queues: { name: string; vhost: string; durable: boolean; arguments: Arguments; down?: true }[];
  exchanges: {
    name: string;
    vhost: string;
    type: string;
    durable: boolean;
    auto_delete: boolean;
    internal: boolean;
    arguments: Arguments;
  }[];
  bindings: {
    source: string;
    vhost: string;
    destination: string;
    destination_type: string;
    routing_key: string;
    arguments: Arguments;
  }[];
}

/** One thing to make as the file says: a call of the management API, and why. */
export interface Change {
  /** What it is about: 'queue mail'. */
  what: string;
  why: string;
  calls: { method: 'PUT' | 'POST' | 'DELETE'; path: string; body?: unknown }[];
  /** Deletes what is there, with the messages in it, and makes it anew: nothing else changes a queue's nature. */
  destroys?: true;
}

/** Policies that stand for `mirrored`: ours by their names. */
const mirrorPolicy = (queue: string): string => `phalanx-mirror-${queue}`;

export const queueArguments = (queue: QueueSpec): Arguments => ({
  'x-queue-type': queue.type,
  ...(queue.members === undefined ? {} : { 'x-quorum-initial-group-size': queue.members }),
  ...queue.arguments,
});

const path = (...parts: string[]): string => `/api/${parts.map(encodeURIComponent).join('/')}`;

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/**
 * What differs between the file and the cluster, in the order in which it is to be made. What the cluster has and the file
 * has not is left alone. Pure but for the salt of new passwords.
 */
export function differences(service: RabbitService, cluster: Cluster, live: Definitions): Change[] {
  return [
    ...vhostChanges(service, live),
    ...userChanges(service, cluster, live),
    ...policyChanges(service, live),
    ...exchangeChanges(service, live),
    ...queueChanges(service, live),
    ...bindingChanges(service, live),
  ];
}

/** Every vhost of the file, once. */
const vhostsOf = ({ spec }: RabbitService): string[] => [...new Set([spec.vhost, ...spec.vhosts])];

function vhostChanges(service: RabbitService, live: Definitions): Change[] {
  const missing = vhostsOf(service).filter((vhost) => !live.vhosts.some((one) => one.name === vhost));
  return missing.map((vhost) => ({
    what: `vhost ${vhost}`,
    why: 'is missing',
    calls: [
      { method: 'PUT', path: path('vhosts', vhost), body: {} },
      {
        method: 'PUT',
        path: path('permissions', vhost, adminUser),
        body: { configure: '.*', write: '.*', read: '.*' },
      },
    ],
  }));
}

interface Wanted {
  name: string;
  secret: string;
  tags: string[];
  permission: { configure: string; write: string; read: string };
  /** Where it has that. */
  vhosts: string[];
}

function wantedUsers(service: RabbitService): Wanted[] {
  const everything = { configure: '.*', write: '.*', read: '.*' };
  return [
    // The application's own: anything inside its vhosts, nothing outside them, no management.
    {
      name: appUser(service),
      secret: 'password',
      tags: [],
      permission: everything,
      vhosts: vhostsOf(service),
    },
    ...Object.entries(service.spec.users).map(([name, { tags, ...permission }]) => ({
      name,
      secret: `user-${name}`,
      tags,
      permission,
      vhosts: [service.spec.vhost],
    })),
  ];
}

function userChanges(service: RabbitService, cluster: Cluster, live: Definitions): Change[] {
  const changes: Change[] = [];
  for (const { name, secret, tags, permission, vhosts } of wantedUsers(service)) {
    const password = cluster.secrets[`${service.name}/${secret}`] ?? '';
    const found = live.users.find((one) => one.name === name);
    const foundTags = typeof found?.tags === 'string' ? found.tags.split(',').filter(Boolean) : found?.tags;
    const why = !found
      ? 'is missing'
      : !matches(found.password_hash, password)
        ? 'has another password'
        : !isDeepStrictEqual([...foundTags!].sort(), [...tags].sort())
          ? `has the tags ${foundTags!.join(', ') || '(none)'}`
          : undefined;
    if (why)
      changes.push({
        what: `user ${name}`,
        why,
        calls: [
          {
            method: 'PUT',
            path: path('users', name),
            body: {
              password_hash: passwordHash(password),
              hashing_algorithm: 'rabbit_password_hashing_sha256',
              tags: tags.join(','),
            },
          },
        ],
      });
    for (const vhost of vhosts) {
      const rights = live.permissions.find((one) => one.user === name && one.vhost === vhost);
      const same =
        rights &&
        isDeepStrictEqual(
          { configure: rights.configure, write: rights.write, read: rights.read },
          permission,
        );
      if (!same)
        changes.push({
          what: `permissions of ${name}${vhost === service.spec.vhost ? '' : ` in ${vhost}`}`,
          why: rights ? 'differ' : 'are missing',
          calls: [{ method: 'PUT', path: path('permissions', vhost, name), body: permission }],
        });
    }
  }
  if (live.users.some((one) => one.name === 'guest'))
    changes.push({
      what: 'user guest',
      why: 'everyone knows its password',
      calls: [{ method: 'DELETE', path: path('users', 'guest') }],
    });
  return changes;
}

interface Policy {
  pattern: string;
  'apply-to': string;
  priority: number;
  definition: Arguments;
}

function wantedPolicies({ spec }: RabbitService): Map<string, Policy> {
  const wanted = new Map<string, Policy>();
  for (const [name, { pattern, apply, priority, definition }] of Object.entries(spec.policies))
    wanted.set(name, { pattern, 'apply-to': apply, priority, definition });
  for (const [name, queue] of Object.entries(spec.queues)) {
    if (queue.mirrored === undefined) continue;
    wanted.set(mirrorPolicy(name), {
      pattern: `^${escaped(name)}$`,
      'apply-to': 'queues',
      priority: 100,
      definition: {
        ...(queue.mirrored === 'all'
          ? { 'ha-mode': 'all' }
          : { 'ha-mode': 'exactly', 'ha-params': queue.mirrored }),
        'ha-sync-mode': 'automatic',
        // A mirror that lacks messages is never promoted for a node that stops on purpose.
        'ha-promote-on-shutdown': 'when-synced',
      },
    });
  }
  return wanted;
}

function policyChanges(service: RabbitService, live: Definitions): Change[] {
  const { vhost } = service.spec;
  const wanted = wantedPolicies(service);
  const changes: Change[] = [];
  const found = live.policies.filter((one) => one.vhost === vhost);
  for (const [name, policy] of wanted) {
    const here = found.find((one) => one.name === name);
    const same =
      here &&
      isDeepStrictEqual(
        {
          pattern: here.pattern,
          'apply-to': here['apply-to'],
          priority: here.priority,
          definition: here.definition,
        },
        policy,
      );
    if (!same)
      changes.push({
        what: `policy ${name}`,
        why: here ? 'differs' : 'is missing',
        calls: [{ method: 'PUT', path: path('policies', vhost, name), body: policy }],
      });
  }
  for (const { name } of found)
    if (name.startsWith(mirrorPolicy('')) && !wanted.has(name))
      changes.push({
        what: `policy ${name}`,
        why: 'the queue is no longer mirrored',
        calls: [{ method: 'DELETE', path: path('policies', vhost, name) }],
      });
  return changes;
}

const find = <T extends { name: string; vhost: string }>(all: T[], name: string, vhost: string) =>
  all.find((one) => one.name === name && one.vhost === vhost);

/** Creates it; or, where it is there with another nature, deletes and creates it, since RabbitMQ changes neither queues nor exchanges. */
function remade(
  what: string,
  at: string,
  body: unknown,
  here: Record<string, unknown> | undefined,
  wanted: Record<string, unknown>,
): Change[] {
  const create = { method: 'PUT' as const, path: at, body };
  if (!here) return [{ what, why: 'is missing', calls: [create] }];
  const differ = Object.keys(wanted).filter((key) => !isDeepStrictEqual(here[key], wanted[key]));
  if (differ.length === 0) return [];
  const why = differ.map((key) => `${key} is ${JSON.stringify(here[key])}`).join(', ');
  return [{ what, why, calls: [{ method: 'DELETE', path: at }, create], destroys: true }];
}

function exchangeChanges({ spec }: RabbitService, live: Definitions): Change[] {
  return Object.entries(spec.exchanges).flatMap(([name, exchange]) => {
    const body = {
      type: exchange.type,
      durable: exchange.durable,
      auto_delete: exchange.autoDelete,
      internal: exchange.internal,
      arguments: exchange.arguments,
    };
    const here = find(live.exchanges, name, spec.vhost);
    return remade(`exchange ${name}`, path('exchanges', spec.vhost, name), body, here && { ...here }, body);
  });
}

function queueChanges({ spec }: RabbitService, live: Definitions): Change[] {
  return Object.entries(spec.queues).flatMap(([name, queue]) => {
    const body = { durable: queue.durable, auto_delete: false, arguments: queueArguments(queue) };
    const here = find(live.queues, name, spec.vhost);
    const nature = (of: Arguments): Arguments => {
      // How many members it has is changed while it lives; a classic queue may not say that it is one.
      const { 'x-quorum-initial-group-size': _, ...rest } = of;
      return { 'x-queue-type': 'classic', ...rest };
    };
    return remade(
      `queue ${name}`,
      path('queues', spec.vhost, name),
      body,
      here && { durable: here.durable, arguments: nature(here.arguments) },
      { durable: body.durable, arguments: nature(body.arguments) },
    );
  });
}

function bindingChanges({ spec }: RabbitService, live: Definitions): Change[] {
  return spec.bindings.flatMap((binding): Change[] => {
    const [kind, destination] =
      binding.to === undefined
        ? (['exchange', binding.toExchange!] as const)
        : (['queue', binding.to] as const);
    const there = live.bindings.some(
      (one) =>
        one.vhost === spec.vhost &&
        one.source === binding.from &&
        one.destination === destination &&
        one.destination_type === kind &&
        one.routing_key === binding.key &&
        isDeepStrictEqual(one.arguments, binding.arguments),
    );
    // Its bindings come back with its node, and until then it takes none.
    const down = kind === 'queue' && find(live.queues, destination, spec.vhost)?.down;
    if (there || down) return [];
    const key = binding.key === '' ? '' : ` (${binding.key})`;
    return [
      {
        what: `binding ${binding.from} -> ${destination}${key}`,
        why: 'is missing',
        calls: [
          {
            method: 'POST',
            path: path('bindings', spec.vhost, 'e', binding.from, kind === 'queue' ? 'q' : 'e', destination),
            body: { routing_key: binding.key, arguments: binding.arguments },
          },
        ],
      },
    ];
  });
}
