import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSession } from '../../src/cli/session.ts';
import { directorDrills } from '../../src/engines/director/drill.ts';
import type { DirectorSpec } from '../../src/engines/director/schema.ts';
import type { Service } from '../../src/file/cluster.ts';
import { powerOff, powerOn } from '../../src/hosts/lab/faults.ts';
import { get, load, TestCluster, until } from './cluster.ts';

// One pair of directors with every way of forwarding, IPv4 and IPv6, TCP and UDP, both planes; real servers that say
// who they are. A VIP for each way, since dr and nat exclude each other on one.
const vips = {
  nat: '10.91.9.100',
  dr: '10.91.9.101',
  full: '10.91.9.102',
  nat6: 'fd91:9::100',
  full6: 'fd91:9::102',
  second: '10.91.9.105',
};

const server = `
import { createServer } from 'node:http';
import { createServer as createTcp } from 'node:net';
import { createSocket } from 'node:dgram';
const { MEMBER, PORT } = process.env;
createServer((q, r) => {
  if (q.url === '/healthz') return r.end('ok');
  r.end(JSON.stringify({ member: MEMBER, client: q.socket.remoteAddress.replace('::ffff:', '') }));
}).listen(Number(PORT), '::');
// Echo with the member's name first: a connection that can be kept open and looked at.
createTcp((s) => { s.write(MEMBER + '\\n'); s.on('data', (d) => s.write(d)); s.on('error', () => {}); }).listen(9000, '::');
const udp = createSocket('udp6');
udp.on('message', (m, from) => udp.send(MEMBER, from.port, from.address));
udp.bind(5300);
`;

const yaml = `
cluster: dirs
network: { ipv4: 10.91.9.0/24, ipv6: "fd91:9::/64" }
hosts: { lb1: {}, lb2: {}, app1: {}, app2: {}, app3: {}, app4: {} }
services:
  web:
    type: app
    hosts: [app1, app2, app3]
    command: node server.mjs
    port: 8080
    check: { http: /healthz, interval: 100ms, timeout: 500ms, fall: 2 }
  dns:
    type: app
    hosts: [app1, app2, app3]
    command: sleep infinity
    port: 5300
    check: { script: "true" }
  echo:
    type: app
    hosts: [app1, app2, app3]
    command: sleep infinity
    port: 9000
    check: { script: "true" }
  echo4:
    type: app
    hosts: [app4]
    command: sleep infinity
    port: 9000
    check: { script: "true" }
  sorry:
    type: app
    hosts: [app4]
    command: node server.mjs
    port: 8081
  natted:
    type: director
    hosts: [lb1, lb2]
    vip: [${vips.nat}, "${vips.nat6}"]
    listen:
      - { port: 80, to: web, scheduler: rr, sorry: sorry }
      - { port: 81, to: web, scheduler: wrr, weights: { app1: 3, app2: 1, app3: 0 } }
      - { port: 82, to: web, scheduler: sh, persistence: 1m }
      - { port: 90, to: echo, scheduler: rr }
      - { port: 53, proto: udp, to: dns, scheduler: rr }
  direct:
    type: director
    hosts: [lb1, lb2]
    vip: ${vips.dr}
    listen:
      - { port: 8080, to: web, scheduler: lc, forward: dr }
      - { port: 9000, to: echo, scheduler: rr, forward: dr }
  full:
    type: director
    hosts: [lb1, lb2]
    vip: [${vips.full}, "${vips.full6}"]
    listen:
      - { port: 80, to: web, scheduler: rr, forward: fullnat }
      - { port: 90, to: echo, scheduler: rr, forward: fullnat }
      - { port: 88, to: web, scheduler: wlc, plane: haproxy }
  second:
    type: director
    hosts: [lb1, lb2]
    vip: ${vips.second}
    listen:
      - { port: 90, to: echo, scheduler: rr, forward: fullnat }
      - { port: 91, to: echo4, forward: fullnat }
`;

const cluster = new TestCluster(yaml);
writeFileSync(join(cluster.folder, 'server.mjs'), server);

