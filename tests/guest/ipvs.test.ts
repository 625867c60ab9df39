import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { Check } from '../../src/check/check.ts';
import { type DirectorSpec, schema } from '../../src/engines/director/schema.ts';
import { directorSettings } from '../../src/engines/director/settings.ts';
import {
  type AgentConfig,
  type Connections,
  type Listen,
  type Scheduler,
  schedulers,
  type Table,
} from '../../src/engines/director/tables.ts';
import type { Engine } from '../../src/engines/engine.ts';
import type { Cluster, Service } from '../../src/file/cluster.ts';
import { until } from '../lab/cluster.ts';
import { type Actor, Wire } from '../lab/wire.ts';
import { ground, ship } from './guest.ts';

/**
 * The ipvs plane on a kernel that has it: two directors, three real servers and two clients, namespaces of the emulated machine.
 * The test is the agent. Translation has a VIP (4 and 6) of its own, since servers of dr and tun hold theirs.
 */
const vip = '10.78.0.100';
const vip6 = 'fd78::100';
const direct = '10.78.0.101';
const check: Check = { kind: 'tcp', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1 };
const names = ['s1', 's2', 's3'];
/** Milliseconds that a client waits: every instruction is emulated, and others may be at work on this machine. */
const patience = '60000';

let wire: Wire;
/** The two directors, each with the plane of the translated VIPs and of the direct one. */
let d1: Actor;
let d2: Actor;
let direct1: Actor;
let direct2: Actor;
let c1: Actor;
let c2: Actor;

function listen(name: string, change: Partial<Listen> & { to?: number | 'same' } = {}): Listen {
  const [proto, first, last] = name.split('-') as ['tcp' | 'udp', string, string | undefined];
  const { to = 8080, ...rest } = change;
  return {
    name,
    proto,
    ports: [Number(first), Number(last ?? first)],
    plane: 'ipvs',
    forward: 'nat',
    scheduler: 'rr',
    hashPort: false,
    persistenceMs: 0,
    idleMs: 900_000,
    servers: names.map((host) => ({
      name: `web@${host}`,
      host,
      address: wire.address(host),
      address6: wire.address6(host),
      ...(to === 'same' ? {} : { port: to }),
      checkPort: 8080,
      weight: 1,
    })),
    sorry: [],
    check,
    ...rest,
  };
}

type Change = { weight?: number; up?: boolean };
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

/** Sh: what `up` sets on a director's host before the plane is at work there. */
function settings(host: string): string {
  const entry = (name: string) => ({
    name,
    kind: 'lab',
    address: wire.address(name),
    address6: wire.address6(name),
    root: '',
  });
  // By a name that no other test of this machine has: what was set before is kept by it.
  const director: Service<DirectorSpec> = {
    name: 'wired',
    type: 'director',
    hosts: ['d1', 'd2'],
    uses: [],
    spec: schema.parse({ vip: [vip, vip6], listen: [{ port: 80, to: 'web' }] }),
  };
  const members = names.map((name) => ({
    name: `web@${name}`,
    host: name,
    ports: [{ proto: 'tcp', port: 8080 }],
  }));
  const cluster = {
    name: 'lab',
    hosts: Object.fromEntries(['d1', 'd2', ...names].map((name) => [name, entry(name)])),
    services: { wired: director, web: { name: 'web', type: 'app', hosts: names, uses: [], spec: {} } },
  };
  const engine = { members: () => members } as unknown as Engine;
  return directorSettings(director, cluster as unknown as Cluster, () => engine)
    .filter((setting) => setting.host === host)
    .map(({ apply }) => apply)
    .join('\n');
}

const both = (...tables: Table[]) => Promise.all([d1.tell('apply', tables), d2.tell('apply', tables)]);
const straight = (...tables: Table[]) =>
  Promise.all([direct1.tell('apply', tables), direct2.tell('apply', tables)]);

