import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { schema as appSchema } from '../../src/engines/app/schema.ts';
import { FileErrors, parseCluster, readClusterFile } from '../../src/file/read.ts';
import { engines, fresh, marked, mistakes, parse, said } from './file-engines.ts';

const shop = `cluster: shop
hosts:
  lb1: {}
  lb2:
  app1: {}
  app2: {}
services:
  web:
    type: app
    hosts: [app1, app2]
    command: node server.ts
    port: 8080
    check: { http: /healthz }
  front:
    type: director
    hosts: [lb1, lb2]
    vip: 10.77.0.100
    listen:
      - { port: 80, to: web, persistence: 5m }
    promise: { rto: 300ms }
`;

/** The file has exactly these mistakes, one at each mark. */
function expectMistakes(source: string, ...messages: (string | RegExp)[]): void {
  const { text, marks } = marked(source);
  const found = said(text);
  expect(found).toEqual(
    messages.map((message, index) =>
      typeof message === 'string' ? `${marks[index]} ${message}` : expect.stringMatching(message),
    ),
  );
  for (const [index, one] of found.entries()) expect(one.split(' ')[0]).toBe(marks[index]);
}

describe('a good file', () => {
  test('becomes a cluster with its defaults filled in and an address for each host', () => {
    const cluster = parse(shop);
    expect(cluster.name).toBe('shop');
    expect(cluster.network).toEqual({ cidr: '10.77.0.0/24', prefix: 24, machine: '10.77.0.254' });
    expect(cluster.hosts['lb2']).toEqual({
      name: 'lb2',
      kind: 'lab',
      address: '10.77.0.12',
      root: '/var/lib/phalanx/shop/hosts/lb2',
    });
    expect(cluster.services['front']).toEqual({
      name: 'front',
      type: 'director',
      hosts: ['lb1', 'lb2'],
      uses: [],
      promise: { rto: 300 },
      spec: {
        vip: ['10.77.0.100'],
        preempt: true,
        advert: 50,
        unicast: false,
        listen: [
          {
            port: [80, 80],
            to: 'web',
            proto: 'tcp',
            scheduler: 'wlc',
            plane: 'auto',
            persistence: 300_000,
            weights: {},
          },
        ],
      },
    });
    expect(cluster.services['web']!.spec).toMatchObject({
      check: { kind: 'http', path: '/healthz', intervalMs: 500, timeoutMs: 1000, rise: 1, fall: 2 },
      drain: 5000,
      stop: 10_000,
      start: 30_000,
    });
  });

  test('gives its promise to an engine that asks for it', () => {
    const schema = z.strictObject({ ...appSchema.shape, promise: z.strictObject({ rto: z.string() }) });
    const own = { ...engines, app: { ...engines['app']!, schema } };
    const text = shop.replace('    port: 8080', '    port: 8080\n    promise: { rto: 2s }');
    const { promise, spec } = parseCluster(text, 'shop.yaml', own, fresh).services['web']!;
    expect(promise).toEqual({ rto: 2000 });
    expect(spec).toMatchObject({ promise: { rto: '2s' } });
  });

  test('gives only the secrets and releases that exist', () => {
    expect(parse(shop).secrets).toEqual({});
    expect(parse(shop, { secrets: { 'front/sync': 'x' } }).secrets).toEqual({ 'front/sync': 'x' });
    expect(parse(shop).releases).toEqual({});
  });

  test('keeps the addresses that hosts had when others come and go', () => {
    const before = parse(shop);
    const addresses = Object.fromEntries(
      Object.values(before.hosts).map(({ name, address }) => [name, { address }]),
    );
    const after = parse(
      shop.replace('  lb1: {}', '  new: {}\n  lb1: {}').replace('  app2: {}\n', '').replace(', app2', ''),
      { addresses },
    );
    expect(after.hosts['lb1']!.address).toBe(before.hosts['lb1']!.address);
    expect(after.hosts['app1']!.address).toBe(before.hosts['app1']!.address);
    expect(after.hosts['new']!.address).toBe('10.77.0.15');
  });

  test('takes anchors, merge keys and x- keys to keep them in', () => {
    const cluster = parse(`cluster: shop
x-app: &app { type: app, hosts: &h [a], command: serve }
hosts: { a: {} }
services:
  one: { <<: *app, port: 1 }
  two: { <<: [*app], port: 2, hosts: *h }
`);
    expect(cluster.services['two']!.hosts).toEqual(['a']);
    expect(cluster.services['one']!.spec).toMatchObject({ command: 'serve', port: 1 });
  });

  test('has IPv6 addresses as soon as a VIP is IPv6', () => {
    const cluster = parse(shop.replace('vip: 10.77.0.100', 'vip: [10.77.0.100, "fd00:77::100"]'));
    expect(cluster.network).toMatchObject({ cidr6: 'fd00:77::/64', prefix6: 64, machine6: 'fd00:77::fe' });
    expect(cluster.hosts['lb1']).toMatchObject({ address: '10.77.0.11', address6: 'fd00:77::11' });
  });

  test('reaches real machines over ssh at the address that ssh is told, and lays their files in their own place', () => {
    const cluster = parse(
      shop
        .replace('app1: {}', 'app1: { ssh: root@203.0.113.7 }')
        .replace('app2: {}', 'app2: { ssh: web2, address: 203.0.113.8 }'),
    );
    expect(cluster.hosts['app1']).toEqual({
      name: 'app1',
      kind: 'ssh',
      ssh: 'root@203.0.113.7',
      address: '203.0.113.7',
      root: '/var/lib/phalanx/shop',
    });
    expect(cluster.hosts['app2']!.address).toBe('203.0.113.8');
  });

  test('without a VIP two clusters get different networks by their names', () => {
    const of = (name: string) =>
      parse(
        `cluster: ${name}\nhosts: { a: {} }\nservices: { w: { type: app, hosts: [a], command: x, port: 1 } }`,
      );
    expect(of('one').network.cidr).toMatch(/^10\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.0\/24$/);
    expect(of('one').network.cidr).not.toBe(of('two').network.cidr);
    expect(of('one').network).toEqual(of('one').network);
  });
});

