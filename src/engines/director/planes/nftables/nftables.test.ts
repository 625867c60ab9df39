import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { AgentConfig, Listen, RealServer, Table } from '../../tables.ts';
import { NftablesPlane } from '../nftables.ts';
import { marks, syncMac } from './identity.ts';
import { elements, milliseconds } from './listing.ts';
import { sentence } from './nft.ts';
import { roster } from './roster.ts';
import { changes, found, type Ruleset } from './ruleset.ts';
import { lastBits } from './short.ts';
import { deviceOf, peersOf, routesOf } from './surroundings.ts';
import { type Surroundings, switching } from './switching.ts';
import { tracking } from './tracking.ts';

const vip = '10.77.0.100';

function server(n: number, port?: number): RealServer {
  const place = { host: `app${n}`, address: `10.77.0.${n}`, address6: `fd77::${n}` };
  return {
    name: `web@app${n}`,
    ...place,
    ...(port === undefined ? {} : { port }),
    checkPort: 8080,
    weight: 1,
  };
}

function listen(change: Partial<Listen> = {}): Listen {
  return {
    name: 'tcp-80',
    proto: 'tcp',
    ports: [80, 80],
    plane: 'nftables',
    forward: 'nat',
    scheduler: 'rr',
    hashPort: false,
    persistenceMs: 0,
    idleMs: 900_000,
    servers: [server(1, 8080), server(2, 8080)],
    sorry: [],
    check: { kind: 'tcp', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1 },
    ...change,
  };
}

function table(of: Listen, down: string[] = []): Table {
  const state = (sorry: boolean) => (each: RealServer) => ({
    server: each,
    weight: each.weight,
    up: !down.includes(each.name),
    sorry,
  });
  return { listen: of, servers: [...of.servers.map(state(false)), ...of.sorry.map(state(true))] };
}

const around: Surroundings = {
  device: 'eth0',
  peers: [{ address: '10.0.0.2', mac: '02:00:00:00:00:12' }],
  routes: [
    { family: 4, to: 'default', via: '10.77.0.1', device: 'eth0' },
    { family: 4, to: '10.77.0.0/24', device: 'eth0' },
  ],
};

function built(tables: Table[], vips = [vip], now?: Ruleset): Ruleset {
  const who = roster(
    tables.map((each) => each.listen),
    vips,
  );
  return switching('t', tables, who, around, now?.maps)!;
}

function rules(set: Ruleset, chain: string): string[] {
  return set.chains.get(chain)!.rules;
}