/** Gives the VIPs to a director, as keepalived would: off one, on the other, and everybody is told. */
function own(host: 'd1' | 'd2'): void {
  const addresses = [`${vip}/32`, `${direct}/32`, '10.78.0.99/32', `${vip6}/128`, 'fd78::99/128'];
  const moves = [host === 'd1' ? 'd2' : 'd1', host].flatMap((each) => {
    const verb = each === host ? 'replace' : 'del';
    return addresses.map((address) => {
      const nodad = address.includes(':') && verb === 'replace' ? ' nodad' : '';
      return `ip -n ${wire.namespace(each)} addr ${verb} ${address} dev eth0${nodad} 2>/dev/null || true`;
    });
  });
  const flushes = ['c1', 'c2', ...names].map((each) => {
    const inside = `ip -n ${wire.namespace(each)}`;
    return `${inside} neigh flush all; ${inside} -6 neigh flush all`;
  });
  wire.sh([...moves, ...flushes].join('\n'));
}

beforeAll(async () => {
  const reached = inject('guest');
  await ship(reached, ['ipvs-director.ts', 'server.ts', 'client.ts']);
  const at = ground(reached);
  // A tunnel device stands in every namespace that is made after its module is there.
  at.sh('modprobe ip_vs; modprobe ipip; modprobe ip6_tunnel');
  wire = new Wire(`ipvs${process.pid}`, ['d1', 'd2', ...names, 'c1', 'c2'], at);
  for (const d of ['d1', 'd2']) wire.on(d, settings(d));
  own('d1');
  for (const s of names)
    wire.on(
      s,
      `sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0
       ip addr add ${direct}/32 dev lo
       ip link set tunl0 up
       sysctl -qw net.ipv4.conf.tunl0.rp_filter=0
       ip route add default via 10.78.0.99 table 77
       ip -6 route add default via fd78::99 table 77
       for proto in tcp udp; do for port in 8080 8000-8010; do
         ip rule add ipproto $proto sport $port lookup 77
         ip -6 rule add ipproto $proto sport $port lookup 77
       done; done`,
    );
  const ports = ['8080', '8000', '8005', '8010', '81', '82', `${direct}@54`];
  const servers = names.map((s) => wire.actor(s, 'server.ts', s, ...ports));
  [c1, c2] = [wire.actor('c1', 'client.ts', patience), wire.actor('c2', 'client.ts', patience)];
  [d1, d2] = [wire.actor('d1', 'ipvs-director.ts'), wire.actor('d2', 'ipvs-director.ts')];
  [direct1, direct2] = [wire.actor('d1', 'ipvs-director.ts'), wire.actor('d2', 'ipvs-director.ts')];
  await Promise.all(servers.map((server) => server.tell('ready')));
  for (const [actor, host] of [
    [d1, 'd1'],
    [d2, 'd2'],
  ] as const)
    await actor.tell('open', config(host, 'front', [vip, vip6]));
  for (const [actor, host] of [
    [direct1, 'd1'],
    [direct2, 'd2'],
  ] as const)
    await actor.tell('open', config(host, 'direct', [direct]));
});

afterAll(() => wire?.close());

const nat = (change: Parameters<typeof listen>[1] = {}) => listen('tcp-80', change);
const dr = () => listen('tcp-81', { forward: 'dr', to: 81 });
const tun = () => listen('tcp-82', { forward: 'tun', to: 82 });

