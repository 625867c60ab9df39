import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Check } from '../../src/check/check.ts';
import type { AgentConfig, Connections, Flow, Listen, Table } from '../../src/engines/director/tables.ts';
import { type Actor, Wire } from './wire.ts';

/**
 * The nftables plane on two directors, three real servers and two clients, without agents: the test is the agent.
 * `nat` and `dr` share one VIP (4 and 6); the inner VIP, through which servers answer, moves with it.
 */
const vip = '10.78.0.100';
const vip6 = 'fd78::100';
const full = '10.78.0.102';
const check: Check = { kind: 'tcp', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1 };
const names = ['s1', 's2', 's3'];

let wire: Wire;
let d1: Actor;
let d2: Actor;
let f1: Actor;
let c1: Actor;
let c2: Actor;

function listen(name: string, change: Partial<Listen> & { to?: number | 'same' } = {}): Listen {
  const [proto, first, last] = name.split('-') as ['tcp' | 'udp', string, string | undefined];
  const { to = 8080, ...rest } = change;
  const servers = names.map((host) => ({
    name: `web@${host}`,
    host,
    address: wire.address(host),
    address6: wire.address6(host),
    ...(to === 'same' ? {} : { port: to }),
    checkPort: 8080,
    weight: 1,
  }));
  return {
    name,
    proto,
    ports: [Number(first), Number(last ?? first)],
    plane: 'nftables',
    forward: 'nat',
    scheduler: 'rr',
    hashPort: false,
    persistenceMs: 0,
    idleMs: 900_000,
    servers,
    sorry: [],
    check,
    ...rest,
  };
}

type Change = { weight?: number; up?: boolean };

/** The listen's table, with changes by host. */
function table(of: Listen, changes: Record<string, Change> = {}): Table {
  const state = (sorry: boolean) => (server: Listen['servers'][number]) => ({
    server,
    weight: server.weight,
    up: true,
    sorry,
    ...changes[server.host],
  });
  return { listen: of, servers: [...of.servers.map(state(false)), ...of.sorry.map(state(true))] };
}

function config(host: string, service: string, vips: string[]): AgentConfig {
  const other = host === 'd1' ? 'd2' : 'd1';
  return {
    cluster: 'lab',
    service,
    host,
    address: wire.address(host),
    peers: [{ host: other, address: wire.address(other) }],
    syncPort: 7000,
    vips,
    listens: [],
  };
}

async function both(...tables: Table[]): Promise<void> {
  await Promise.all([d1.tell('apply', tables), d2.tell('apply', tables)]);
}

/** Gives the VIPs to a director, as keepalived would: off one, on the other, and everybody is told. */
function own(host: 'd1' | 'd2'): void {
  const addresses = ['10.78.0.100/32', '10.78.0.99/32', 'fd78::100/128', 'fd78::99/128'];
  for (const each of ['d1', 'd2']) {
    const verb = each === host ? 'replace' : 'del';
    const lines = addresses.map((address) => {
      const nodad = address.includes(':') && verb === 'replace' ? ' nodad' : '';
      return `ip addr ${verb} ${address} dev eth0${nodad} 2>/dev/null || true`;
    });
    wire.on(each, lines.join('\n'));
  }
  for (const each of ['c1', 'c2', ...names]) wire.on(each, 'ip neigh flush all; ip -6 neigh flush all');
}

beforeAll(async () => {
  wire = new Wire(`nf${process.pid}`, ['d1', 'd2', ...names, 'c1', 'c2']);
  for (const d of ['d1', 'd2']) {
    wire.on(
      d,
      'sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0',
    );
  }
  wire.on('d1', `ip addr add ${full}/32 dev eth0`);
  own('d1');
  for (const s of names) {
    wire.on(
      s,
      `sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
       ip addr add ${vip}/32 dev lo
       ip addr add ${vip6}/128 dev lo nodad
       ip route add default via 10.78.0.99 table 77
       ip -6 route add default via fd78::99 table 77
       for proto in tcp udp; do for port in 8080 8000-8010; do
         ip rule add ipproto $proto sport $port lookup 77
         ip -6 rule add ipproto $proto sport $port lookup 77
       done; done`,
    );
  }
  const dual = ['8080', '8000', '8005', '8010', '81', '86', `${vip}@54`, `${vip6}@54`];
  const servers = names.map((s) => wire.actor(s, 'server.ts', s, ...dual));
  c1 = wire.actor('c1', 'client.ts');
  c2 = wire.actor('c2', 'client.ts');
  d1 = wire.actor('d1', 'director.ts');
  d2 = wire.actor('d2', 'director.ts');
  f1 = wire.actor('d1', 'director.ts');
  await Promise.all(servers.map((server) => server.tell('ready')));
  await Promise.all([
    d1.tell('open', config('d1', 'front', [vip, vip6])),
    d2.tell('open', config('d2', 'front', [vip, vip6])),
    f1.tell('open', config('d1', 'full', [full])),
  ]);
});

