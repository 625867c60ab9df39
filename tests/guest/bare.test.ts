import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { TestCluster, until } from '../lab/cluster.ts';
import { type Reached, reboot, sh } from './guest.ts';

/**
 * A Debian machine as it comes, installed over ssh by a user who is not root: packages, systemd units, the agent, Redis, and the kernel's own
 * LVS, which `auto` finds there. One host is director and real server at once (dr to itself is what IPVS calls a local
 * node); its client is a namespace of it.
 */
const vip = '10.0.2.100';
const root = '/var/lib/phalanx/bare';
const patienceMs = 120_000;

// What a bare machine has: no Node, no Python, but Perl. It does what it is told, so that tests may ask as the service itself.
const server = `use IO::Socket::INET;
$s = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 99, ReuseAddr => 1) or die;
print STDERR "listening on $ENV{PORT}\\n";
while ($c = $s->accept) {
  sysread $c, $q, 65536;
  $said = "served by $ENV{MEMBER}, $ENV{ANSWER}\\n";
  if ($q =~ m{^GET /sh/([0-9a-f]+)}) {
    open my $p, '-|', 'sh', '-c', pack('H*', $1);
    $said = join '', <$p>;
    close $p;
  }
  print $c "HTTP/1.0 200 OK\\r\\n\\r\\n$said";
  close $c;
}
`;

const yaml = ({ user = 'deploy', answer = 'first' } = {}): string => `
cluster: bare
network: 10.0.2.0/24
hosts: { g: { ssh: ${user}@phalanx-guest, address: 10.0.2.15 } }
services:
  web:
    type: app
    hosts: [g]
    release: site
    command: perl server.pl
    port: 8080
    memory: 200MB
    files: 5000
    check: { http: / }
    uses: [cart]
    env: { ANSWER: ${answer} }
  cart: { type: redis, hosts: [g], replicas: 0, persistence: aof }
  front:
    type: director
    hosts: [g]
    vip: ${vip}
    listen:
      - { port: 8080, to: web, forward: dr, scheduler: wlc, persistence: 1m }
`;

let guest: Reached;
let cluster: TestCluster;
/** The machine before anything of ours was on it. */
let before: string;

/** Everything of a machine that a cluster changes but for packages. Tunnel devices are those of the other tests' modules, and a reboot takes them away. */
const traces = (): string =>
  sh(
    guest,
    `ls -d /var/lib/phalanx/* 2>/dev/null || :
     ls /etc/systemd/system /etc/systemd/system/*.wants | grep phalanx || :
     systemctl list-units --all --plain --no-legend 'phalanx-*' | grep -v ' not-found ' || :
     grep -c phx /etc/passwd /etc/group || :
     ip -4 -o addr show | awk '{ print $2, $4 }'
     ip rule
     ip -4 route show table all
     nft list ruleset
     ipvsadm -Sn
     cd /proc/sys/net && grep . ipv4/ip_forward ipv[46]/conf/*/forwarding ipv4/conf/*/rp_filter ipv4/conf/*/arp_* ipv4/conf/*/*_redirects | grep -Ev '/(tunl0|ip6tnl0)/'
     ls /usr/sbin/policy-rc.d 2>/dev/null || :`,
  );

/** A client of the machine, in a namespace of it; after every boot anew. */
const client = `ip netns add outside
ip -n outside link add eth0 type veth peer name outside netns 1
ip link set outside up
ip addr add 10.99.0.1/24 dev outside
ip -n outside addr add 10.99.0.2/24 dev eth0
ip -n outside link set eth0 up
ip -n outside route add default via 10.99.0.1`;