describe('rules', () => {
  test('nat: the way of a packet, whole', () => {
    const set = built([table(listen())]);
    const x = 'tcp_80_10_77_0_100';
    expect(rules(set, 'ingress_eth0')).toEqual([
      'meta pkttype != host accept',
      'ether saddr & ff:ff:ff:00:00:00 == 02:50:68:00:00:00 goto learn',
      'ip daddr . meta l4proto . th dport vmap @vips4',
      'meta mark set ip saddr . meta l4proto . th sport map @reals4 meta mark vmap @groups',
    ]);
    expect(rules(set, `in_${x}`)).toEqual([
      'meta mark set 0',
      `meta mark set ip saddr . tcp sport map @conns_${x}`,
      `tcp flags & (syn | ack) == syn goto syn_${x}`,
      `meta mark 0 goto miss_${x}`,
      `tcp flags & (fin | rst) != 0 goto fin_${x}`,
      `update @conns_${x} { ip saddr . tcp sport timeout 900s : meta mark }`,
      `goto send_${x}`,
    ]);
    expect(rules(set, `pick_${x}`)).toEqual([
      'meta mark set 0',
      'meta mark set numgen inc mod 2 map @slots_tcp_80_4',
      `goto enter_${x}`,
    ]);
    expect(rules(set, `send_${x}`)).toEqual([
      `meta mark != @up goto refuse_${x}`,
      'ip daddr set meta mark map @addrs4',
      'tcp dport set 8080',
      'goto out4',
    ]);
    expect(rules(set, 'out4')).toEqual([
      'ip daddr 10.77.0.0/24 fwd ip to ip daddr device "eth0"',
      'fwd ip to 10.77.0.1 device "eth0"',
      'drop',
    ]);
  });

  test('dr rewrites nothing above the frame', () => {
    const set = built([table(listen({ forward: 'dr' }))]);
    expect(rules(set, 'send_tcp_80_10_77_0_100')).toEqual([
      'meta mark != @up goto refuse_tcp_80_10_77_0_100',
      'fwd ip to meta mark map @addrs4 device "eth0"',
    ]);
    expect([...set.chains.keys()].filter((name) => /^(back|reply)_/.test(name))).toEqual([]);
  });

  test('no key added to by packets is longer than the 16 bytes that nft 1.0.6 can carry', () => {
    const set = built([table(listen({ ports: [80, 90], servers: [server(1)] }))], ['fd77::100']);
    expect(set.maps.get('conns_tcp_80_fd77__100')!.declaration).toContain(
      '@nh,128,64 . tcp sport . tcp dport',
    );
    const narrow = built([table(listen())], ['fd77::100']);
    expect(narrow.maps.get('conns_tcp_80_fd77__100')!.declaration).toContain('@nh,96,96 . tcp sport');
  });

  test('services that share a real server try all live connections before any closing one', () => {
    const set = built([table(listen()), table(listen({ name: 'tcp-81', ports: [81, 81] }))]);
    const chain = [...set.chains].find(([name]) => name.startsWith('replies_any_'))![1];
    expect(chain.rules.map((rule) => rule.split('_')[0])).toEqual([
      'jump back',
      'jump back',
      'jump late',
      'jump late',
    ]);
    expect(rules(set, 'enter_tcp_80_10_77_0_100')[0]).toMatch(/^delete @closing_tcp_81/);
  });

  test('a hash adopts what it does not know, a turn refuses it; nobody left refuses all', () => {
    const hash = built([table(listen({ scheduler: 'mh' }))]);
    expect(rules(hash, 'miss_tcp_80_10_77_0_100').join()).toContain('jhash ip saddr mod 4093');
    const turn = built([table(listen())]);
    expect(rules(turn, 'miss_tcp_80_10_77_0_100').at(-1)).toBe('goto refuse_tcp_80_10_77_0_100');
    const none = built([table(listen(), ['web@app1', 'web@app2'])]);
    expect(rules(none, 'pick_tcp_80_10_77_0_100')).toEqual([
      'meta mark set 0',
      'goto refuse_tcp_80_10_77_0_100',
    ]);
  });

  test('sorry servers take over when the others are gone, and bind nobody', () => {
    const of = listen({ sorry: [server(9, 80)], persistenceMs: 60_000 });
    const set = built([table(of, ['web@app1', 'web@app2'])]);
    expect(set.maps.get('slots_tcp_80_4')!.slots).toHaveLength(1);
    expect(rules(set, 'enter_tcp_80_10_77_0_100').join()).not.toContain('persist');
    expect(rules(built([table(of)]), 'enter_tcp_80_10_77_0_100').join()).toContain('persist');
  });

  test('fullnat leaves by the VIP and refuses on behalf of dead servers', () => {
    const of = listen({ forward: 'fullnat' });
    const set = tracking('t', [table(of)], roster([of], [vip]))!;
    expect(rules(set, 'postrouting')).toEqual([
      'ct mark @ours ct status dnat ct original ip daddr 10.77.0.100 snat ip to 10.77.0.100',
    ]);
    expect(rules(set, 'dead')).toEqual(['ct direction original ct mark @ours ct mark != @up goto refuse']);
  });
});

describe('changes', () => {
  test('none where nothing differs', () => {
    const set = built([table(listen())]);
    expect(changes(found(set), built([table(listen())], [vip], set))).toEqual([]);
  });

  test('a server that dies: its mark, its slots and the chain that draws', () => {
    const of = listen();
    const before = built([table(of)]);
    const lines = changes(found(before), built([table(of, ['web@app2'])], [vip], before));
    expect(lines.filter((line) => line.startsWith('flush chain'))).toEqual([
      'flush chain netdev t pick_tcp_80_10_77_0_100',
    ]);
    expect(lines.join('\n')).toMatch(/delete element netdev t up /);
    expect(lines.join('\n')).not.toMatch(/flush (map|set)|delete table/);
  });

  test('a virtual service that goes takes its chains and maps along, after nothing names them any more', () => {
    const [a, b] = [listen(), listen({ name: 'tcp-81', ports: [81, 81], forward: 'dr' })];
    const lines = changes(found(built([table(a), table(b)])), built([table(a)]));
    const at = (part: string) => lines.findIndex((line) => line.includes(part));
    expect(at('delete element netdev t vips4')).toBeLessThan(at('delete chain netdev t in_tcp_81'));
    expect(at('flush chain netdev t in_tcp_81')).toBeLessThan(at('delete map netdev t conns_tcp_81'));
    expect(lines.join('\n')).not.toContain('conns_tcp_80');
  });

  test('another version of a map: the table is built anew in the same transaction', () => {
    const set = built([table(listen())]);
    const old = found(set);
    old.prints.set('map/dynamic/conns_tcp_80_10_77_0_100', 'otherwise');
    expect(changes(old, set).slice(0, 2)).toEqual(['delete table netdev t', 'add table netdev t']);
  });
});

