import fc from 'fast-check';
import { expect, test } from 'vitest';
import { engines } from '../engines/index.ts';
import { parseCluster } from '../file/read.ts';
import { importText } from './import.ts';
import type { Note } from './model.ts';

type Wanted = Parameters<typeof importText>[2];

const state = { home: '/tmp/none', addresses: {}, secrets: {}, releases: {} };

/** What import writes, after our own parser has taken it: that it does is part of every test here. */
function read(text: string, wanted: Wanted = {}) {
  const imported = importText({ path: 'k.conf', text }, () => [], wanted);
  const cluster = parseCluster(imported.yaml, 'imported.yaml', engines, state);
  return { ...imported, cluster };
}
const notes = (all: Note[], kind: Note['kind']) =>
  all.filter((note) => note.kind === kind).map(({ place, what }) => `${place.line} ${what}`);

const web = `
vrrp_instance VI_1 {
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 150
  advert_int 0.1
  nopreempt
  unicast_src_ip 10.20.0.2
  unicast_peer { 10.20.0.3 }
  authentication { auth_type PASS
    auth_pass secret }
  virtual_ipaddress { 10.20.0.100/24 dev eth0 }
}
virtual_server 10.20.0.100 80 {
  delay_loop 2
  lb_algo wrr
  lb_kind NAT
  persistence_timeout 300
  sorry_server 10.20.0.50 8081
  protocol TCP
  real_server 10.20.0.11 8080 {
    weight 3
    HTTP_GET {
      url { path /healthz
        status_code 200 }
      connect_timeout 1
      retry 2
    }
  }
  real_server 10.20.0.12 8080 {
    weight 1
    HTTP_GET {
      url { path /healthz
        status_code 200 }
      connect_timeout 1
      retry 2
    }
  }
}`;

test('a director with its virtual server, servers, check, sorry server and VRRP', () => {
  const { draft, notes: all, cluster } = read(web);
  expect(draft.hosts).toEqual({
    lb1: { address: '10.20.0.2' },
    lb2: { address: '10.20.0.3' },
    rs1: { address: '10.20.0.11' },
    rs2: { address: '10.20.0.12' },
    rs3: { address: '10.20.0.50' },
  });
  expect(draft.directors).toEqual([
    {
      name: 'front',
      hosts: ['lb1', 'lb2'],
      vip: ['10.20.0.100'],
      advert: '100ms',
      preempt: false,
      unicast: true,
      listen: [
        {
          port: 80,
          to: 'web',
          scheduler: 'wrr',
          forward: 'nat',
          persistence: '5m',
          weights: { rs1: 3 },
          sorry: 'sorry',
          check: { http: '/healthz', status: '200', interval: '2s', timeout: '1s', fall: 3 },
        },
      ],
    },
  ]);
  expect(cluster.services['web']).toMatchObject({ hosts: ['rs1', 'rs2'], spec: { port: 8080 } });
  expect(cluster.services['sorry']).toMatchObject({ hosts: ['rs3'], spec: { port: 8081 } });
  expect(notes(all, 'lost')).toEqual(['11 authentication']);
});

test('--ssh names the real machines, and asks for directors that the file does not name', () => {
  const { draft, cluster } = read(web, { ssh: 'root' });
  expect(draft.hosts['rs1']).toEqual({ ssh: 'root@10.20.0.11', address: '10.20.0.11' });
  // The servers that run there are left alone.
  expect(cluster.services['web']!.spec).toMatchObject({ command: 'exec sleep infinity' });
  const alone = web.replace(/unicast.*\n/g, '');
  expect(() => read(alone, { ssh: 'root' })).toThrow('the address of lb1 and lb2');
  const given = read(alone, { ssh: 'ops', directors: ['10.20.0.8', '10.20.0.9'] });
  expect(given.draft.hosts['lb2']).toEqual({ ssh: 'ops@10.20.0.9', address: '10.20.0.9' });
});

test('a file with conditions is all of its directors, in the order of their priorities', () => {
  const { draft } = read(`
vrrp_instance VI {
  @slow priority 90
  @fast priority 150
  @slow unicast_src_ip 10.20.0.2
  @fast unicast_src_ip 10.20.0.3
  virtual_ipaddress { 10.20.0.100 }
}
virtual_server 10.20.0.100 80 { real_server 10.20.0.11 80 { TCP_CHECK { } } }`);
  expect(draft.directors[0]!.hosts).toEqual(['fast', 'slow']);
  expect(draft.hosts).toMatchObject({ slow: { address: '10.20.0.2' }, fast: { address: '10.20.0.3' } });
});