beforeAll(() => {
  guest = inject('guest');
  process.env['PHALANX_SSH_CONFIG'] = guest.config;
  cluster = new TestCluster(yaml());
  mkdirSync(join(cluster.folder, 'site'));
  writeFileSync(join(cluster.folder, 'site/server.pl'), server);
  sh(
    guest,
    `${client}
# What the machine ran before: a unit of its own, in the user's hands.
printf '[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/own.service
systemctl enable -q --now own
modprobe -a ip_vs nf_tables`,
  );
  before = traces();
});
afterAll(async () => {
  await cluster?.remove();
  sh(guest, 'ip netns del outside; systemctl disable -q --now own; rm /etc/systemd/system/own.service');
});

const outside = (): string => sh(guest, `ip netns exec outside curl -s -m 60 http://${vip}:8080/`).trim();
/** Runs a script as the service, inside of its walls. */
const inside = (script: string): string =>
  sh(
    guest,
    `curl -s -m 60 http://10.0.2.15:8080/sh/${Buffer.from(`( ${script}\n) 2>&1`).toString('hex')}`,
  ).trim();
const greeting = (): string => inside('redis-cli -u "$CART_URL" get greeting 2>/dev/null');
const shown = (unit: string, property: string): string =>
  sh(guest, `systemctl show -p ${property} --value ${unit}`).trim();
const served = (answer: string): Promise<unknown> =>
  until('it serves', async () => outside() === `served by web@g, ${answer}`, patienceMs);

test('a user whom sudo does not let be root is told so, before anything is changed', async () => {
  cluster.write(yaml({ user: 'visitor' }));
  const { exit, out } = await cluster.run(['up', '--yes']);
  expect(exit).toBe(1);
  expect(out).toContain('the user is not root, and sudo refuses: a password is required');
  expect(out).not.toContain('does not answer');
  expect(traces()).toBe(before);
  cluster.write(yaml());
});

test('up brings everything, status tells of the kernel’s LVS, and up again has nothing to do', async () => {
  await cluster.must('up', '--yes');
  await served('first');
  const { rows } = await cluster.status();
  expect(rows.find((row) => row.name.startsWith('tcp-8080'))!.facts['by']).toBe('ipvs dr wlc');
  expect(sh(guest, 'ipvsadm -Ln')).toContain(`TCP  ${vip}:8080 wlc persistent 60`);
  expect(inside('redis-cli -u "$CART_URL" set greeting hello 2>/dev/null')).toBe('OK');
  expect(await cluster.must('up', '--yes')).toContain('nothing to do');
});