describe('identity', () => {
  test('a server keeps its number whoever comes or goes', () => {
    const some = marks([listen()]);
    const more = marks([listen({ servers: [server(0, 80), server(1, 80), server(2, 80), server(3, 80)] })]);
    for (const [name, mark] of some) expect(more.get(name)).toBe(mark);
    expect(new Set(more.values()).size).toBe(4);
    expect([...more.values()]).not.toContain(0);
  });

  test('its MAC address is locally administered, and says the number', () => {
    expect(syncMac(0xabcdef)).toBe('02:50:68:ab:cd:ef');
    expect(syncMac(10)).toBe('02:50:68:00:00:0a');
  });
});

describe('what the host says', () => {
  test('listings of elements, with times, verdicts and comments', () => {
    const text = `table netdev t {
	map conns {
		typeof ip saddr . tcp sport : meta mark
		flags dynamic,timeout
		elements = { 1.2.3.4 . 5 timeout 15m expires 14m1s20ms : 0x00000007,
			     1.2.3.4 . 6 timeout 15m expires 1s : 0x0000000a }
	}
}`;
    expect([...elements(text)]).toEqual([
      { key: ['1.2.3.4', '5'], value: '7', expiresMs: 841_020 },
      { key: ['1.2.3.4', '6'], value: '10', expiresMs: 1000 },
    ]);
    const set =
      'table netdev t {\n\tset s {\n\t\telements = { 0x00000001 comment "chain/plain/a b" }\n\t}\n}\n';
    expect([...elements(set)]).toEqual([{ key: ['1'], value: '', comment: 'chain/plain/a b' }]);
    expect([...elements('table netdev t {\n\tset s {\n\t}\n}\n')]).toEqual([]);
    expect(milliseconds('1d2h')).toBe(93_600_000);
  });

  test("nft's refusal becomes a sentence with the line", () => {
    expect(sentence(['a', 'add rule x'], '/dev/stdin:2:1-8: Error: syntax error\nadd rule x\n')).toBe(
      "nft refused line 2, 'add rule x': syntax error",
    );
  });

  test('the device, the routes worth following, and peers that answer', () => {
    expect(deviceOf([{ ifname: 'eth1', addr_info: [{ local: '10.0.0.1' }] }], '10.0.0.1', 'lb1')).toBe(
      'eth1',
    );
    expect(() => deviceOf([], '10.0.0.1', 'lb1')).toThrow('lb1: no interface has the address 10.0.0.1');
    const lines = [
      { dst: 'default', gateway: '10.0.0.1', dev: 'eth0', metric: 1 },
      { dst: 'default', gateway: '10.0.0.2', dev: 'eth0', metric: 2 },
      { dst: 'fd77::100', dev: 'eth0', protocol: 'kernel' },
      { dst: '10.9.0.0/16', type: 'blackhole' },
    ];
    expect(routesOf(4, lines)).toEqual([{ family: 4, to: 'default', device: 'eth0', via: '10.0.0.1' }]);
    const near = [
      { dst: '10.0.0.2', dev: 'eth0', lladdr: '02:00:00:00:00:02', state: ['STALE'] },
      { dst: '10.0.0.3', dev: 'eth0', state: ['FAILED'] },
    ];
    const two = { address: '10.0.0.2', mac: '02:00:00:00:00:02' };
    expect(peersOf(near, ['10.0.0.2', '10.0.0.3'])).toEqual([two]);
    // A cable that was out has emptied the kernel's table: connections go on being shared when it is back.
    const three = { address: '10.0.0.3', mac: '02:00:00:00:00:03' };
    expect(peersOf([], ['10.0.0.2'], [two, three])).toEqual([two]);
    expect(peersOf([{ dst: '10.0.0.2', dev: 'eth0', state: ['INCOMPLETE'] }], ['10.0.0.2'], [two])).toEqual([
      two,
    ]);
    // Asked in vain: it is gone, and what is sent to it a switch would flood.
    expect(peersOf(near, ['10.0.0.2', '10.0.0.3'], [two, three])).toEqual([two]);
  });

  test('the end of an IPv6 address as a number', () => {
    expect(lastBits('fd78::16', 96)).toBe(0x16n);
    expect(lastBits('1:2:3:4:5:6:7:8', 64)).toBe(0x0005000600070008n);
    expect(lastBits('::ffff:1.2.3.4', 96)).toBe(0xffff01020304n);
  });
});

