import { describe, expect, it } from 'vitest';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import type { BasePlan, Member, Step } from '../engine.ts';
import { storageCheck } from './check.ts';
import { differingOptions, type LiveServer, type StorageLive, volumeOf, wantedOptions } from './live.ts';
import { storageMembers } from './members.ts';
import { parseMount, parseServer } from './observe.ts';
import { planStorage } from './plan.ts';
import { schema } from './schema.ts';
import { brickName, memberName, mountPoint, type StorageService, uuidOf } from './seats.ts';
import { storageStatus } from './status.ts';

const three = ['d1', 'd2', 'd3'];
const service = (hosts = three, spec: Record<string, unknown> = {}): StorageService => ({
  name: 'files',
  type: 'storage',
  hosts,
  uses: [],
  spec: schema.parse(spec),
});
const cluster: Cluster = {
  name: 'c',
  file: '/c.yaml',
  folder: '/',
  home: '/home',
  network: { cidr: '10.1.0.0/24', prefix: 24, machine: '10.1.0.254' },
  hosts: Object.fromEntries(
    ['d1', 'd2', 'd3', 'd4', 'a1', 'a2'].map((name, i): [string, HostEntry] => [
      name,
      { name, kind: 'lab', address: `10.1.0.${i + 1}`, root: `/home/hosts/${name}` },
    ]),
  ),
  services: { web: { name: 'web', type: 'app', hosts: ['a1', 'a2'], uses: ['files'], spec: {} } },
  secrets: {},
  releases: {},
};

const linksOf = (own: StorageService) =>
  own.hosts.map((host) => ({ address: cluster.hosts[host]!.address, connected: true }));

/** Every host of `hosts` has a whole copy, and a glusterd that is connected to all others. */
function live(own: StorageService, change: Record<string, Partial<LiveServer>> = {}): StorageLive {
  const bricks = own.hosts.map((host) => brickName(own, cluster.hosts[host]!));
  const volume = {
    started: true,
    bricks,
    arbiter: false,
    options: wantedOptions(own, cluster, bricks),
    quorum: true,
  };
  const servers = own.hosts.map((host): [string, LiveServer] => [
    host,
    {
      host,
      peers: own.hosts.filter((other) => other !== host).map((other) => uuidOf(own, cluster, other)),
      volume,
      online: true,
      disk: { brick: true, pending: 0 },
      ...change[host],
    },
  ]);
  const mounts = ['a1', 'a2'].map((host) => [host, { host, bricks: linksOf(own) }] as const);
  return { servers: Object.fromEntries(servers), mounts: Object.fromEntries(mounts) };
}

/** Generic steps: members in `restart` run with old files, those in `dead` do not run; `leaving` the file no longer has. */
function base(
  own: StorageService,
  { restart = [], dead = [], leaving = [] }: { restart?: string[]; dead?: string[]; leaving?: string[] } = {},
): BasePlan {
  const chain = (verbs: string[], name: string): Step[] =>
    verbs.map((verb, i) => ({
      id: `${verb} ${name}`,
      verb,
      target: name,
      why: '',
      needs: i > 0 ? [`${verbs[i - 1]} ${name}`] : [],
      do: { kind: 'script', script: '', timeoutMs: 1 },
    }));
  const members = storageMembers(own, cluster);
  const steps = (member: Member): Step[] =>
    restart.includes(member.name)
      ? chain(['write', 'restart'], member.name)
      : dead.includes(member.name)
        ? chain(['write', 'start'], member.name)
        : [];
  return {
    members,
    observed: new Map(),
    byMember: new Map(members.map((member) => [member.name, steps(member)])),
    leaving: new Map(leaving.map((name) => [name, chain(['stop', 'remove'], name)])),
    ready: () => undefined,
    around: () => ({ before: [], after: [] }),
    dismiss: () => [],
  };
}
const ids = (steps: Step[]): string[] => steps.map(({ id }) => id);
const all = (own: StorageService): string[] => storageMembers(own, cluster).map(({ name }) => name);