describe('under systemd', () => {
  test('each service runs as its own user, within its walls', () => {
    expect(inside('id -un; grep -E "^(NoNewPrivs|CapEff|CapBnd)" /proc/self/status')).toBe(
      'phx-bare-web\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1',
    );
    const places = [
      '/etc',
      '/usr',
      '/boot',
      '/root',
      '/home',
      '/var/lib',
      root,
      `${root}/members`,
      '/dev/shm/..',
    ];
    expect(
      inside(`for at in ${places.join(' ')}; do touch $at/planted 2>/dev/null && echo "$at"; done; :`),
    ).toBe('');
    expect(inside(`touch own && ls own; rm own`)).toBe('own');
    for (const secret of [
      `${root}/kept.json`,
      `${root}/members/cart@g/env`,
      `${root}/members/front.agent@g/sync.secret`,
    ])
      expect(inside(`cat ${secret}`)).toContain('Permission denied');
    expect(inside('unshare -n true || echo walled')).toContain('walled');
    expect(inside('ulimit -n')).toBe('5000');
    expect(shown('phalanx-bare-web@g', 'MemoryMax')).toBe(String(200 * 2 ** 20));
    expect(shown('phalanx-bare-cart@g', 'User')).toBe('phx-bare-cart');
  });

  test('one that dies is started again, and its log is journalctl’s', async () => {
    const first = shown('phalanx-bare-web@g', 'MainPID');
    sh(guest, `kill -9 ${first}`);
    await until(
      'another runs',
      async () => !['0', first].includes(shown('phalanx-bare-web@g', 'MainPID')),
      patienceMs,
    );
    await served('first');
    const count = (text: string): number => text.split('listening on 8080').length - 1;
    expect(count(await cluster.must('logs', 'web@g', '-n', '100'))).toBe(2);
    expect(count(sh(guest, 'journalctl -q -u phalanx-bare-web@g'))).toBe(2);
    expect(await cluster.must('up', '--yes')).toContain('nothing to do');
  });

  test('what packages bring does not run, and what the user ran does', () => {
    expect(sh(guest, 'systemctl is-enabled redis-server keepalived || :').trim()).toBe('disabled\ndisabled');
    expect(sh(guest, 'systemctl is-active redis-server keepalived own || :').trim()).toBe(
      'inactive\ninactive\nactive',
    );
  });

  test('a service that was taken over leads root nowhere', async () => {
    sh(guest, 'mkdir -p /srv/roots; echo as it was >/srv/roots/run; chmod 600 /srv/roots/run');
    const untouched = (): string => sh(guest, 'ls -lR --time-style=full-iso /srv/roots; cat /srv/roots/run');
    const now = untouched();
    const plants = ['env.phalanx-new', 'files.phalanx-new', 'restarts', 'running.new', 'release/.x'];
    expect(
      inside(`cd ${root}/members/web@g && pwd && rm -f restarts
for at in ${plants.join(' ')}; do ln -sf /srv/roots/run "$at" || exit; done
mv service service.own && ln -s /srv/roots service && printf '../../../../../srv/roots/run\\n' >>files.list && echo planted`),
    ).toBe(`${root}/members/web@g\nplanted`);
    cluster.write(yaml({ answer: 'second' }));
    const { out } = await cluster.run(['up', '--yes']);
    expect(untouched()).toBe(now);
    expect(out).toMatch(/write web@g.*(Permission denied|cannot)/s);
    // It can only harm itself; its administrator puts it right.
    sh(guest, `rm -rf ${root}/members/web@g`);
    await cluster.must('up', '--yes');
    await served('second');
    expect(untouched()).toBe(now);
  });
});

test('a table edited by hand is drift: plan names it, up takes it back', async () => {
  sh(guest, `ipvsadm -e -t ${vip}:8080 -r 10.0.2.15:8080 -g -w 5`);
  const plan = await until(
    'the agent sees it',
    async () => {
      const { exit, out } = await cluster.run(['plan']);
      return exit === 2 && out;
    },
    patienceMs,
  );
  expect(plan).toContain('10.0.2.15:8080 has weight 5 instead of 1');
  await cluster.must('up', '--yes');
  expect(sh(guest, 'ipvsadm -Sn')).toContain(`-r 10.0.2.15:8080 -g -w 1`);
  expect(await cluster.must('up', '--yes')).toContain('nothing to do');
});

test('a reboot of the machine brings everything back by itself, with its data', async () => {
  await reboot(guest);
  sh(guest, client);
  await served('second');
  await until('Redis is back', async () => greeting() === 'hello', patienceMs);
  await until('it is steady', async () => (await cluster.status()).health === 'healthy', patienceMs);
  expect(await cluster.must('up', '--yes')).toContain('nothing to do');
  expect(sh(guest, 'systemctl is-active redis-server keepalived own || :').trim()).toBe(
    'inactive\ninactive\nactive',
  );
  expect(sh(guest, 'systemctl --failed --plain --no-legend').trim()).toBe('');
});

test('down keeps data, and up finds it again', async () => {
  expect(await cluster.must('down')).toContain('cart@g');
  expect(sh(guest, `ls ${root}; ls ${root}/members/cart@g`).trim()).toBe('members\ndata');
  expect(sh(guest, 'ipvsadm -Sn').trim()).toBe('');
  await cluster.must('up', '--yes');
  await served('second');
  expect(greeting()).toBe('hello');
});

test('down --purge leaves nothing but packages', async () => {
  await cluster.must('down', '--purge');
  expect(traces()).toBe(before);
  expect(sh(guest, 'systemctl is-active own').trim()).toBe('active');
});