describe('forwarding', () => {
  test('nat, dr and tun serve TCP and UDP, nat over IPv6 too, and a range of ports, to every server', async () => {
    await both(table(nat()), table(listen('udp-53')), table(listen('tcp-8000-8010', { to: 'same' })));
    await straight(table(dr()), table(tun()), table(listen('udp-54', { forward: 'dr', to: 54 })));
    for (const [host, port] of [
      [vip, 80],
      [vip6, 80],
      [vip, 8005],
      [vip6, 8005],
      [direct, 81],
      [direct, 82],
    ] as const)
      expect(await c1.tell('many', host, port, 9, 1), `${host} ${port}`).toEqual({ s1: 3, s2: 3, s3: 3 });
    for (const [host, port] of [
      [vip, 53],
      [vip6, 53],
      [direct, 54],
    ] as const) {
      const met = new Set<string>();
      for (let i = 0; i < 3; i++) met.add((await c1.tell<string>('datagram', host, port)).split(' ')[0]!);
      expect([...met].sort(), `${host} ${port}`).toEqual(names);
    }
    for (const port of [8000, 8010]) {
      await c1.tell('hold', `range${port}`, vip, port);
      expect(await c1.tell('say', `range${port}`, 'x')).toMatch(new RegExp(` ${port} x$`));
    }
    await c1.tell('drop', 'range');
    await expect(c1.tell('ask', vip, 8011)).rejects.toThrow('ECONNREFUSED');
  });

  test('a second apply of the same edits nothing, and a new agent finds its tables', async () => {
    await both(table(nat()), table(dr()));
    const before = wire.on('d1', 'ipvsadm -Sn');
    const again = wire.actor('d1', 'ipvs-director.ts');
    await again.tell('open', config('d1', 'front', [vip, vip6]));
    const mine = await c1.tell<string>('hold', 'again', vip, 80);
    await again.tell('apply', [table(nat()), table(dr())]);
    expect(wire.on('d1', 'ipvsadm -Sn')).toBe(before);
    expect(await c1.tell('say', 'again', 'x')).toBe(`${mine} 8080 x`);
    await c1.tell('drop', 'again');
    await again.end();
  });
});

describe('scheduling', () => {
  test('every scheduler of LVS is taken by the kernel, and serves', async () => {
    for (const scheduler of schedulers) {
      await both(table(nat({ scheduler, hashPort: scheduler === 'sh' || scheduler === 'mh' })));
      const shown = wire
        .on('d1', 'ipvsadm -Sn')
        .split('\n')
        .find((line) => line.startsWith(`-A -t ${vip}:80 `));
      expect(shown).toContain(`-s ${scheduler}`);
      const met = await c1.tell<Record<string, number>>('many', vip, 80, 4, 1);
      expect(
        Object.values(met).reduce((a, b) => a + b, 0),
        scheduler,
      ).toBe(4);
      for (const who of Object.keys(met)) expect(names, scheduler).toContain(who);
    }
  });

  test('rr and wrr share out exactly, a weight of 0 takes nothing', async () => {
    await both(table(nat()));
    expect(await c1.tell('many', vip, 80, 90, 4)).toEqual({ s1: 30, s2: 30, s3: 30 });
    await both(table(nat({ scheduler: 'wrr' }), { s1: { weight: 3 }, s2: { weight: 1 }, s3: { weight: 0 } }));
    expect(await c1.tell('many', vip, 80, 80, 4)).toEqual({ s1: 60, s2: 20 });
  });

  test.each(['lc', 'wlc', 'sed'] as Scheduler[])(
    '%s sends new connections where there are fewest',
    async (scheduler) => {
      await both(table(nat({ scheduler })));
      const holds = new Set<string>();
      for (let i = 0; i < 3; i++) holds.add(await c1.tell<string>('hold', `few${i}`, vip, 80));
      expect([...holds].sort()).toEqual(names);
      await c1.tell('drop', 'few');
    },
  );

  test.each(['sh', 'mh'] as Scheduler[])(
    '%s keeps a client with its server on both directors, and goes past one that takes nothing',
    async (scheduler) => {
      await both(table(nat({ scheduler })));
      const first = await c1.tell<string>('ask', vip, 80);
      expect(await c1.tell('many', vip, 80, 10, 2)).toEqual({ [first]: 10 });
      own('d2');
      expect(await c1.tell('ask', vip, 80)).toBe(first);
      own('d1');
      await both(table(nat({ scheduler }), { [first]: { weight: 0 } }));
      expect(await c1.tell('ask', vip, 80)).not.toBe(first);
    },
  );

  test('fo sends everything to the heaviest that is there', async () => {
    const weights = { s1: { weight: 1 }, s2: { weight: 9 }, s3: { weight: 5 } };
    await both(table(nat({ scheduler: 'fo' }), weights));
    expect(await c1.tell('many', vip, 80, 5, 1)).toEqual({ s2: 5 });
    await both(table(nat({ scheduler: 'fo' }), { ...weights, s2: { weight: 9, up: false } }));
    expect(await c1.tell('many', vip, 80, 5, 1)).toEqual({ s3: 5 });
  });

  test('a persistent client stays with its server, on the other director too, and leaves a drained one', async () => {
    const of = nat({ persistenceMs: 300_000 });
    await both(table(of));
    const first = await c1.tell<string>('ask', vip, 80);
    expect(await c1.tell('many', vip, 80, 10, 2)).toEqual({ [first]: 10 });
    expect(await c2.tell('ask', vip, 80)).not.toBe(first);
    await both(table(of, { [first]: { weight: 0 } }));
    expect(await c1.tell('ask', vip, 80)).not.toBe(first);
    await both(table(nat()));
  });

  test('weight 0 keeps what is established and gets nothing new', async () => {
    await both(table(nat()));
    const mine = await c1.tell<string>('hold', 'drain', vip, 80);
    await both(table(nat(), { [mine]: { weight: 0 } }));
    const met = await c1.tell<Record<string, number>>('many', vip, 80, 12, 2);
    expect(met[mine]).toBeUndefined();
    expect(await c1.tell('say', 'drain', 'still')).toBe(`${mine} 8080 still`);
    await c1.tell('drop', 'drain');
  });

  test('the sorry server answers when none is left, and the client is refused when it is gone too', async () => {
    const of = nat();
    const last = { ...of, servers: of.servers.slice(0, 2), sorry: of.servers.slice(2) };
    await both(table(last));
    expect(await c1.tell('many', vip, 80, 10, 2)).toEqual({ s1: 5, s2: 5 });
    await both(table(last, { s1: { up: false }, s2: { up: false } }));
    expect(await c1.tell('many', vip, 80, 4, 2)).toEqual({ s3: 4 });
    await both(table(last, { s1: { up: false }, s2: { up: false }, s3: { up: false } }));
    await expect(c1.tell('ask', vip, 80)).rejects.toThrow('ECONNREFUSED');
    await both(table(last));
    expect(await c1.tell('many', vip, 80, 10, 2)).toEqual({ s1: 5, s2: 5 });
  });
});