describe('plan', () => {
  const own = service();

  it('all is well: nothing to do', () => {
    expect(planStorage(own, cluster, live(own), base(own))).toEqual([]);
  });

  it('from nothing: glusterds, then the volume, then the mounts', () => {
    const steps = planStorage(own, cluster, undefined, base(own, { dead: all(own) }));
    const form = steps.find(({ id }) => id === 'form files')!;
    expect(form.needs).toEqual(expect.arrayContaining(three.map((host) => `start files@${host}`)));
    expect(steps.find(({ id }) => id === 'start files.mount@a1')!.needs).toContain('form files');
    expect(ids(steps)).toContain('serve files');
  });

  it('glusterds restart one after the other, each behind a gate and followed by its healing', () => {
    const steps = planStorage(own, cluster, live(own), base(own, { restart: ['files@d1', 'files@d2'] }));
    expect(ids(steps)).toEqual([
      ...['write', 'hold', 'restart', 'heal'].map((verb) => `${verb} files@d1`),
      ...['write', 'hold', 'restart', 'heal'].map((verb) => `${verb} files@d2`),
      'serve files',
    ]);
    expect(steps.find(({ id }) => id === 'write files@d2')!.needs).toContain('heal files@d1');
  });

  it('a silent host alone is no reason for a step; what can be mended is', () => {
    const silent = { silent: 'is down', online: false, peers: [] };
    const waits = live(own, { d2: silent, d1: { disk: { brick: true, pending: 5 } } });
    expect(planStorage(own, cluster, waits, base(own))).toEqual([]);
    const why = (change: Record<string, Partial<LiveServer>>): string | undefined =>
      planStorage(own, cluster, live(own, change), base(own)).find(({ verb }) => verb === 'serve')?.why;
    expect(why({ d2: { online: false } })).toBe('the brick of d2 does not run');
    expect(why({ d1: { disk: { brick: true, pending: 5 } } })).toBe('5 entries to heal');
    expect(why({ d3: { online: false, disk: { brick: false, pending: 0 } } })).toBe(
      'the copy on d3 is gone: made anew from the others',
    );
  });

  it('a split brain is not for up to decide', () => {
    const split = { ...live(own, { d1: { disk: { brick: true, pending: 1 } } }), splitBrain: 1 };
    expect(planStorage(own, cluster, split, base(own))).toEqual([]);
    expect(storageStatus(own, cluster, split)[0]!.why).toContain('split brain');
  });

  it('a host that leaves is stopped only when its copy is elsewhere', () => {
    const now = service(['d1', 'd2', 'd4']);
    const was = live(own);
    const seen = {
      ...was,
      servers: { ...was.servers, d4: { host: 'd4', silent: 'no', peers: [], online: false } },
    };
    const steps = planStorage(now, cluster, seen, base(now, { dead: ['files@d4'], leaving: ['files@d3'] }));
    const reshape = steps.find(({ id }) => id === 'reshape files')!;
    expect(reshape.why).toBe('a copy on d4, none on d3');
    expect(reshape.needs).toContain('start files@d4');
    expect(steps.find(({ id }) => id === 'stop files@d3')!.needs).toContain('reshape files');
    // Mounts follow, one after the other, once the copies are whole.
    const follows = steps.filter(({ verb }) => verb === 'follow');
    expect(follows.map(({ target }) => target)).toEqual(['files.mount@a1', 'files.mount@a2']);
    expect(follows[0]).toMatchObject({ needs: ['reshape files'], after: ['serve files'] });
    expect(follows[1]!.needs).toContain('follow files.mount@a1');
  });

  it('options are those of the copies that there are, whatever number of hosts the file names by now', () => {
    const one = service(['d1']);
    const three = volumeOf(live(own))!;
    // Who still has a copy is let in, and the quorum of glusterds stays, as long as they are three.
    expect(differingOptions(one, cluster, three)).toEqual([]);
    const alone = { ...three, bricks: three.bricks.slice(0, 1) };
    expect(Object.fromEntries(differingOptions(one, cluster, alone))).toEqual({
      'cluster.server-quorum-type': 'none',
      'auth.allow': '10.1.0.1,10.1.0.5,10.1.0.6',
    });
    expect(differingOptions(own, cluster, volumeOf(live(one))!)).not.toContainEqual([
      'cluster.server-quorum-type',
      'server',
    ]);
  });

  it('where nobody says what copies there are, none is stopped before somebody does', () => {
    const silent = { silent: 'no answer in time', peers: [], online: false };
    for (const [hosts, left] of [
      [['d4'], 'd1'],
      [['d1', 'd2', 'd4'], 'd3'],
    ] as const) {
      const now = service([...hosts]);
      const servers = Object.fromEntries(hosts.map((host) => [host, { host, ...silent }]));
      for (const seen of [{ servers, mounts: live(now).mounts }, undefined]) {
        const steps = planStorage(now, cluster, seen, base(now, { leaving: [`files@${left}`] }));
        expect(steps.find(({ id }) => id === `stop files@${left}`)!.needs).toContain('reshape files');
        expect(steps.find(({ id }) => id === 'reshape files')!.needs).toContain('form files');
      }
    }
    // A mount that leaves has no copy.
    const steps = planStorage(own, cluster, undefined, base(own, { leaving: ['files.mount@a1'] }));
    expect(ids(steps)).not.toContain('reshape files');
  });

  it('one that left and is still in the pool leaves that too, and status says so: it counts for the quorum', () => {
    const others = ['d2', 'd3'].map((host) => uuidOf(own, cluster, host));
    const pool = [...others, uuidOf(own, cluster, 'd4')];
    const seen = live(own, { d1: { pool } });
    const steps = planStorage(own, cluster, seen, base(own, { leaving: ['files@d4'] }));
    expect(ids(steps)).toEqual(['reshape files', 'serve files', 'stop files@d4', 'remove files@d4']);
    expect(steps[0]!.why).toBe('d4 left, and counts for the quorum as long as the pool has it');
    expect(steps.find(({ id }) => id === 'stop files@d4')!.needs).toContain('reshape files');
    const rowOf = (of: StorageLive) =>
      storageStatus(own, cluster, of).find(({ name }) => name === 'files@d1')!;
    expect(rowOf(seen)).toMatchObject({ health: 'degraded', why: `${steps[0]!.why}: phalanx up` });
    const rid = live(own, { d1: { pool: others } });
    expect(planStorage(own, cluster, rid, base(own))).toEqual([]);
    expect(rowOf(rid).health).toBe('ok');
  });

  it('a mount that follows a copy which the volume has no more is made to follow, and status says so', () => {
    const seen = live(own);
    seen.mounts['a2']!.bricks[2] = { address: '10.1.0.4', connected: false };
    expect(ids(planStorage(own, cluster, seen, base(own)))).toEqual(['follow files.mount@a2']);
    expect(storageStatus(own, cluster, seen).find(({ name }) => name === 'files.mount@a2')).toMatchObject({
      health: 'degraded',
      why: 'it follows a copy at 10.1.0.4, which the volume has no more: phalanx up',
    });
    // One that cannot be reached for a while is not.
    const waits = live(own, { d3: { silent: 'is down', online: false, peers: [] } });
    waits.mounts['a2']!.bricks[2]!.connected = false;
    expect(planStorage(own, cluster, waits, base(own))).toEqual([]);
    // Broken while most copies are lost it is not for a new mount to mend; afterwards it is.
    const broken = live(own);
    broken.mounts['a1'] = { host: 'a1', broken: 'Transport endpoint is not connected', bricks: [] };
    expect(ids(planStorage(own, cluster, broken, base(own)))).toEqual(['follow files.mount@a1']);
    const lost = live(own, { d2: { online: false }, d3: { online: false } });
    lost.mounts = broken.mounts;
    expect(ids(planStorage(own, cluster, lost, base(own)))).not.toContain('follow files.mount@a1');
  });
});