afterAll(() => wire?.close());

const nat = () => listen('tcp-80');
const dr = () => listen('tcp-81', { forward: 'dr', to: 81 });

describe('forwarding', () => {
  test('nat and dr serve TCP and UDP, over IPv4 and IPv6, and a range of ports, to every server', async () => {
    await both(
      table(nat()),
      table(dr()),
      table(listen('udp-53')),
      table(listen('udp-54', { forward: 'dr', to: 54 })),
      table(listen('tcp-8000-8010', { to: 'same' })),
    );
    for (const host of [vip, vip6]) {
      for (const port of [80, 81, 8005]) {
        const met = await c1.tell<Record<string, number>>('many', host, port, 9, 1);
        expect(met, `${host} ${port}`).toEqual({ s1: 3, s2: 3, s3: 3 });
      }
      for (const port of [53, 54]) {
        const met = new Set<string>();
        for (let i = 0; i < 3; i++) met.add((await c1.tell<string>('datagram', host, port)).split(' ')[0]!);
        expect([...met].sort(), `${host} ${port}`).toEqual(names);
      }
      for (const port of [8000, 8010]) {
        await c1.tell('hold', `range${port}`, host, port);
        expect(await c1.tell('say', `range${port}`, 'x')).toMatch(new RegExp(` ${port} x$`));
      }
      await c1.tell('drop', 'range');
    }
    await expect(c1.tell('ask', vip, 8011)).rejects.toThrow('ECONNREFUSED');
  });

  test('fullnat serves TCP, counts its connections and resets those of a dead server', async () => {
    const of = listen('tcp-90', { forward: 'fullnat' });
    await f1.tell('apply', [table(of)]);
    expect(await c1.tell('many', full, 90, 30, 4)).toEqual({ s1: 10, s2: 10, s3: 10 });
    for (let i = 0; i < 3; i++) await c1.tell('hold', `full${i}`, full, 90);
    const counts = await f1.tell<Connections[]>('connections');
    expect(counts.map((each) => each.active)).toEqual([1, 1, 1]);
    await f1.tell('apply', [table(of, { s1: { up: false } })]);
    expect(await f1.tell('reset', 'tcp-90', 'web@s1')).toBe(1);
    expect(await c1.tell('ends', 'full')).toEqual({ ECONNRESET: 1, open: 2 });
    await c1.tell('drop', 'full');
    await f1.tell('close');
  });

  test("fullnat reaches a real server on the director's own host, and resets its clients when it is dead", async () => {
    const here = wire.actor('d1', 'server.ts', 'd1', '8080');
    await here.tell('ready');
    const of = listen('tcp-91', { forward: 'fullnat' });
    const own = { ...of.servers[0]!, name: 'web@d1', host: 'd1', address: wire.address('d1') };
    const mixed = { ...of, servers: [own, ...of.servers.slice(1)] };
    await f1.tell('apply', [table(mixed)]);
    expect(await c1.tell('many', full, 91, 30, 4)).toEqual({ d1: 10, s2: 10, s3: 10 });
    for (let i = 0; i < 3; i++) await c1.tell('hold', `own${i}`, full, 91);
    const counts = await f1.tell<Connections[]>('connections');
    expect(counts.map((each) => each.active)).toEqual([1, 1, 1]);
    await f1.tell('apply', [table(mixed, { d1: { up: false } })]);
    expect(await f1.tell('reset', 'tcp-91', 'web@d1')).toBe(1);
    expect(await c1.tell('ends', 'own')).toEqual({ ECONNRESET: 1, open: 2 });
    await c1.tell('drop', 'own');
    await f1.tell('close');
    await here.end();
  });

  test('a health check and a client that talk to a server directly are left alone', async () => {
    await both(table(nat()));
    wire.on(
      'd1',
      `curl -s --http0.9 --max-time 2 telnet://${wire.address('s1')}:8080 </dev/null | grep -q s1`,
    );
    expect(await c1.tell('ask', wire.address('s2'), 8080)).toBe('s2');
    // The same port of the client towards the VIP and towards another server of it.
    const mine = await c1.tell<string>('hold', 'both', vip, 80, 5555);
    const other = names.find((name) => name !== mine)!;
    expect(await c1.tell('ask', wire.address(other), 8080, 5555)).toBe(other);
    expect(await c1.tell('say', 'both', 'still')).toContain('still');
    await c1.tell('drop', 'both');
  });
});