describe('what is seen', () => {
  test('connections are those of ipvsadm -Ln --stats, by server', async () => {
    await both(table(nat()));
    for (let i = 0; i < 6; i++) await c1.tell('hold', `count${i}`, vip, 80);
    const counts = await d1.tell<Connections[]>('connections');
    const listed = wire.on('d1', 'ipvsadm -Ln').split('\n');
    for (const { server, active, inactive } of counts) {
      const row = listed.find((line) => line.includes(`-> ${wire.address(server.split('@')[1]!)}:8080`))!;
      expect(row.trim().split(/\s+/).slice(4).map(Number)).toEqual([active, inactive]);
      expect(active).toBe(2);
    }
    const stats = wire
      .on('d1', 'ipvsadm -Ln --stats')
      .split('\n')
      .find((line) => line.includes(`TCP  ${vip}:80`))!;
    expect(Number(stats.trim().split(/\s+/)[2])).toBeGreaterThanOrEqual(6);
    await c1.tell('drop', 'count');
  });

  test('a table edited by hand is told, and the next apply takes it back without touching the rest', async () => {
    await both(table(nat()));
    expect(await d1.tell('drift')).toEqual([]);
    wire.on(
      'd1',
      `ipvsadm -e -t ${vip}:80 -r ${wire.address('s1')}:8080 -m -w 7
       ipvsadm -d -t ${vip}:80 -r ${wire.address('s2')}:8080
       ipvsadm -A -t ${vip}:99 -s rr
       ipvsadm -A -t 10.99.0.1:80 -s rr`,
    );
    expect(await d1.tell('drift')).toEqual([
      `tcp ${vip}:99 is not of this director`,
      `tcp ${vip}:80: ${wire.address('s1')}:8080 has weight 7 instead of 1`,
      `tcp ${vip}:80: server ${wire.address('s2')}:8080 is missing`,
    ]);
    await d1.tell('apply', [table(nat())]);
    expect(await d1.tell('drift')).toEqual([]);
    // What is not this director's is nobody's to remove.
    expect(wire.on('d1', 'ipvsadm -Sn')).toContain('10.99.0.1:80');
    wire.on('d1', 'ipvsadm -D -t 10.99.0.1:80');
  });
});