describe('what is not a cluster file at all', () => {
  test.each([
    ['', '1:1 the file is empty: it needs cluster, hosts and services; `phalanx schema` describes them'],
    [
      '# only this\n',
      '1:1 the file is empty: it needs cluster, hosts and services; `phalanx schema` describes them',
    ],
    ['- a\n- b\n', '1:1 the file holds a list, not keys: it starts with `cluster: NAME`'],
    ['hello', '1:1 the file holds one value, not keys: it starts with `cluster: NAME`'],
    ['cluster: a\n\u0000\u0001', '2:1 this is no text file: a cluster file is YAML in UTF-8'],
    ['cluster: \ufffd', '1:10 a character here is not UTF-8: save the file as UTF-8'],
    [
      'cluster: a\n---\ncluster: b\n',
      '2:1 a second document starts here: a cluster file is one document: remove the `---`',
    ],
    ['hosts:\n\ta: {}\n', '2:1 a tab cannot indent YAML: use spaces'],
  ])('%j', (text, message) => {
    expect(said(text)).toContain(message);
  });

  test('10 MB are refused before they are parsed', () => {
    expect(said('a: b\n'.repeat(2_000_000))).toEqual([
      '1:1 the file has 9.5 MiB; a cluster file has at most 4 MiB',
    ]);
  });

  test('aliases that explode are refused, and aliases of themselves', () => {
    const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]'];
    for (let n = 1; n < 10; n++)
      lines.push(
        `a${n}: &a${n} [${Array(10)
          .fill(`*a${n - 1}`)
          .join(', ')}]`,
      );
    expect(said(lines.join('\n'))[0]).toMatch(/^\d+:\d+ written out, the aliases of this file are more than/);
    expect(said('cluster: &a [*a]')).toEqual([
      '1:14 this alias stands inside what it stands for, which would never end',
    ]);
    expect(said('cluster: *nothing')).toContainEqual(expect.stringMatching(/nothing/));
  });

  test('deep nesting is refused', { tags: ['long'] }, () => {
    for (const depth of [65, 1000, 50_000])
      expect(said(`a: ${'['.repeat(depth)}${']'.repeat(depth)}`)).toContainEqual(
        expect.stringMatching(/^1:\d+ the file is nested more than 64 deep$/),
      );
  });
});