describe('scheduling', () => {
  test('rr and wrr are right within 1% over 10,000 connections', async () => {
    const wrr = table(listen('tcp-83', { scheduler: 'wrr' }), { s1: { weight: 3 }, s2: { weight: 2 } });
    await both(table(nat()), wrr);
    const equal = await c1.tell<Record<string, number>>('many', vip, 80, 10_000, 16);
    for (const name of names) expect(Math.abs(equal[name]! / 10_000 - 1 / 3)).toBeLessThan(0.01);
    const shares = await c1.tell<Record<string, number>>('many', vip, 83, 6000, 16);
    expect(Math.abs(shares['s1']! / 6000 - 3 / 6)).toBeLessThan(0.01);
    expect(Math.abs(shares['s2']! / 6000 - 2 / 6)).toBeLessThan(0.01);
  });

  test('mh gives a client the same server on both directors, and losing another server does not move it', async () => {
    const of = listen('tcp-82', { scheduler: 'mh' });
    await both(table(of));
    const first = await c1.tell<string>('ask', vip, 82);
    expect(await c1.tell('many', vip, 82, 20, 4)).toEqual({ [first]: 20 });
    own('d2');
    expect(await c1.tell('ask', vip, 82)).toBe(first);
    own('d1');
    const list = (host: string) =>
      wire.on(host, 'nft -nn list map netdev phalanx_lab_front slots_tcp_82_4 | sort');
    expect(list('d2')).toBe(list('d1'));
    const other = names.find((name) => name !== first)!;
    await both(table(of, { [other]: { up: false } }));
    expect(await c1.tell('ask', vip, 82)).toBe(first);
    await both(table(of, { [first]: { up: false } }));
    expect(await c1.tell('ask', vip, 82)).not.toBe(first);
  });

  test('a persistent client stays with its server, and may leave when that one goes', async () => {
    const of = listen('tcp-84', { persistenceMs: 300_000 });
    await both(table(of));
    const first = await c1.tell<string>('ask', vip, 84);
    expect(await c1.tell('many', vip, 84, 20, 2)).toEqual({ [first]: 20 });
    expect(await c2.tell('ask', vip, 84)).not.toBe(first);
    // The other director knows as well.
    own('d2');
    expect(await c1.tell('many', vip, 84, 5, 1)).toEqual({ [first]: 5 });
    own('d1');
    await both(table(of, { [first]: { weight: 0 } }));
    const second = await c1.tell<string>('ask', vip, 84);
    expect(second).not.toBe(first);
    await both(table(of));
    expect(await c1.tell('ask', vip, 84)).toBe(second);
  });

  test('weight 0 keeps what is established and gets nothing new', async () => {
    const of = nat();
    await both(table(of));
    const mine = await c1.tell<string>('hold', 'drain', vip, 80);
    await both(table(of, { [mine]: { weight: 0 } }));
    const met = await c1.tell<Record<string, number>>('many', vip, 80, 30, 3);
    expect(met[mine]).toBeUndefined();
    expect(await c1.tell('say', 'drain', 'still')).toBe(`${mine} 8080 still`);
    await c1.tell('drop', 'drain');
  });

  test('the sorry server answers when none is left, and a reset when it is gone too', async () => {
    const of = listen('tcp-85');
    const last = { ...of, servers: of.servers.slice(0, 2), sorry: of.servers.slice(2) };
    await both(table(last));
    expect(await c1.tell('many', vip, 85, 10, 2)).toEqual({ s1: 5, s2: 5 });
    await both(table(last, { s1: { up: false }, s2: { up: false } }));
    expect(await c1.tell('many', vip, 85, 4, 2)).toEqual({ s3: 4 });
    await both(table(last, { s1: { up: false }, s2: { up: false }, s3: { up: false } }));
    await expect(c1.tell('ask', vip, 85)).rejects.toThrow('ECONNREFUSED');
    await both(table(last));
    expect(await c1.tell('many', vip, 85, 10, 2)).toEqual({ s1: 5, s2: 5 });
    const udp = listen('udp-53');
    await both(table(udp, { s1: { up: false }, s2: { up: false }, s3: { up: false } }));
    await expect(c1.tell('datagram', vip, 53)).rejects.toThrow('ECONNREFUSED');
  });
});