const shell = (script: string): string => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
const cable = (host: string, state: 'up' | 'down'): string =>
  shell(`ip -n phalanx.dirs link set ${host} ${state}`);

interface Who {
  member: string;
  client: string;
}
const who = async (url: string): Promise<Who> => JSON.parse((await get(url)).body) as Who;
const many = async (url: string, n: number): Promise<Map<string, number>> => {
  const seen = new Map<string, number>();
  for (let i = 0; i < n; i++) {
    const { member } = await who(url);
    seen.set(member, (seen.get(member) ?? 0) + 1);
  }
  return seen;
};

async function ownerOf(service: string): Promise<string> {
  const { rows } = await cluster.status();
  return rows.find((row) => row.service === service && row.role === 'VIP')!.facts['owner']!;
}

/** Waits until the director that comes first in the file owns the VIP again, alone; gives its name. */
const settled = (service: string): Promise<string> =>
  until('lb1 owns the VIP', async () => (await ownerOf(service)) === 'lb1' && 'lb1');

/** Whether a director has a connection from this client port in its tables; looked for there, since a minute of probes is megabytes of them. */
function knows(director: string, clientPort: number): boolean {
  const inside = `ip netns exec phalanx.dirs.${director}`;
  const found = shell(
    `{ ${inside} nft list ruleset; ${inside} conntrack -L 2>/dev/null; } | grep -cF -e '. ${clientPort} ' -e 'sport=${clientPort} ' || true`,
  );
  return Number(found) > 0;
}

/** An open connection to the echo service; gives the member and a way to ask whether it still lives. */
async function echo(
  host: string,
  port: number,
): Promise<{ member: string; socket: Socket; ask(): Promise<string>; lost: Promise<Error> }> {
  const socket = connect(port, host);
  const lost = new Promise<Error>((resolve) => socket.once('error', resolve));
  const next = (): Promise<string> =>
    new Promise((resolve) => socket.once('data', (data) => resolve(String(data).trim())));
  const member = await Promise.race([next(), lost.then((error) => Promise.reject(error))]);
  return {
    member,
    socket,
    lost,
    ask: () => {
      const answer = next();
      socket.write('ping\n');
      return answer;
    },
  };
}

const udp = (host: string, port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const timer = setTimeout(() => reject(new Error('no answer')), 1000);
    socket.on('message', (message) => {
      clearTimeout(timer);
      socket.close();
      resolve(String(message));
    });
    // Connected: an answer that comes from another address than the VIP is none.
    socket.connect(port, host, () => socket.send('?'));
  });

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('forwarding', () => {
  it.each([
    ['nat', `http://${vips.nat}/`],
    ['dr', `http://${vips.dr}:8080/`],
    ['nat over IPv6', `http://[${vips.nat6}]/`],
  ])('%s serves and the real server sees the client itself', async (_way, url) => {
    const { client } = await who(url);
    expect(client).toBe(url.includes('[') ? 'fd91:9::fe' : '10.91.9.254');
  });

  it('fullnat serves, over IPv6 too, and the real server needs no route back', async () => {
    expect((await who(`http://${vips.full}/`)).client).toBe(vips.full);
    expect((await who(`http://[${vips.full6}]/`)).client).toBe(vips.full6);
  });

  it('haproxy as a plane serves beside the others', async () => {
    expect((await many(`http://${vips.full}:88/`, 6)).size).toBeGreaterThan(1);
  });

  it('UDP is shared out', async () => {
    const seen = new Set<string>();
    for (let i = 0; i < 6; i++) seen.add(await udp(vips.nat, 53));
    expect(seen.size).toBe(3);
  });

  it('a director by a second service has its own VIP, and status tells how each listen is carried', async () => {
    const { rows } = await cluster.status();
    const by = (name: string): string => rows.find((row) => row.name.startsWith(name))!.facts['by']!;
    expect(by('tcp-80 web')).toBe('nftables nat rr');
    expect(by('tcp-8080 web')).toBe('nftables dr lc (approximate)');
    expect(by('tcp-88 web')).toBe('haproxy wlc');
  });
});