/** A folder of an nft and an ip that know what a plane asks them: the cases of nft's words are the test's. In $PATH until the test ends. */
function fakeNft(cases: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'nft-'));
  const program = (name: string, lines: string) =>
    writeFileSync(join(folder, name), `#!/bin/sh\ncd ${folder}\ncase "$*" in\n${lines}\nesac\n`, {
      mode: 0o755,
    });
  program(
    'ip',
    `'-j addr') echo '[{"ifname":"eth0","addr_info":[{"local":"127.0.0.1"}]}]' ;; *) echo '[]' ;;`,
  );
  program(
    'nft',
    `'-c -f -') cat >/dev/null ;;
${cases}
*) echo 'Error: No such file or directory' >&2; exit 1 ;;`,
  );
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
  return folder;
}

const config = (listens: Listen[]): AgentConfig => ({
  cluster: 'c',
  service: 'front',
  host: 'lb1',
  address: '127.0.0.1',
  peers: [],
  syncPort: 0,
  vips: [vip],
  listens,
});

test('tables that somebody else has removed are made again, and it is said', { tags: ['long'] }, async () => {
  // `tables` is what the kernel has.
  const folder = fakeNft(`'-f -') text=$(cat); set -- refuse*
  case "$text" in *'add chain'*) [ ! -e "$1" ] || { rm "$1"; echo 'out of memory' >&2; exit 1; } ;; esac
  echo "$text" >>sent ;;
'list tables') cat tables ;;`);
  const kernel = (tables: string) => writeFileSync(join(folder, 'tables'), tables);
  const made = () =>
    readFileSync(join(folder, 'sent'), 'utf8').split('add chain netdev phalanx_c_front ingress_eth0').length -
    1;
  const said: string[] = [];
  const listens = [listen()];
  const plane = new NftablesPlane(config(listens), (line) => said.push(line));
  const removed = 'nftables: the tables had been removed by somebody else, and are made again';
  try {
    kernel('table inet filter\ntable netdev phalanx_c_front\n');
    await plane.open();
    await plane.apply(listens.map((each) => table(each)));
    expect(made()).toBe(1);
    kernel('table inet filter\n');
    // Also where that fails at first, and again at once: nobody need tell the plane to try again.
    for (const time of [1, 2]) writeFileSync(join(folder, `refuse${time}`), '');
    await vi.waitFor(() => expect(made()).toBe(2), { timeout: 4000 });
    kernel('table inet filter\ntable netdev phalanx_c_front\n');
    expect(said.filter((line) => line === removed)).toHaveLength(1);
  } finally {
    await plane.release();
    vi.unstubAllEnvs();
  }
});

test('a look at the host that takes longer than the time between two keeps no others waiting', {
  tags: ['long'],
  timeout: 30_000,
}, async () => {
  const folder = fakeNft(`'-f -') cat >/dev/null ;;
'list tables') echo begun >>looks; sleep 2; cat tables; echo ended >>looks ;;`);
  writeFileSync(join(folder, 'tables'), 'table netdev phalanx_c_front\n');
  writeFileSync(join(folder, 'looks'), '');
  const looked = (what: string) => readFileSync(join(folder, 'looks'), 'utf8').split(what).length - 1;
  const plane = new NftablesPlane(config([listen()]));
  try {
    await plane.open();
    await plane.apply([table(listen())]);
    await vi.waitFor(() => expect(looked('ended')).toBe(2), { timeout: 20_000, interval: 50 });
    // Whoever comes now waits for one look at most.
    const before = looked('ended');
    await plane.connections();
    expect(looked('ended') - before).toBeLessThanOrEqual(1);
  } finally {
    await plane.release();
    vi.unstubAllEnvs();
  }
});

test('a server that comes back while its connections are being ended keeps the rest of them', async () => {
  const of = listen({ name: 'udp-53', proto: 'udp', ports: [53, 53] });
  const mark = marks([of]).get('udp-53 web@app1');
  const folder = fakeNft(`'-f -') cat >/dev/null ;;
*'list map netdev phalanx_c_front conns_udp_53_'*) cat conns ;;
'delete element '*) echo "$*" >>ended ;;`);
  writeFileSync(
    join(folder, 'conns'),
    `table netdev phalanx_c_front {\n\tmap conns {\n\t\telements = { 10.77.0.9 . 5353 timeout 5m expires 4m : ${mark} }\n\t}\n}\n`,
  );
  const ended = () => readdirSync(folder).includes('ended');
  const plane = new NftablesPlane(config([of]));
  try {
    await plane.open();
    await plane.apply([table(of, ['web@app1'])]);
    const back = plane.reset('udp-53', 'web@app1');
    await plane.apply([table(of)]);
    await back;
    expect(ended()).toBe(false);
    expect(await plane.reset('udp-53', 'web@app1')).toBe(0);
    await plane.apply([table(of, ['web@app1'])]);
    expect(await plane.reset('udp-53', 'web@app1')).toBe(1);
    expect(ended()).toBe(true);
  } finally {
    await plane.release();
    vi.unstubAllEnvs();
  }
});