describe('status', () => {
  const own = service();
  const cut = { online: false, peers: [], volume: { ...live(own).servers['d1']!.volume!, quorum: false } };

  it('the loss of most copies is said with who is missing', () => {
    const silent = { silent: 'is down', online: false, peers: [] };
    const rows = storageStatus(own, cluster, live(own, { d1: cut, d2: silent, d3: silent }));
    expect(rows.find(({ name }) => name === 'files@d1')!.why).toBe(
      'quorum lost: 0 of 3 copies are there and 2 are needed: reads and writes are refused (files@d1 stopped its brick, cut off from the others; files@d2 is down; files@d3 is down)',
    );
  });

  it('a mount that is cut off from most copies is down, whatever the copies say', () => {
    const seen = live(own);
    for (const link of seen.mounts['a1']!.bricks.slice(1)) link.connected = false;
    const row = storageStatus(own, cluster, seen).find(({ name }) => name === 'files.mount@a1')!;
    expect(row).toMatchObject({ health: 'down', facts: { copies: '1/3' } });
  });
});

describe('check', () => {
  const said = (hosts: string[], spec: Record<string, unknown> = {}): string =>
    storageCheck(service(hosts, spec), cluster)
      .map(({ message }) => message)
      .join('\n');

  it('one or three hosts, an arbiter only of three, and in the lab a path of the host’s own', () => {
    expect(said(three)).toBe('');
    expect(said(['d1'])).toBe('');
    expect(said(three, { arbiter: true, at: '/run/files' })).toBe('');
    expect(said(['d1', 'd2'])).toContain('two copies need each other');
    expect(said(['d1', 'd2', 'd3', 'd4'])).toContain('4 copies');
    expect(said(['d1'], { arbiter: true })).toContain('arbiter');
    expect(said(three, { at: '/srv/shared' })).toContain('only /run is its own');
  });
});