describe('scheduling', () => {
  it('weights of the file hold exactly, a weight of 0 takes nothing', async () => {
    const seen = await many(`http://${vips.nat}:81/`, 40);
    expect(Object.fromEntries(seen)).toEqual({ 'web@app1': 30, 'web@app2': 10 });
  });

  it('a weight set at run time is live at both directors, and can be taken back', async () => {
    await cluster.must('weight', 'web@app2', '0');
    expect([...(await many(`http://${vips.nat}:81/`, 8)).keys()]).toEqual(['web@app1']);
    expect((await many(`http://${vips.nat}/`, 6)).has('web@app2')).toBe(false);
    expect(await cluster.must('up')).toContain('nothing to do');
    const told = JSON.parse(await cluster.must('weight', 'web@app2', 'file', '--json')) as {
      weight: string;
      directors: { director: string; host: string; why?: string }[];
    };
    expect(told.weight).toBe('file');
    for (const host of ['lb1', 'lb2']) expect(told.directors.map((one) => one.host)).toContain(host);
    for (const { why } of told.directors) expect(why).toBeUndefined();
    expect((await many(`http://${vips.nat}/`, 6)).get('web@app2')).toBe(2);
    expect((await cluster.run(['weight', 'web@app2', '-1'])).exit).toBe(1);
    expect((await cluster.run(['weight', 'nobody@app2', '1'])).out).toContain('no member nobody@app2');
  });

  it('persistence keeps a client with its server', async () => {
    expect((await many(`http://${vips.nat}:82/`, 10)).size).toBe(1);
  });
});

