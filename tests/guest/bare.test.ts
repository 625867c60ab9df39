import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { TestCluster, until } from '../lab/cluster.ts';
import { type Reached, sh } from './guest.ts';

/**
 * A Debian machine as it comes, installed over ssh: packages, systemd units, the agent, and the kernel's own LVS, which `auto` finds there.
 * One host is director and real server at once (dr to itself is what IPVS calls a local node); its client is a namespace of it.
 */
const vip = '10.0.2.100';
// What a bare machine has: no Node, no Python, but Perl.
const serve = `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 99, ReuseAddr => 1) or die; while ($c = $s->accept) { sysread $c, $q, 9999; print $c "HTTP/1.0 200 OK\\r\\n\\r\\nserved by $ENV{MEMBER}\\n"; close $c }'`;
const yaml = `
cluster: bare
network: 10.0.2.0/24
hosts: { g: { ssh: phalanx-guest, address: 10.0.2.15 } }
services:
  web: { type: app, hosts: [g], port: 8080, check: { http: / }, command: ${JSON.stringify(serve)} }
  front:
    type: director
    hosts: [g]
    vip: ${vip}
    listen:
      - { port: 8080, to: web, forward: dr, scheduler: wlc, persistence: 1m }
`;

let guest: Reached;
let cluster: TestCluster;

beforeAll(() => {
  guest = inject('guest');
  process.env['PHALANX_SSH_CONFIG'] = guest.config;
  cluster = new TestCluster(yaml);
  sh(
    guest,
    `ip netns add outside
     ip -n outside link add eth0 type veth peer name outside netns 1
     ip link set outside up
     ip addr add 10.99.0.1/24 dev outside
     ip -n outside addr add 10.99.0.2/24 dev eth0
     ip -n outside link set eth0 up
     ip -n outside route add default via 10.99.0.1`,
  );
});
afterAll(async () => {
  await cluster?.remove();
  sh(guest, 'ip netns del outside');
});

const outside = (): string => sh(guest, `ip netns exec outside curl -s -m 60 http://${vip}:8080/`).trim();

test('up brings everything, status tells of the kernel’s LVS, and up again has nothing to do', async () => {
  await cluster.must('up', '--yes');
  expect(await until('it serves', async () => outside())).toBe('served by web@g');
  const { rows } = await cluster.status();
  expect(rows.find((row) => row.name.startsWith('tcp-8080'))!.facts['by']).toBe('ipvs dr wlc');
  expect(sh(guest, 'ipvsadm -Ln')).toContain(`TCP  ${vip}:8080 wlc persistent 60`);
  expect(await cluster.must('up', '--yes')).toContain('nothing to do');
});

test('a table edited by hand is drift: plan names it, up takes it back', async () => {
  sh(guest, `ipvsadm -e -t ${vip}:8080 -r 10.0.2.15:8080 -g -w 5`);
  const plan = await until(
    'the agent sees it',
    async () => {
      const { exit, out } = await cluster.run(['plan']);
      return exit === 2 && out;
    },
    120_000,
  );
  expect(plan).toContain('10.0.2.15:8080 has weight 5 instead of 1');
  await cluster.must('up', '--yes');
  expect(sh(guest, 'ipvsadm -Sn')).toContain(`-r 10.0.2.15:8080 -g -w 1`);
  expect(await cluster.must('up', '--yes')).toContain('nothing to do');
});

test('down takes away what up made', async () => {
  await cluster.must('down', '--purge');
  expect(sh(guest, 'ipvsadm -Sn').trim()).toBe('');
  expect(sh(guest, 'ip -o addr')).not.toContain(vip);
});