test('nothing is dropped in silence: what no line of ours says is told with its line', () => {
  const { notes: all } = read(`virtual_server 10.20.0.100 80 {
  quorum 2
  hysteresis 1
  quorum_up /bin/up
  frobnicate 7
  ops
  real_server 10.20.0.11 80 {
    uthreshold 100
    notify_down /bin/down
    TCP_CHECK { connect_timeout 1
      wink 2 }
    SMTP_CHECK { helo_name x }
  }
}
static_routes { 10.0.0.0/8 via 10.20.0.1 }
vrrp_script chk { script "/bin/true" }
nonsense here`);
  for (const expected of [
    '2 quorum 2',
    '3 hysteresis 1',
    '4 quorum_up /bin/up',
    '5 frobnicate 7',
    '6 ops',
    '8 uthreshold 100',
    '9 notify_down /bin/down',
    '11 wink 2',
    '12 SMTP_CHECK',
    '15 static_routes',
    '16 vrrp_script chk',
    '17 nonsense here',
  ])
    expect(notes(all, 'lost')).toContain(expected);
});

test('checks over TLS, by script and at another port become scripts that a director can run', () => {
  const check = (checker: string, port = 443) =>
    read(`virtual_server 10.20.0.100 ${port} { delay_loop 5
 real_server 10.20.0.11 ${port} { ${checker} } }`).draft.directors[0]!.listen[0]!.check;
  expect(
    check('SSL_GET { url { path /ok\nstatus_code 200-299 404 }\nenable_sni\nvirtualhost shop.example }'),
  ).toMatchObject({
    script: `curl -sk -o /dev/null -m 5 -w '%{http_code}' --connect-to shop.example::"$ADDRESS:$PORT" https://shop.example/ok | grep -Eqx '2..|404'`,
    fall: 4,
    interval: '5s',
  });
  // Each server has arguments of its own there; here all have one check.
  expect(check('MISC_CHECK { misc_path "/bin/check.sh 10.20.0.11 443 -v"\nmisc_timeout 7 }')).toEqual({
    script: '/bin/check.sh "$ADDRESS" "$PORT" -v',
    interval: '5s',
    timeout: '7s',
    fall: 1,
  });
  expect(check('TCP_CHECK { connect_port 9000 }')).toMatchObject({
    script: 'timeout 5 bash -c "</dev/tcp/$ADDRESS/9000"',
  });
  expect(check('HTTP_GET { url { path / } }', 80)).toMatchObject({ http: '/', status: '200-299' });
});

test('virtual servers with the same servers share a service; one without some of them gives those weight 0', () => {
  const { draft, notes: all } = read(`
virtual_server 10.20.0.100 80 { real_server 10.20.0.11 80 { TCP_CHECK {} }
 real_server 10.20.0.12 80 { TCP_CHECK {} } }
virtual_server 10.20.0.100 8000 { real_server 10.20.0.12 80 { TCP_CHECK {} } }`);
  expect(draft.apps).toMatchObject([{ name: 'web', hosts: ['rs1', 'rs2'], port: 80 }]);
  expect(draft.directors[0]!.listen[1]).toMatchObject({ port: 8000, to: 'web', weights: { rs1: 0 } });
  expect(notes(all, 'differs')).toContain('4 virtual_server 10.20.0.100 8000');
});

test('groups are their addresses; a mark cannot be known from this file', () => {
  const { draft, notes: all } = read(`virtual_server_group G {
  10.20.0.100 80
  10.20.0.101-103 80
  fwmark 3
}
virtual_server group G { lb_kind DR
 real_server 10.20.0.11 80 { TCP_CHECK {} } }
virtual_server fwmark 9 { real_server 10.20.0.11 80 { TCP_CHECK {} } }`);
  expect(draft.directors[0]!.vip).toEqual(['10.20.0.100', '10.20.0.101', '10.20.0.102', '10.20.0.103']);
  expect(draft.apps[0]!.name).toBe('g');
  expect(notes(all, 'lost')).toEqual(['4 fwmark 3', '8 virtual_server fwmark 9']);
});