describe('dead servers', () => {
  test.each([
    ['nat', vip, 80],
    ['dr', vip, 81],
    ['nat over IPv6', vip6, 80],
  ])('%s: clients who only wait get a reset, hundreds of them too', async (_how, host, port) => {
    const of = port === 80 ? nat() : dr();
    await both(table(of));
    await c1.tell('holdMany', 'dead', host, port, 300);
    await both(table(of, { s2: { up: false } }));
    expect(await d2.tell('reset', of.name, 'web@s2')).toBe(0);
    expect(await d1.tell('reset', of.name, 'web@s2')).toBe(100);
    await vi.waitFor(
      async () => expect(await c1.tell('ends', 'dead')).toEqual({ ECONNRESET: 100, open: 200 }),
      { timeout: 5000, interval: 50 },
    );
    await c1.tell('drop', 'dead');
  });

  test('a server that comes back while its clients are still being told keeps its new ones', async () => {
    const of = nat();
    await both(table(of));
    await c1.tell('holdMany', 'away', vip, 80, 30);
    // Nobody there hears, so that they are told again and again, and forgotten in the end.
    wire.on('c1', 'ip link set eth0 down');
    try {
      await both(table(of, { s2: { up: false } }));
      const told = d1.tell('reset', of.name, 'web@s2');
      await both(table(of));
      const fresh = Array.from({ length: 30 }, (_, i) => `fresh${i}`);
      const servers = await Promise.all(fresh.map((id) => c2.tell<string>('hold', id, vip, 80)));
      expect(servers.filter((server) => server === 's2')).toHaveLength(10);
      await told;
      for (const id of fresh) expect(await c2.tell('say', id, 'still')).toContain('still');
    } finally {
      wire.on(
        'c1',
        `ip link set eth0 up
         ip addr replace ${wire.address6('c1')}/64 dev eth0 nodad`,
      );
    }
    await Promise.all([c1.tell('drop', 'away'), c2.tell('drop', 'fresh')]);
  });

  test('a client that speaks is reset by its own packet', async () => {
    const of = nat();
    await both(table(of));
    const mine = await c1.tell<string>('hold', 'speak', vip, 80);
    await both(table(of, { [mine]: { up: false } }));
    await expect(c1.tell('say', 'speak', 'hello')).rejects.toThrow('ECONNRESET');
    await c1.tell('drop', 'speak');
  });
});

