import { expect, test } from 'vitest';
import type { Check } from '../../../../check/check.ts';
import type { Listen, RealServer, Table } from '../../tables.ts';
import { parseCounts, parseTies } from './counts.ts';
import { differences, edits, parseSaved } from './saved.ts';
import { beside, marksOf, wantedServices } from './wanted.ts';

const check: Check = { kind: 'tcp', intervalMs: 1000, timeoutMs: 1000, rise: 1, fall: 1 };
const vips = ['10.78.0.100', 'fd78::100'];

const server = (n: number, port?: number): RealServer => ({
  name: `web@s${n}`,
  host: `s${n}`,
  address: `10.78.0.${n}`,
  address6: `fd78::${n}`,
  ...(port === undefined ? {} : { port }),
  checkPort: 8080,
  weight: 1,
});
const listen = (change: Partial<Listen> = {}): Listen => ({
  name: 'tcp-80',
  proto: 'tcp',
  ports: [80, 80],
  plane: 'ipvs',
  forward: 'nat',
  scheduler: 'wlc',
  hashPort: false,
  persistenceMs: 0,
  idleMs: 900_000,
  servers: [server(1, 8080), server(2, 8080)],
  sorry: [],
  check,
  ...change,
});
const table = (of: Listen, changes: Record<string, { weight?: number; up?: boolean }> = {}): Table => {
  const state = (sorry: boolean) => (one: RealServer) => ({
    server: one,
    weight: one.weight,
    up: true,
    sorry,
    ...changes[one.host],
  });
  return { listen: of, servers: [...of.servers.map(state(false)), ...of.sorry.map(state(true))] };
};
const wanted = (...tables: Table[]) => wantedServices('c_f', tables, vips);
const built = (...tables: Table[]) => edits(new Map(), wanted(...tables));

test('a table is made of one rule a VIP and one a server, IPv4 and IPv6', () => {
  expect(built(table(listen({ persistenceMs: 300_000 }), { s2: { weight: 3 } }))).toEqual([
    '-A -t 10.78.0.100:80 -s wlc -p 300',
    '-a -t 10.78.0.100:80 -r 10.78.0.1:8080 -m -w 1',
    '-a -t 10.78.0.100:80 -r 10.78.0.2:8080 -m -w 3',
    '-A -t [fd78::100]:80 -s wlc -p 300',
    '-a -t [fd78::100]:80 -r [fd78::1]:8080 -m -w 1',
    '-a -t [fd78::100]:80 -r [fd78::2]:8080 -m -w 3',
  ]);
});

test('dr and tun keep the port that the client asked for, hashes go past servers that take nothing', () => {
  const first = (of: Listen) => built(table(of)).slice(0, 2);
  expect(first(listen({ forward: 'dr' }))).toContain('-a -t 10.78.0.100:80 -r 10.78.0.1:80 -g -w 1');
  expect(first(listen({ forward: 'tun', proto: 'udp' }))).toContain(
    '-a -u 10.78.0.100:80 -r 10.78.0.1:80 -i -w 1',
  );
  expect(first(listen({ scheduler: 'sh', hashPort: true }))[0]).toBe(
    '-A -t 10.78.0.100:80 -s sh -b sh-fallback,sh-port',
  );
  expect(first(listen({ scheduler: 'mh' }))[0]).toBe('-A -t 10.78.0.100:80 -s mh -b mh-fallback');
  expect(() => built(table(listen({ forward: 'fullnat' })))).toThrow('ipvs has no fullnat');
});