test('a service of all ports leaves out those that have a service of their own', () => {
  const { draft } = read(`
virtual_server 10.20.0.100 { lb_kind DR
 persistence_timeout
 real_server 10.20.0.11 { TCP_CHECK { connect_port 22 } } }
virtual_server 10.20.0.100 443 { lb_kind DR
 real_server 10.20.0.11 443 { TCP_CHECK {} } }`);
  expect(draft.directors[0]!.listen.map(({ port, persistence }) => [port, persistence])).toEqual([
    [443, undefined],
    ['1-442', '6m'],
    ['444-65535', '6m'],
  ]);
});

test('two VIPs whose servers answer by nat become one director, or the second takes fullnat', () => {
  const server = (vip: string, port: number, real = 80) =>
    `virtual_server ${vip} ${port} { real_server 10.20.0.11 ${real} { TCP_CHECK {} } }\n`;
  const joined = read(server('10.20.0.100', 80) + server('10.20.0.101', 81));
  expect(joined.draft.directors).toMatchObject([{ vip: ['10.20.0.100', '10.20.0.101'] }]);
  const parted = read(
    `${server('10.20.0.100', 80)}virtual_server 10.20.0.101 80 { lb_algo sh\n real_server 10.20.0.11 80 { TCP_CHECK {} } }`,
  );
  expect(parted.draft.directors.map(({ listen }) => listen[0]!.forward)).toEqual(['nat', 'fullnat']);
});

test('tun is written for the plane that can', () => {
  const { draft } = read(
    'virtual_server 10.20.0.100 80 { lb_kind TUN\nreal_server 10.20.0.11 80 { TCP_CHECK {} } }',
  );
  expect(draft.directors[0]!.listen[0]).toMatchObject({ forward: 'tun', plane: 'ipvs' });
});

test('IPv6 on its own director, with the addresses of its servers', () => {
  const { draft } = read(`virtual_server fd20::100 80 { real_server fd20::11 80 { TCP_CHECK {} } }
virtual_server 10.20.0.100 80 { real_server 10.20.0.11 80 { TCP_CHECK {} } }`);
  expect(draft.directors.map(({ vip }) => vip)).toEqual([['fd20::100'], ['10.20.0.100']]);
  expect(draft.hosts['rs1']).toEqual({ address6: 'fd20::11' });
});

test('a director as its own real server, a VIP for nothing, and a file without virtual servers', () => {
  const { notes: all } = read(`
vrrp_instance V { virtual_ipaddress { 10.20.0.100
 10.20.0.99 } }
virtual_server 10.20.0.100 80 {
  sorry_server 127.0.0.1 80
  real_server 10.20.0.11 80 { TCP_CHECK {} }
  real_server 127.0.0.1 80 { TCP_CHECK {} }
}`);
  expect(notes(all, 'lost')).toEqual([
    '3 10.20.0.99',
    '5 sorry_server 127.0.0.1 80',
    '7 real server 127.0.0.1 80',
  ]);
  expect(() => read('vrrp_instance V { virtual_ipaddress { 10.20.0.100 } }')).toThrow('nothing is written');
});

test('what another file says cannot leave its comment', () => {
  const { yaml } = read(`vrrp_instance "V\\nhosts: {}" { }\n"x\\ncluster: evil" y\n${web}`);
  expect(yaml).not.toMatch(/^(cluster: evil|hosts: \{\})/m);
});

test("ipvsadm's rules: every option, long and short, as commands or as saved", () => {
  const { draft, notes: all } = read(`# saved
-A -t 10.20.0.100:80 -s wlc -p 360
-a -t 10.20.0.100:80 -r 10.20.0.11:8080 -m -w 3
-a -t 10.20.0.100:80 -r 10.20.0.12:8080 -m -w 0 -x 100
ipvsadm --add-service --udp-service 10.20.0.100:53 --scheduler sh -b sh-port
ipvsadm --add-server --udp-service 10.20.0.100:53 --real-server 10.20.0.11:53 --masquerading
-A -t [fd20::100]:443 -s rr
-a -t [fd20::100]:443 -r [fd20::11]:443 -i -w 1 --tun-type gue --tun-port 6080
-A -f 7 -s rr
-a -f 7 -r 10.20.0.11:0 -g
-A -t www.example.com:http
-Z`);
  expect(draft.directors[0]!.listen).toMatchObject([
    { port: 80, scheduler: 'wlc', persistence: '6m', forward: 'nat', weights: { rs1: 3, rs2: 0 } },
    { port: 53, proto: 'udp', scheduler: 'sh', hash: 'port' },
  ]);
  expect(draft.directors[1]!.listen).toMatchObject([{ port: 443, forward: 'tun', plane: 'ipvs' }]);
  expect(all.filter(({ kind }) => kind === 'lost').map(({ place }) => place.line)).toEqual([
    4, 9, 10, 11, 12,
  ]);
});

