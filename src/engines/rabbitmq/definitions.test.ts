import { describe, expect, it } from 'vitest';
import { type Definitions, differences } from './definitions.ts';
import { matches, passwordHash } from './password.ts';
import { nothing, sample } from './sample.ts';

const spec = {
  queues: { mail: { members: 3 }, old: { type: 'classic', mirrored: 2 } },
  exchanges: { orders: { type: 'topic' } },
  bindings: [{ from: 'orders', to: 'mail', key: 'mail.*' }],
  policies: { short: { pattern: '^short', definition: { 'message-ttl': 1000 } } },
};

const { service, cluster } = sample(['h1', 'h2', 'h3'], spec);
const names = (live: Definitions): string[] =>
  differences(service, cluster, live).map((change) => `${change.what} ${change.why}`);

/** What the cluster has once everything of the file is made. */
const whole: Definitions = {
  vhosts: [{ name: '/' }, { name: 'other' }],
  users: [
    { name: 'phalanx', password_hash: passwordHash('x'), tags: ['administrator'] },
    { name: 'jobs', password_hash: passwordHash('app-word'), tags: [] },
  ],
  permissions: [{ user: 'jobs', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
  policies: [
    {
      vhost: '/',
      name: 'short',
      pattern: '^short',
      'apply-to': 'all',
      priority: 0,
      definition: { 'message-ttl': 1000 },
    },
    {
      vhost: '/',
      name: 'phalanx-mirror-old',
      pattern: '^old$',
      'apply-to': 'queues',
      priority: 100,
      definition: {
        'ha-mode': 'exactly',
        'ha-params': 2,
        'ha-sync-mode': 'automatic',
        'ha-promote-on-shutdown': 'when-synced',
      },
    },
  ],
  exchanges: [
    {
      name: 'orders',
      vhost: '/',
      type: 'topic',
      durable: true,
      auto_delete: false,
      internal: false,
      arguments: {},
    },
  ],
  queues: [
    {
      name: 'mail',
      vhost: '/',
      durable: true,
      arguments: { 'x-queue-type': 'quorum', 'x-quorum-initial-group-size': 3 },
    },
    { name: 'old', vhost: '/', durable: true, arguments: {} },
    { name: 'own', vhost: '/', durable: false, arguments: {} },
  ],
  bindings: [
    {
      source: 'orders',
      vhost: '/',
      destination: 'mail',
      destination_type: 'queue',
      routing_key: 'mail.*',
      arguments: {},
    },
  ],
};

describe('differences', () => {
  it('an empty cluster lacks everything, exchanges and queues before their bindings', () => {
    expect(names(nothing)).toEqual([
      'user jobs is missing',
      'permissions of jobs are missing',
      'policy short is missing',
      'policy phalanx-mirror-old is missing',
      'exchange orders is missing',
      'queue mail is missing',
      'queue old is missing',
      'binding orders -> mail (mail.*) is missing',
    ]);
  });

  it('nothing differs once all is made, and what the file has not is left alone', () => {
    expect(names(whole)).toEqual([]);
  });

  it('no password travels: what is sent is salted and hashed', () => {
    const sent = JSON.stringify(differences(service, cluster, nothing));
    expect(sent).not.toContain('app-word');
    expect(sent).toContain('rabbit_password_hashing_sha256');
  });

  it('another password, guest, and rights that were changed are put right', () => {
    const [phalanx] = whole.users;
    const live: Definitions = {
      ...whole,
      users: [
        phalanx!,
        { name: 'jobs', password_hash: passwordHash('old-word'), tags: 'administrator' },
        { name: 'guest', password_hash: passwordHash('guest'), tags: [] },
      ],
      permissions: [{ ...whole.permissions[0]!, write: '' }],
    };
    expect(names(live)).toEqual([
      'user jobs has another password',
      'permissions of jobs differ',
      'user guest everyone knows its password',
    ]);
  });

  it('how many members a queue began with may change, its nature only by destroying it', () => {
    const queue = (arguments_: Record<string, unknown>): Definitions => ({
      ...whole,
      queues: [{ ...whole.queues[0]!, arguments: arguments_ }, whole.queues[1]!],
    });
    expect(names(queue({ 'x-queue-type': 'quorum' }))).toEqual([]);
    const [change] = differences(service, cluster, queue({ 'x-queue-type': 'classic' }));
    expect(change).toMatchObject({ what: 'queue mail', destroys: true });
    expect(change!.calls.map((call) => `${call.method} ${call.path}`)).toEqual([
      'DELETE /api/queues/%2F/mail',
      'PUT /api/queues/%2F/mail',
    ]);
  });

  it('a queue that is no longer mirrored loses our policy, and no other', () => {
    const plain = sample(['h1', 'h2', 'h3'], { queues: { old: { type: 'classic' } } });
    expect(differences(plain.service, plain.cluster, whole).map((change) => change.what)).toEqual([
      'policy phalanx-mirror-old',
    ]);
  });

  it('a vhost of its own is made, with the rights to work in it', () => {
    const other = sample(['h1'], { vhost: 'shop' });
    const [change] = differences(other.service, other.cluster, whole);
    expect(change!.what).toBe('vhost shop');
    expect(change!.calls.map((call) => call.path)).toEqual([
      '/api/vhosts/shop',
      '/api/permissions/shop/phalanx',
    ]);
  });
});

describe('a password hash', () => {
  it("is RabbitMQ's: salt, then SHA-256 over salt and password", () => {
    // rabbitmq.com/passwords.html, its worked example.
    expect(passwordHash('test12', Buffer.from('908DC60A', 'hex'))).toBe(
      'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
    );
  });
  it('is known again, and another password is not', () => {
    expect(matches(passwordHash('a'), 'a')).toBe(true);
    expect(matches(passwordHash('a'), 'b')).toBe(false);
    expect(matches('', 'a')).toBe(false);
  });
});

it("further vhosts are made, with the application's own user in each and nobody else", () => {
  const { service, cluster } = sample(['h1'], { vhosts: ['reports', '/'], users: { reporter: {} } });
  const made = differences(service, cluster, { ...whole, permissions: [] });
  expect(made.filter(({ what }) => /vhost|permissions/.test(what)).map(({ what }) => what)).toEqual([
    'vhost reports',
    'permissions of jobs',
    'permissions of jobs in reports',
    'permissions of reporter',
  ]);
  expect(made.find(({ what }) => what === 'permissions of jobs in reports')!.calls[0]!.path).toBe(
    '/api/permissions/reports/jobs',
  );
});