test('a range of ports is a firewall mark for each family, the same on every director', () => {
  const of = listen({ name: 'tcp-8000-8010', ports: [8000, 8010], servers: [server(1)] });
  const mark = marksOf('c_f', [of]).get('tcp-8000-8010')!;
  expect(mark).toBeGreaterThan(0x5048_0000);
  expect(built(table(of))).toEqual([
    `-A -f ${mark} -s wlc`,
    `-a -f ${mark} -r 10.78.0.1:0 -m -w 1`,
    `-A -f ${mark} -6 -s wlc`,
    `-a -f ${mark} -6 -r [fd78::1]:0 -m -w 1`,
  ]);
  expect(beside('c_f', [of], vips).filter((line) => line.includes(' in ip'))).toEqual([
    `add rule inet phalanx_c_f_ipvs in ip daddr 10.78.0.100 tcp dport 8000-8010 meta mark set ${mark}`,
    `add rule inet phalanx_c_f_ipvs in ip6 daddr fd78::100 tcp dport 8000-8010 meta mark set ${mark}`,
  ]);
});

test('servers of nat over IPv6 are never told to go round the director; what needs nothing beside IPVS has no table', () => {
  expect(beside('c_f', [listen()], vips).at(-1)).toBe(
    'add rule inet phalanx_c_f_ipvs out icmpv6 type nd-redirect drop',
  );
  const gone = ['add table inet phalanx_c_f_ipvs', 'delete table inet phalanx_c_f_ipvs'];
  expect(beside('c_f', [listen()], ['10.78.0.100'])).toEqual(gone);
  expect(beside('c_f', [listen({ forward: 'dr' })], vips)).toEqual(gone);
});

test('dead servers are out, drained ones stay with weight 0, a sorry server takes over only when none is left', () => {
  const of = listen({ sorry: [server(9, 8080)] });
  const weights = (changes: Parameters<typeof table>[1], scheduler: Listen['scheduler'] = 'wlc') =>
    Object.fromEntries(
      [...wanted(table({ ...of, scheduler }, changes)).get('-t 10.78.0.100:80')!.servers].map(
        ([at, { weight }]) => [at.split(/[.:]/)[3], weight],
      ),
    );
  expect(weights({ s1: { up: false } })).toEqual({ 2: 1, 9: 0 });
  expect(weights({ s1: { weight: 0 } })).toEqual({ 1: 0, 2: 1, 9: 0 });
  expect(weights({ s1: { weight: 0 }, s2: { up: false } })).toEqual({ 1: 0, 9: 1 });
  // dh would refuse the clients of a server that takes nothing.
  expect(weights({ s1: { weight: 0 } }, 'dh')).toEqual({ 2: 1 });
});

const saved = `-A -t 10.78.0.100:80 -s wlc -p 300
-a -t 10.78.0.100:80 -r 10.78.0.1:8080 -m -w 1
-a -t 10.78.0.100:80 -r 10.78.0.2:8080 -m -w 3
-A -t 10.78.0.100:82 -s mh -b mh-fallback,mh-port
-a -t 10.78.0.100:82 -r 10.78.0.1:82 -i -w 1 --tun-type ipip
-A -u 10.78.0.100:53 -s rr
-A -t [fd78::100]:80 -s nq -p 60
-a -t [fd78::100]:80 -r [fd78::1]:8080 -g -w 2
-A -f 1346895874 -6 -s fo
-a -f 1346895874 -6 -r [fd78::1]:0 -m -w 1
`;

test('what ipvsadm -Sn prints is read back, and nothing is edited when it is what shall be', () => {
  const read = parseSaved(saved);
  expect([...read.keys()]).toEqual([
    '-t 10.78.0.100:80',
    '-t 10.78.0.100:82',
    '-u 10.78.0.100:53',
    '-t [fd78::100]:80',
    '-f 1346895874 -6',
  ]);
  expect(read.get('-t 10.78.0.100:82')).toMatchObject({ flags: 'mh-fallback,mh-port', persistence: 0 });
  expect(read.get('-t 10.78.0.100:82')!.servers.get('10.78.0.1:82')).toEqual({ forward: '-i', weight: 1 });
  const again = parseSaved(edits(new Map(), read).join('\n'));
  expect(again).toEqual(read);
  expect(edits(read, read)).toEqual([]);
  expect(differences(read, read)).toEqual([]);
});