test('a rule of ipvsadm without a way of forwarding is direct routing', () => {
  const { draft } = read('-A -t 10.20.0.100:80\n-a -t 10.20.0.100:80 -r 10.20.0.11');
  expect(draft.directors[0]!.listen[0]).toMatchObject({ forward: 'dr', scheduler: 'wlc' });
});

const address = fc.integer({ min: 1, max: 254 }).map((last) => `10.20.0.${last}`);
const anywhere = fc.oneof(address, address, fc.ipV4(), fc.constant('fd20::5'), fc.constant('127.0.0.1'));
const port = fc.constantFrom('80', '443', '8080', '', '0', 'http', 'zork');
const word = (...words: string[]) => fc.constantFrom(...words);
const checker = word(
  'TCP_CHECK { connect_port 81 }',
  'TCP_CHECK { }',
  'HTTP_GET { url { path /a b\n status_code 200-299 503 } }',
  'SSL_GET { url { path / \n digest 12 } }',
  'MISC_CHECK { misc_path "/bin/x $y 1" }',
  'MISC_CHECK { }',
  'DNS_CHECK { name a.b }',
  'UDP_CHECK { }',
  'PING_CHECK { retry 5000 }',
  'weight 99999999',
  'weight x',
  'lb_kind TUN',
  '',
);
const real = fc
  .tuple(anywhere, port, checker)
  .map(([at, to, check]) => `real_server ${at} ${to} { ${check} }`);
const virtual = fc
  .tuple(
    fc.oneof(
      fc.tuple(anywhere, port).map((both) => both.join(' ')),
      word('fwmark 1', 'group G', 'group NONE'),
    ),
    word('NAT', 'DR', 'TUN', 'x'),
    word('rr', 'sh\n sh-port', 'mh\n sh-port', 'wlc\n mh-port', 'twos'),
    word('TCP', 'UDP', 'SCTP'),
    fc.array(real, { maxLength: 4 }),
    fc.option(fc.tuple(anywhere, port).map(([at, to]) => `sorry_server ${at} ${to}`)),
    word(
      '',
      'persistence_timeout',
      'persistence_timeout 99999999',
      'delay_loop 0.001',
      'delay_loop 99999',
      '}',
      '{',
    ),
  )
  .map(
    ([at, kind, algorithm, proto, reals, sorry, more]) =>
      `virtual_server ${at} {\n lb_kind ${kind}\n lb_algo ${algorithm}\n protocol ${proto}\n ${more}\n ${sorry ?? ''}\n ${reals.join('\n ')}\n}\n`,
  );
const instance = fc
  .tuple(
    word('A', 'B', 'C'),
    fc.array(anywhere, { maxLength: 3 }),
    word('0.001', '1', '3.333', '400', 'x'),
    word('MASTER', 'BACKUP'),
  )
  .map(
    ([name, vips, advert, says]) =>
      `vrrp_instance ${name} {\n state ${says}\n advert_int ${advert}\n @x priority 9\n virtual_ipaddress {\n${vips.join('\n')}\n}\n}\n`,
  );

test('whatever is read, a file is written that our own parser takes, or a sentence says why not', {
  tags: ['long'],
}, () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          virtual,
          virtual,
          virtual,
          instance,
          word(
            'vrrp_sync_group G { group { A\nB } }\n',
            'virtual_server_group G { 10.20.0.1-3 80\n fd20::9 90 }\n',
          ),
        ),
        { minLength: 1, maxLength: 8 },
      ),
      fc.boolean(),
      (parts, real) => {
        const text = parts.join('');
        try {
          read(text, real ? { ssh: 'root', directors: ['10.20.0.1', '10.20.0.2'] } : {});
        } catch (error) {
          expect((error as Error).message).toContain('nothing is written');
        }
      },
    ),
    { numRuns: 300, seed: 7 },
  );
});