describe('failure', () => {
  it('a real server that dies goes out, and comes back when up repairs it', async () => {
    const service = '/var/lib/phalanx/dirs/hosts/app1/members/web@app1/service';
    shell(`s6-svc -d -wD -T 10000 ${service}`);
    await until('it is out', async () =>
      (await cluster.status()).rows.some(
        (row) => row.service === 'natted' && row.name === 'tcp-80 web@app1' && row.health === 'down',
      ),
    );
    expect([...(await many(`http://${vips.nat}/`, 6)).keys()].sort()).toEqual(['web@app2', 'web@app3']);
    await cluster.must('up');
    await until('it takes connections again', async () => (await many(`http://${vips.nat}/`, 6)).size === 3);
  });

  it('a short cut of a cable that no check notices ends no connection', async () => {
    const open = await until('a connection to app3', async () => {
      const one = await echo(vips.nat, 90);
      if (one.member === 'web@app3') return one;
      one.socket.destroy();
      return undefined;
    });
    cable('app3', 'down');
    // The echo service's own check always passes, so nobody calls its server dead.
    const error = await Promise.race([
      open.lost,
      until('reset', async () => undefined, 200).catch(() => undefined),
    ]);
    cable('app3', 'up');
    expect(error).toBeUndefined();
    expect(await open.ask()).toBe('ping');
    open.socket.destroy();
  });

  it('no real server left: the sorry server answers; they return: it is left alone', async () => {
    const members = ['app1', 'app2', 'app3'].map(
      (host) => `/var/lib/phalanx/dirs/hosts/${host}/members/web@${host}/service`,
    );
    for (const service of members) shell(`s6-svc -d -wD -T 10000 ${service}`);
    await until(
      'the sorry server answers',
      async () => (await who(`http://${vips.nat}/`)).member === 'sorry@app4',
    );
    await cluster.must('up');
    await until('the real servers answer', async () =>
      (await who(`http://${vips.nat}/`)).member.startsWith('web@'),
    );
  });

  it.each([
    ['nat', 'natted', vips.nat, 90],
    ['dr', 'direct', vips.dr, 9000],
    ['fullnat', 'full', vips.full, 90],
    ['fullnat of a second director to the same servers', 'second', vips.second, 90],
    ['fullnat of a second director to servers of its own', 'second', vips.second, 91],
  ] as const)(
    'an established connection by %s survives the move of the VIP',
    async (_way, service, vip, port) => {
      const owner = await settled(service);
      const standby = owner === 'lb1' ? 'lb2' : 'lb1';
      const open = await until('a connection that the standby knows', async () => {
        const one = await echo(vip, port);
        if (knows(standby, one.socket.localPort!)) return one;
        one.socket.destroy();
        return undefined;
      });
      expect(await open.ask()).toBe('ping');
      try {
        cable(owner, 'down');
        await until('the other director owns the VIP', async () => (await ownerOf(service)) === standby);
        expect(await Promise.race([open.ask(), open.lost.then(String)])).toBe('ping');
      } finally {
        cable(owner, 'up');
      }
      await settled(service);
      expect(await Promise.race([open.ask(), open.lost.then(String)])).toBe('ping');
      open.socket.destroy();
    },
  );

  it.each([
    [
      'killed',
      (host: string) =>
        shell(
          `ip netns pids phalanx.dirs.${host} | xargs -r ps -o pid=,comm= -p | awk '/keepalived/{print $1}' | xargs -r kill -9`,
        ),
    ],
    ['powered off', (host: string) => shell(`kill -9 $(cat /var/lib/phalanx/dirs/hosts/${host}/init.pid)`)],
  ])('an owner that is %s loses the VIP, and up makes it whole again', async (_how, strike) => {
    const owner = await ownerOf('natted');
    const clients = load(`http://${vips.nat}/`, 2);
    strike(owner);
    await until(
      'clients are served again',
      async () => (await get(`http://${vips.nat}/`, { timeoutMs: 300 })).status === 200,
    );
    await clients.stop();
    await cluster.must('up');
    await until('healthy', async () => (await cluster.status()).health === 'healthy');
  });

  it('a director that boots and whose agent cannot start leaves the VIP where it is', async () => {
    await settled('natted');
    const { cluster: whole } = await openSession(cluster.file);
    const program = '/var/lib/phalanx/dirs/hosts/lb1/members/natted.agent@lb1/agent.mjs';
    await powerOff(whole, 'lb1');
    await until('lb2 owns the VIP', async () => (await ownerOf('natted')) === 'lb2');
    shell(`mv ${program} ${program}.away`);
    try {
      await powerOn(whole, 'lb1');
      // The other services' agents do start, so that keepalived on lb1 is known to be there.
      await settled('direct');
      // Longer than one that comes back waits before it takes the VIP (preempt_delay, 3 s).
      await sleep(5_000);
      expect(await ownerOf('natted')).toBe('lb2');
      expect((await get(`http://${vips.nat}/`)).status).toBe(200);
    } finally {
      shell(`mv ${program}.away ${program}`);
    }
    await settled('natted');
  });

  it('two owners at once are shown for what they are, and a sweep counts the takeover', async () => {
    const { cluster: dirs, reach } = await openSession(cluster.file);
    const { failovers } = await directorDrills(dirs.services['natted'] as Service<DirectorSpec>, dirs, reach);
    const counted = await failovers!();
    expect(await counted()).toBe(0);
    // The directors cannot hear each other, and both can be reached: each believes that it is alone.
    shell(`ip netns exec phalanx.dirs nft -f - <<'E'
table bridge split {
  chain forward { type filter hook forward priority 0;
    iifname "lb1" oifname "lb2" drop
    iifname "lb2" oifname "lb1" drop
  }
}
E`);
    const row = await until('both hold it', async () => {
      const { rows } = await cluster.status();
      return rows.find((one) => one.role === 'VIP' && one.why?.includes('two owners'));
    });
    expect(row.health).toBe('degraded');
    expect(await counted()).toBe(1);
    shell('ip netns exec phalanx.dirs nft delete table bridge split');
    await until('one again', async () =>
      (await cluster.status()).rows.every((one) => !one.why?.includes('two owners')),
    );
  });

  it('the agent may be killed: packets go on, and its tables are read back rather than made anew', async () => {
    const owner = await ownerOf('natted');
    const table = (): string =>
      shell(
        `ip netns exec phalanx.dirs.${owner} nft -a list table netdev phalanx_dirs_natted | grep -o 'handle [0-9]*' | sort | md5sum`,
      );
    const before = table();
    const open = await echo(vips.nat, 90);
    const clients = load(`http://${vips.nat}/`, 2);
    const agent = `/var/lib/phalanx/dirs/hosts/${owner}/members/natted.agent@${owner}/service`;
    const pid = shell(`s6-svstat -o pid ${agent}`).trim();
    shell(`s6-svc -k ${agent}`);
    await until('a new agent reports', async () => {
      const now = shell(`s6-svstat -o pid ${agent}`).trim();
      return now !== pid && now !== '-1' && (await cluster.status()).health === 'healthy';
    });
    const { failures } = await clients.stop();
    expect(failures).toEqual([]);
    expect(table()).toBe(before);
    expect(await open.ask()).toBe('ping');
    open.socket.destroy();
  });
});