test('a change edits what it changes and nothing else', () => {
  const before = wanted(table(listen()));
  const after = wanted(table(listen({ scheduler: 'rr' }), { s1: { weight: 5 }, s2: { up: false } }));
  expect(edits(before, after).filter((line) => !line.includes('['))).toEqual([
    '-E -t 10.78.0.100:80 -s rr',
    '-d -t 10.78.0.100:80 -r 10.78.0.2:8080',
    '-e -t 10.78.0.100:80 -r 10.78.0.1:8080 -m -w 5',
  ]);
  expect(edits(before, new Map())).toEqual(['-D -t 10.78.0.100:80', '-D -t [fd78::100]:80']);
});

test('a table edited by hand is told, each edit in a sentence', () => {
  const want = wanted(table(listen()));
  const now = parseSaved(`-A -t 10.78.0.100:80 -s rr -p 9
-a -t 10.78.0.100:80 -r 10.78.0.1:8080 -m -w 7
-a -t 10.78.0.100:80 -r 10.78.0.3:8080 -m -w 1
-A -t 10.78.0.100:99 -s rr`);
  expect(differences(now, want)).toEqual([
    'tcp 10.78.0.100:99 is not of this director',
    'tcp 10.78.0.100:80 has scheduler rr instead of wlc',
    'tcp 10.78.0.100:80 has persistence 9 s instead of 0 s',
    'tcp 10.78.0.100:80: 10.78.0.1:8080 has weight 7 instead of 1',
    'tcp 10.78.0.100:80 has server 10.78.0.3:8080, which is not of it',
    'tcp 10.78.0.100:80: server 10.78.0.2:8080 is missing',
    'tcp [fd78::100]:80 is missing',
  ]);
  // One-packet scheduling, a netmask: nothing that Phalanx sets, so a hand did.
  expect(
    differences(parseSaved('-A -u 10.78.0.100:53 -s rr -o'), parseSaved('-A -u 10.78.0.100:53 -s rr')),
  ).toEqual(['udp 10.78.0.100:53 has flags -o instead of none']);
});

test('counts are those of ipvsadm -Ln', () => {
  const text = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.78.0.100:80 wlc persistent 300
  -> 10.78.0.1:8080               Masq    1      12         3         
UDP  10.78.0.100:53 rr
TCP  [fd78::100]:80 sh (sh-fallback,sh-port)
  -> [fd78::1]:8080               Route   0      1          0         
FWM  1346895874 IPv6 fo
  -> [fd78::1]:0                  Tunnel  1      0          7         
`;
  expect(parseCounts(text)).toEqual([
    { at: '-t 10.78.0.100:80', server: '10.78.0.1:8080', active: 12, inactive: 3 },
    { at: '-t [fd78::100]:80', server: '[fd78::1]:8080', active: 1, inactive: 0 },
    { at: '-f 1346895874 -6', server: '[fd78::1]:0', active: 0, inactive: 7 },
  ]);
});

test("the kernel's list of connections is read, templates of persistence are none", () => {
  const text = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A4E0010 C350 0A4E0064 0050 0A4E0001 1F90 ESTABLISHED     899
TCP 0A4E0010 0000 0A4E0064 0050 0A4E0001 1F90 NONE            299
UDP [fd78:0000:0000:0000:0000:0000:0000:0010] C351 [fd78:0000:0000:0000:0000:0000:0000:0100] 0035 [fd78:0000:0000:0000:0000:0000:0000:0001] 14B4 UDP             299
`;
  expect(parseTies(text)).toEqual([
    {
      proto: 'tcp',
      client: '10.78.0.16',
      clientPort: 50000,
      vip: '10.78.0.100',
      port: 80,
      server: '10.78.0.1',
      serverPort: 8080,
      state: 'ESTABLISHED',
    },
    expect.objectContaining({
      proto: 'udp',
      client: 'fd78::10',
      vip: 'fd78::100',
      server: 'fd78::1',
      port: 53,
    }),
  ]);
});