describe('failure', () => {
  test('nft flush ruleset: the marks of a range of ports are made again', async () => {
    await both(table(listen('tcp-8000-8010', { to: 'same' })));
    expect(names).toContain(await c1.tell('ask', vip, 8005));
    // As a restart of nftables.service does, on Debian.
    wire.on('d1', 'nft flush ruleset');
    const marks = () => wire.on('d1', 'nft list tables').includes('phalanx_lab_front_ipvs');
    await until('the table is there again', async () => marks(), Number(patience));
    expect(names).toContain(await c1.tell('ask', vip, 8005));
  });

  test.each([
    ['nat', 'nat', vip, 80],
    ['nat over IPv6', 'nat', vip6, 80],
    ['dr', 'dr', direct, 81],
    ['tun', 'tun', direct, 82],
  ] as const)('%s: clients of a dead server who only wait get a reset', async (_how, way, host, port) => {
    const of = { nat, dr, tun }[way]();
    const apply = way === 'nat' ? both : straight;
    await apply(table(of));
    await c1.tell('holdMany', 'dead', host, port, 30);
    await apply(table(of, { s2: { up: false } }));
    const [mine, other] = way === 'nat' ? [d1, d2] : [direct1, direct2];
    expect(await other.tell('reset', of.name, 'web@s2')).toBe(0);
    expect(await mine.tell('reset', of.name, 'web@s2')).toBe(10);
    await until(
      'they are told',
      async () => {
        const ends = await c1.tell<Record<string, number>>('ends', 'dead');
        return ends['ECONNRESET'] === 10 && ends['open'] === 20;
      },
      Number(patience),
    );
    await c1.tell('drop', 'dead');
    await apply(table(of));
  });

  test.each([
    ['nat', vip, 80],
    ['nat over IPv6', vip6, 80],
    ['dr', direct, 81],
    ['tun', direct, 82],
  ] as const)('%s: an established connection survives the takeover of the VIP', async (_how, host, port) => {
    await both(table(nat()));
    await straight(table(dr()), table(tun()));
    const mine = await c1.tell<string>('hold', 'move', host, port);
    expect(await c1.tell('say', 'move', 'one')).toContain('one');
    const clientPort = await c1.tell<number>('port', 'move');
    // The kernel's daemons bring it over within a second.
    await until(
      'the other director knows it',
      async () => {
        const found = wire.on('d2', 'ipvsadm -Lnc').split('\n');
        return found.some((line) => line.includes(`:${clientPort} `) && line.includes('ESTABLISHED'));
      },
      Number(patience),
    );
    own('d2');
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

  test('close takes away what is its own, and the last one ends the daemons', async () => {
    await both(table(nat()), table(listen('tcp-8000-8010', { to: 'same' })));
    expect(wire.on('d2', 'ipvsadm -L --daemon')).toContain('master sync daemon');
    await d2.tell('close');
    expect(wire.on('d2', 'ipvsadm -Sn')).not.toContain(vip);
    expect(wire.on('d2', 'nft list tables')).not.toContain('front_ipvs');
    await direct2.tell('close');
    expect(wire.on('d2', 'ipvsadm -Sn').trim()).toBe('');
    expect(wire.on('d2', 'ipvsadm -L --daemon').trim()).toBe('');
  });
});