describe('a change of the file', () => {
  /** Whether the real server takes packets for this address, and answers nobody who asks who has it. */
  const held = (vip: string): boolean =>
    shell('ip netns exec phalanx.dirs.app1 ip -o addr show dev lo').includes(` ${vip}/32 `);
  const silent = (): boolean =>
    shell('ip netns exec phalanx.dirs.app1 cat /proc/sys/net/ipv4/conf/all/arp_ignore').trim() === '1';
  const serves = (url: string): Promise<boolean> =>
    until(`${url} answers`, async () => (await get(url)).status === 200);

  it('a port that goes, and another VIP, leave the way back of all the others as it was', async () => {
    cluster.write(yaml.replace('      - { port: 90, to: echo, scheduler: rr }\n', ''));
    await cluster.must('up');
    await serves(`http://${vips.nat}/`);
    const moved = '10.91.9.103';
    cluster.write(yaml.replaceAll(vips.nat, moved));
    await cluster.must('up');
    await serves(`http://${moved}/`);
    expect(await udp(moved, 53)).toMatch(/^web@/);
    cluster.write(yaml);
    await cluster.must('up');
    await serves(`http://${vips.nat}/`);
  });

  it('a service above the directors changes the number of their table, and leaves no rule of the former', async () => {
    cluster.write(
      yaml.replace(
        'services:\n',
        'services:\n  first: { type: app, hosts: [app4], command: sleep infinity, port: 7001, check: { script: "true" } }\n',
      ),
    );
    await cluster.must('up');
    await serves(`http://${vips.nat}/`);
    const rules = shell('ip netns exec phalanx.dirs.app1 ip rule show');
    cluster.write(yaml);
    await cluster.must('up');
    await serves(`http://${vips.nat}/`);
    const again = shell('ip netns exec phalanx.dirs.app1 ip rule show');
    expect(again.split('\n').length).toBe(rules.split('\n').length);
    expect(new Set(again.match(/lookup 77\d\d/g)).size).toBe(1);
  });

  it('of two VIPs on lo one goes: the other is still not answered for; with the last the host is as it was', async () => {
    const two = yaml.replace(`vip: ${vips.dr}`, `vip: [${vips.dr}, 10.91.9.104]`);
    cluster.write(two);
    await cluster.must('up');
    expect([held(vips.dr), held('10.91.9.104'), silent()]).toEqual([true, true, true]);
    cluster.write(yaml);
    await cluster.must('up');
    expect([held(vips.dr), held('10.91.9.104'), silent()]).toEqual([true, false, true]);
    await serves(`http://${vips.dr}:8080/`);
    cluster.write(yaml.replace(/ {2}direct:[\s\S]*?(?= {2}full:)/, ''));
    await cluster.must('up');
    expect([held(vips.dr), silent()]).toEqual([false, false]);
    cluster.write(yaml);
    await cluster.must('up');
    await serves(`http://${vips.dr}:8080/`);
  });
});