describe('each mistake is named at its place, with the right word', () => {
  test('an unknown key', () => {
    expectMistakes(
      shop.replace('persistence: 5m', '§schedular: rr'),
      'unknown key "schedular": did you mean "scheduler"?',
    );
    expectMistakes(
      shop.replace('    vip:', '    §schedular: rr\n    vip:'),
      'unknown key "schedular": did you mean "scheduler" in "listen"?',
    );
    expectMistakes(
      shop.replace('    command:', '    §use: []\n    command:'),
      'unknown key "use": did you mean "uses"?',
    );
    expectMistakes(`§hots: {}\n${shop}`, 'unknown key "hots": did you mean "hosts"?');
  });

  test('a value that is no choice', () => {
    expectMistakes(
      shop.replace('persistence: 5m', 'forward: §ful-nat'),
      '"ful-nat" is not one of nat, fullnat, dr, tun: did you mean "fullnat"?',
    );
    expectMistakes(shop.replace('type: app', 'type: §ap'), 'no engine is called "ap": did you mean "app"?');
  });

  test('a host or service that is not declared', () => {
    expectMistakes(
      shop.replace('[app1, app2]', '[app1, §app3]'),
      'no host "app3" is declared: did you mean "app1"?',
    );
    expectMistakes(shop.replace('to: web', 'to: §wbe'), 'no service "wbe" is declared: did you mean "web"?');
    expectMistakes(
      shop.replace('to: web', 'to: web, sorry: §wbe'),
      'no service "wbe" is declared: did you mean "web"?',
    );
    expectMistakes(
      shop.replace('    port: 8080', '    port: 8080\n    uses: [§frot]'),
      'no service "frot" is declared: did you mean "front"?',
    );
    expectMistakes(shop.replace('[app1, app2]', '[app1, §constructor]'), 'no host "constructor" is declared');
    expectMistakes(shop.replace('to: web', 'to: §constructor'), 'no service "constructor" is declared');
  });

  test('a missing key, at what it is missing from', () => {
    expectMistakes(shop.replace('    port: 8080\n', '').replace('  web:', '  §web:'), '"port" is missing');
    expectMistakes(shop.replace('port: 80, ', '').replace('- {', '- §{'), '"port" is missing');
    expectMistakes(
      shop.replace('    type: app\n', '').replace('  web:', '  §web:'),
      '"type" is missing: one of app, director',
    );
    expectMistakes('§cluster: shop\nhosts: { a: {} }\n', '"services" is missing');
  });

  test('two services on one port of one host, with both lines', () => {
    const api = '  api: { type: app, hosts: [app2, app1], command: x, §port: 8080 }\n  front:';
    expectMistakes(
      shop.replace('  front:', api),
      'tcp port 8080 of app2 and 1 more is taken twice: by "web" (line 12) and by "api" (line 14): give one another port or other hosts',
    );
  });

  test('a VIP outside the network, used by a host, the machine, or another director', () => {
    const network = (vip: string) =>
      shop.replace('vip: 10.77.0.100', `vip: §${vip}`).replace('hosts:', 'network: 10.77.0.0/24\nhosts:');
    expectMistakes(
      network('10.78.0.1'),
      "VIP 10.78.0.1 is outside the cluster's network 10.77.0.0/24: name the network that holds it: `network: 10.78.0.0/24`",
    );
    expectMistakes(network('10.77.0.254'), "VIP 10.77.0.254 is this machine's own address in the network");
    expectMistakes(network('10.77.0.255'), "VIP 10.77.0.255 is the network's broadcast address");
    expectMistakes(
      network('10.77.0.30').replace('lb1: {}', 'lb1: { address: 10.77.0.30 }'),
      'VIP 10.77.0.30 is the address of host "lb1": choose one that no host has',
    );
    const second =
      '  back: { type: director, hosts: [app1], vip: [10.77.0.101, §10.77.0.100], listen: [{ port: 1, to: web, forward: fullnat }] }\n';
    expectMistakes(
      shop + second,
      'VIP 10.77.0.100 is already claimed by "front": one director service holds a VIP',
    );
  });

  test('a real server on a host of its own director, where plane nftables is to forward to it', () => {
    const both = (listen: string) =>
      shop
        .replace('hosts: [lb1, lb2]', 'hosts: [lb1, app2]')
        .replace('{ port: 80, to: web, persistence: 5m }', `{ port: 80, to: §web, ${listen} }`);
    const cannot = (forward: string) =>
      `plane nftables cannot forward by ${forward} to app2, which is a director of front itself: use plane haproxy or forward fullnat, or other hosts for web`;
    expectMistakes(both('plane: nftables'), cannot('nat'));
    expectMistakes(both('plane: nftables, forward: dr').replace('port: 80,', 'port: 8080,'), cannot('dr'));
    // What `auto` becomes is seen on the host, by the agent.
    for (const listen of [
      'plane: nftables, forward: fullnat',
      'plane: haproxy',
      'plane: ipvs',
      'forward: nat',
    ])
      expect(parse(marked(both(listen)).text).services['front']).toBeDefined();
  });

  test('a VIP where a host already is for life', () => {
    const { text } = marked(shop.replace('vip: 10.77.0.100', 'vip: 10.77.0.11'));
    expect(parse(text).hosts['lb1']!.address).toBe('10.77.0.12');
    expect(said(text, { addresses: { lb1: { address: '10.77.0.11' } } })).toEqual([
      '17:10 VIP 10.77.0.11 is the address of host "lb1": choose one that no host has',
    ]);
  });

  test('a cycle in uses, by name, once', () => {
    const uses = (name: string, used: string) =>
      `  ${name}: { type: app, hosts: [app1], command: x, port: ${name.length}, uses: [${used}] }\n`;
    expectMistakes(
      shop + uses('a', 'bb') + uses('bb', 'ccc') + uses('ccc', '§a'),
      'a cycle in uses: a -> bb -> ccc -> a: each service starts after those it uses',
    );
    expectMistakes(shop + uses('a', '§a'), '"a" uses itself: each service starts after those it uses');
  });

  test('numbers out of range, and of the wrong kind', () => {
    const listen = (more: string) => shop.replace('persistence: 5m', more);
    expectMistakes(listen('weights: { app1: §-1 }'), 'a weight is at least 0');
    expectMistakes(listen('weights: { §app9: 1 }'), 'web has no member or host "app9": did you mean "app1"?');
    expectMistakes(shop.replace('port: 8080', 'port: §70000'), '70000 is too large: at most 65535');
    expectMistakes(
      shop.replace('port: 8080', 'port: §"8080"'),
      'expected a number, found the text "8080": write 8080 without quotes',
    );
    expectMistakes(shop.replace('port: 80,', 'port: §9-1,'), 'the range is empty: write it low-high');
    expectMistakes(listen('persistence: §5'), '5 has no unit: write 5ms or 5s');
    expectMistakes(
      listen('persistence: §5 minutes'),
      'not a duration: write for example 300ms, 2s, 5m, 1h or 0',
    );
    expectMistakes(shop.replace('    vip:', '    advert: §1ms\n    vip:'), '1ms is too short: at least 10ms');
    expectMistakes(
      shop.replace('    port: 8080', '    port: 8080\n    memory: §1x'),
      'not a size: write for example 64k, 256mb or 1gb',
    );
  });

  test('names and addresses that cannot be', () => {
    expectMistakes(
      shop.replace('cluster: shop', 'cluster: §Shop'),
      /a cluster's name is at most 31 lower-case/,
    );
    expectMistakes(shop.replace('lb2:', 'lb2:\n  §"../x": {}'), /"\.\.\/x": a host's name is at most 63/);
    expectMistakes(
      shop.replace('lb1: {}', 'lb1: { address: §10.77.0.300 }'),
      'not an IPv4 address: write for example 10.77.0.11',
    );
    expectMistakes(
      shop.replace('lb1: {}', 'lb1: { address: §10.78.0.3 }'),
      /10\.78\.0\.3 is outside the cluster's network/,
    );
    expectMistakes(
      shop.replace('lb1: {}', '§lb1: { ssh: root@lb1.example.com }'),
      /"address" is missing: "root@lb1.example.com" is a name/,
    );
    expectMistakes(
      shop.replace('lb1: {}', 'lb1: { ssh: §-oProxyCommand=x, address: 10.77.0.9 }'),
      /not a host for ssh/,
    );
    expectMistakes(
      shop.replace('hosts:', 'network: §10.77.0.1/24\nhosts:'),
      'bits are set behind the prefix: write 10.77.0.0/24',
    );
    expectMistakes(
      shop.replace('lb1: {}', 'lb1: { address: 10.77.0.9 }').replace('lb2:', 'lb2: { address: §10.77.0.9 }'),
      '10.77.0.9 is already the address of host "lb1"',
    );
  });

  test('a wrong VIP or network is one mistake, not one for each host as well', () => {
    const own = shop.replace('lb1: {}', 'lb1: { address: 10.77.0.9 }');
    expectMistakes(own.replace('vip: 10.77.0.100', 'vip: §10.77.0'), /^17:10 not an address/);
    expectMistakes(own.replace('hosts:', 'network: §10.77.0/24\nhosts:'), /^2:10 not a network/);
  });

  test('lines that end as on Windows are counted and shown like others', () => {
    const text = shop.replace('port: 8080', 'port: 0').replaceAll('\n', '\r\n');
    expect(said(text)).toEqual(['12:11 0 is too small: at least 1']);
    expect(new FileErrors(mistakes(text), text).render()).not.toContain('\r');
  });

  test('types that are no word', () => {
    for (const type of ['7', '[app]', '~'])
      expectMistakes(shop.replace('type: app', `type: §${type}`), '"type" is a word: one of app, director');
  });

  test('a network too small for its hosts', () => {
    expectMistakes(
      shop.replace('hosts:', 'network: §10.77.0.96/29\nhosts:').replace('app2: {}', 'app2: {}\n  app3: {}'),
      'the network 10.77.0.96/29 has no address left for app3: name a larger one, for example `network: 10.77.0.96/28`',
    );
  });

  test('a key that stands twice', () => {
    expectMistakes(
      shop.replace('  front:', '  §web: { type: app, hosts: [app1], command: x, port: 8080 }\n  front:'),
      '"web" stands here twice: the first is on line 8',
    );
  });
});

describe('what a director cannot do', () => {
  const listen = (...items: string[]) =>
    shop.replace(
      '- { port: 80, to: web, persistence: 5m }',
      items.map((item) => `- { ${item} }`).join('\n      '),
    );

  test('dr with another port than the real server has', () => {
    expectMistakes(
      listen('port: 80, to: web, forward: §dr'),
      'dr cannot change the port: clients ask for 80, web listens on 8080: with dr only the MAC address of a packet is rewritten: use one port for both, or nat or fullnat',
    );
    expect(() =>
      parse(listen('port: 8080, to: web, forward: dr', 'port: 1-9, to: web, forward: dr')),
    ).not.toThrow();
  });

  test('planes that are not there or cannot hold it', () => {
    expectMistakes(
      listen('port: 1, to: web, plane: ipvs, forward: §fullnat'),
      'ipvs has no fullnat: use nat, dr or tun, or plane nftables',
    );
    expectMistakes(
      listen('port: 80, to: web, plane: ipvs, forward: §tun'),
      /tun cannot change the port: clients ask for 80, web listens on 8080/,
    );
    expect(() => parse(listen('port: 8080, to: web, plane: ipvs, forward: tun'))).not.toThrow();
    expectMistakes(
      listen('port: 1, to: web, §proto: udp, plane: haproxy').replace('§proto: ', 'proto: §'),
      'haproxy carries tcp only: use plane nftables',
    );
    expectMistakes(
      listen('port: 1, to: web, plane: haproxy, forward: §nat'),
      /forward does not apply to plane haproxy/,
    );
    expectMistakes(
      listen('port: 1, to: web, plane: haproxy, scheduler: §sed'),
      'plane haproxy cannot hold scheduler sed: use plane nftables',
    );
    expectMistakes(
      listen('port: §1-2, to: web, plane: haproxy'),
      'plane haproxy holds one port, not a range: use plane nftables',
    );
    expectMistakes(listen('port: 8080, to: web, plane: nftables, forward: §tun'), /tun needs plane ipvs/);
    expectMistakes(
      listen('port: 1-2, to: web, forward: §fullnat'),
      'a range of ports cannot be forwarded by fullnat: use nat or dr',
    );
    expectMistakes(
      listen('port: 1, to: web, hash: §port'),
      'scheduler wlc does not hash the client: remove hash, or use sh or mh',
    );
    expectMistakes(
      listen('port: 1, to: web, plane: haproxy, scheduler: mh, hash: §port'),
      "plane haproxy hashes the client's address only: remove hash, or use plane nftables",
    );
    for (const scheduler of ['rr', 'wrr', 'lc', 'wlc', 'sh', 'mh', 'fo'])
      expect(() => parse(listen(`port: 1, to: web, plane: haproxy, scheduler: ${scheduler}`))).not.toThrow();
    for (const scheduler of ['lblc', 'lblcr', 'dh', 'sed', 'nq', 'fo', 'ovf'])
      expect(() => parse(listen(`port: 1, to: web, plane: nftables, scheduler: ${scheduler}`))).not.toThrow();
  });

  test('one port of the VIP twice', () => {
    expectMistakes(
      listen('port: 80, to: web', 'port: §75-85, to: web'),
      'tcp-75-85 overlaps tcp-80, which already listens on the VIP',
    );
    expect(() => parse(listen('port: 80, to: web', 'port: 80, to: web, proto: udp'))).not.toThrow();
  });

  test('two directors that stand in front of one real server by nat', () => {
    const message =
      'tcp-80 of front already sends to the same port of web by nat: its replies can go back through one director only: use forward fullnat or dr for one of them';
    const second = (vip: string) =>
      `${shop}  back: { type: director, hosts: [app1], vip: "${vip}", listen: [{ port: 1, to: §web }] }\n`;
    expectMistakes(second('10.77.0.101'), message);
    expect(() => parse(marked(second('fd00::1')).text)).not.toThrow();
    expect(() =>
      parse(
        listen(
          'port: 80, to: web',
          'port: 81, to: web',
          'port: 82, to: web, forward: fullnat',
          'port: 83, to: web, plane: haproxy',
        ),
      ),
    ).not.toThrow();
  });

  test('a VIP that real servers hold for dr, and that they would have to answer to for nat', () => {
    expectMistakes(
      listen('port: 8080, to: web, forward: dr', 'port: 81, to: §web'),
      'app1 holds the VIP for a listen with forward dr or tun, so it cannot be reached by nat as well: use dr or tun for both, or a director with a VIP of its own',
    );
  });

  test('a service behind it that is a director or has no port', () => {
    expectMistakes(
      listen('port: 80, to: §front'),
      '"front" is a director itself: name a service whose members answer clients',
    );
    expectMistakes(
      listen('port: 80, to: web, sorry: §web'),
      '"web" is already where the connections go: name another service',
    );
  });
});

test('all mistakes come out in one run, in the order of the file', () => {
  const { text, marks } = marked(`cluster: shop
hosts:
  lb1: {}
  app1: {}
services:
  web:
    type: app
    hosts: [app1, §ap1]
    command: x
    port: §0
    §chek: {}
  api: { type: app, hosts: [app1], command: x, port: 90, uses: [§wbe] }
  old: { type: app, hosts: [app1], command: x, §port: 90 }
  bad: §7
  front:
    type: director
    hosts: [lb1]
    vip: [10.77.0.1, §10.78.0.1]
    listen:
      - { port: 80, to: §wev, scheduler: §wcl }
      - { port: 81, to: api, forward: §dr, persistence: §x }
`);
  expect(mistakes(text).map(({ line, column }) => `${line}:${column}`)).toEqual(marks);
});

test('a mistake is shown with its line and a caret under the word', () => {
  const text = shop.replace('persistence: 5m', 'schedular: rr');
  expect(() => parse(text)).toThrow(new FileErrors(mistakes(text), text).message);
  expect(new FileErrors(mistakes(text), text).render()).toBe(
    `shop.yaml:19:30: unknown key "schedular": did you mean "scheduler"?
   19 |       - { port: 80, to: web, schedular: rr }
      |                              ^^^^^^^^^`,
  );
});

test('what the file says cannot steer the terminal', () => {
  const text = 'cluster: "\\e[2Jx"\nhosts: { "\\e]0;x\\a": {} }\nservices: {}\n"\u009b2J": 1\n';
  for (const char of new FileErrors(mistakes(text), text).render())
    expect(char >= ' ' || char === '\n').toBe(true);
  expect(new FileErrors(mistakes(text), text).render()).not.toContain('\u009b');
});

describe('reading from disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-file-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const failure = (path: string) => {
    try {
      readClusterFile(path, engines, fresh);
    } catch (error) {
      if (error instanceof FileErrors) return error.message.replace(`${path}:`, '');
      throw error;
    }
    return 'read';
  };

  test('a file, in its folder', () => {
    const path = join(folder, 'shop.yaml');
    writeFileSync(path, shop);
    expect(readClusterFile(path, engines, fresh)).toMatchObject({
      file: path,
      folder,
      home: '/var/lib/phalanx/shop',
    });
  });

  test('its text as it is to be taken, and beside it the hosts of a second file', () => {
    const path = join(folder, 'edited.yaml');
    const hosts = join(folder, 'hosts.yaml');
    writeFileSync(path, shop);
    writeFileSync(
      hosts,
      `hosts: { ${['lb1', 'lb2', 'app1', 'app2'].map((name, i) => `${name}: { ssh: 'root@10.9.0.${i + 1}' }`).join(', ')} }\n`,
    );
    const { services, hosts: machines } = readClusterFile(path, engines, { ...fresh, hosts }, (text) =>
      text.replace('port: 8080', 'port: 8081'),
    );
    expect((services['web']!.spec as { port: number }).port).toBe(8081);
    expect(Object.values(machines).map(({ kind }) => kind)).toEqual(['ssh', 'ssh', 'ssh', 'ssh']);
  });

  test('no file, a folder, a device, too large, not UTF-8: a sentence each', () => {
    expect(failure(join(folder, 'none.yaml'))).toBe('1:1: there is no such file: name one: phalanx up FILE');
    expect(failure(folder)).toBe('1:1: this is a folder: name a YAML file');
    expect(failure('/dev/zero')).toBe('1:1: this is no regular file: name a YAML file');
    const large = join(folder, 'large');
    writeFileSync(large, Buffer.alloc(10 * 2 ** 20, 65));
    expect(failure(large)).toBe('1:1: the file has 10.0 MiB; a cluster file has at most 4 MiB');
    const binary = join(folder, 'binary');
    writeFileSync(binary, Buffer.from([0x63, 0x3a, 0x20, 0xff, 0xfe]));
    expect(failure(binary)).toMatch(/^1:4: a character here is not UTF-8/);
  });
});