describe('answers', () => {
  const own = service();
  const state = `disk 1 2 1000
[Global]
MYUUID: ${uuidOf(own, cluster, 'd1')}
[Peers]
Peer1.primary_hostname: 10.1.0.2
Peer1.uuid: ${uuidOf(own, cluster, 'd2')}
Peer1.state: Peer in Cluster
Peer1.connected: Connected
Peer2.uuid: ${uuidOf(own, cluster, 'd3')}
Peer2.state: Peer in Cluster
Peer2.connected: Disconnected
[Volumes]
Volume1.name: other
Volume1.status: Created
Volume2.name: files
Volume2.status: Started
Volume2.arbiter_count: 1
Volume2.Brick1.path: 10.1.0.1:/a/brick
Volume2.Brick1.status: Started
Volume2.Brick2.path: 10.1.0.2:/b/brick
Volume2.quorum_status: meets
Volume2.options.network.ping-timeout: 3
`;

  it('a glusterd’s state is read: peers that are connected, its own volume, its own brick', () => {
    expect(parseServer('d1', '10.1.0.1', 'files', state)).toEqual({
      host: 'd1',
      peers: [uuidOf(own, cluster, 'd2')],
      pool: ['d2', 'd3'].map((host) => uuidOf(own, cluster, host)),
      online: true,
      disk: { brick: true, pending: 2, free: 1000 },
      volume: {
        started: true,
        bricks: ['10.1.0.1:/a/brick', '10.1.0.2:/b/brick'],
        arbiter: true,
        options: { 'network.ping-timeout': '3' },
        quorum: true,
      },
    });
    expect(parseServer('d2', '10.1.0.2', 'files', state).online).toBe(false);
  });

  it('silence keeps what was seen of the disk', () => {
    const text = 'disk 0 0 \nsilent not running\n';
    expect(parseServer('d1', '10.1.0.1', 'files', text)).toMatchObject({
      silent: 'not running',
      disk: { brick: false, pending: 0 },
    });
    expect(parseMount('a1', 'broken Transport endpoint is not connected\n').broken).toContain('endpoint');
    expect(parseMount('a1', 'brick 1 10.1.0.1\nbrick 0 10.1.0.2\n')).toEqual({
      host: 'a1',
      bricks: [
        { address: '10.1.0.1', connected: true },
        { address: '10.1.0.2', connected: false },
      ],
    });
  });
});

it('each host has its identity for life, and the mount the same path everywhere', () => {
  const own = service();
  expect(new Set(three.map((host) => uuidOf(own, cluster, host))).size).toBe(3);
  expect(uuidOf(own, cluster, 'd1')).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(mountPoint(own, cluster)).toBe('/run/phalanx/c/files');
  expect(memberName(own, 'd1')).toBe('files@d1');
});