describe('agents and directors that fail', () => {
  test('an agent that starts again changes nothing and its connections live', async () => {
    const tables = [table(nat()), table(dr()), table(listen('tcp-82', { scheduler: 'mh' }))];
    const before = wire.actor('d1', 'director.ts');
    const settings = { ...config('d1', 'again', [full]), peers: [] };
    await before.tell('open', settings);
    await before.tell('apply', tables);
    const mine = await c1.tell<string>('hold', 'again', full, 80);
    await before.end();
    expect(await c1.tell('say', 'again', 'alone')).toBe(`${mine} 8080 alone`);
    const after = wire.actor('d1', 'director.ts');
    await after.tell('open', settings);
    // Every rule's handle: a rule that is written again gets a new one.
    const rules = () =>
      wire.on('d1', 'nft -a list table netdev phalanx_lab_again | grep -v -e expires -e elements');
    const written = rules();
    await after.tell('apply', tables);
    expect(rules()).toBe(written);
    await after.tell('apply', [table(nat(), { s1: { weight: 0 } }), ...tables.slice(1)]);
    const changed = rules()
      .split('\n')
      .filter((line) => !written.includes(line));
    // A change of weight replaces the chain that draws, of that virtual service, and no other rule.
    expect(changed.join('\n')).toContain('numgen inc mod 2');
    expect(changed.filter((line) => line.includes('handle'))).toHaveLength(3);
    expect(changed.join('\n')).not.toMatch(/tcp_8[12]_/);
    expect(await c1.tell('say', 'again', 'more')).toBe(`${mine} 8080 more`);
    await c1.tell('drop', 'again');
    await after.tell('close');
    await after.end();
    expect(wire.on('d1', 'nft list tables')).not.toContain('again');
  });

  test('nft flush ruleset: the tables are made again', async () => {
    await both(table(nat()), table(dr()));
    const other = wire.actor('d1', 'director.ts');
    await other.tell('open', { ...config('d1', 'flushed', [full]), peers: [] });
    await other.tell('apply', [table(listen('tcp-80', { forward: 'fullnat' }))]);
    const served = async () => {
      for (const at of [vip, vip6, full]) expect(names).toContain(await c1.tell('ask', at, 80));
      expect(names).toContain(await c1.tell('ask', vip, 81));
    };
    await served();
    // As a restart of nftables.service does, on Debian.
    wire.on('d1', 'nft flush ruleset');
    await vi.waitFor(served, { timeout: 5000, interval: 100 });
    expect(wire.on('d1', 'nft list tables')).toContain('phalanx_lab_flushed');
    await other.tell('close');
    await other.end();
  });

  test.each([
    ['nat', vip, 80],
    ['dr', vip, 81],
    ['nat over IPv6', vip6, 80],
    ['dr over IPv6', vip6, 81],
  ])('%s: an established connection survives the takeover of the VIP, under rr', async (_how, host, port) => {
    await both(table(nat()), table(dr()));
    const mine = await c1.tell<string>('hold', 'move', host, port);
    expect(await c1.tell('say', 'move', 'one')).toContain('one');
    own('d2');
    // The old owner is as good as gone: nothing of this connection may pass it.
    wire.on('d1', 'ip link set eth0 down');
    try {
      expect(await c1.tell('say', 'move', 'two')).toMatch(new RegExp(`^${mine} \\d+ two$`));
    } finally {
      wire.on(
        'd1',
        `ip link set eth0 up
         ip addr replace ${wire.address6('d1')}/64 dev eth0 nodad`,
      );
      own('d1');
    }
    expect(await c1.tell('say', 'move', 'three')).toMatch(new RegExp(`^${mine} \\d+ three$`));
    await c1.tell('drop', 'move');
  });

  test('connections are handed to a director that comes later, and renewed there', async () => {
    await both(table(nat()));
    await d2.tell('close');
    for (const [i, host] of [vip, vip6].entries()) await c1.tell('hold', `late${i}`, host, 80);
    await c1.tell('say', 'late0', 'x');
    await c1.tell('say', 'late1', 'x');
    await d2.tell('open', config('d2', 'front', [vip, vip6]));
    await d2.tell('apply', [table(nat())]);
    const flows = (await d1.tell<Flow[]>('flows')).filter((flow) => flow.remainingMs > 600_000);
    expect(flows).toHaveLength(2);
    await d2.tell(
      'adopt',
      flows.map((flow) => ({ ...flow, remainingMs: 5000 })),
    );
    await d2.tell('adopt', flows);
    const taken = await d2.tell<Flow[]>('flows');
    const plain = (flow: Flow) => `${flow.client} ${flow.clientPort} ${flow.server}`;
    expect(taken.map(plain).sort()).toEqual(flows.map(plain).sort());
    for (const flow of taken) expect(flow.remainingMs).toBeGreaterThan(600_000);
    own('d2');
    expect(await c1.tell('say', 'late0', 'y')).toContain('y');
    expect(await c1.tell('say', 'late1', 'y')).toContain('y');
    own('d1');
    await c1.tell('drop', 'late');
  });
});

describe('ten thousand servers', () => {
  // How long it takes: bench/weight.ts.
  test('are loaded, and a change of weight is a change of that share alone', async () => {
    const big = wire.actor('d1', 'director.ts');
    await big.tell('open', { ...config('d1', 'big', [full]), peers: [] });
    const drawn = () =>
      wire
        .on('d1', 'nft list table netdev phalanx_lab_big | grep -o "set numgen inc mod [0-9]*"')
        .trim()
        .split('\n');
    await big.tell('crowd', listen('tcp-80', { scheduler: 'wrr' }), 10_000);
    expect(drawn()).toEqual(['set numgen inc mod 10000']);
    await big.tell('crowdWeight', 5000, 3);
    expect(drawn()).toEqual(['set numgen inc mod 10002']);
    await big.tell('close');
    await big.end();
  });
});
