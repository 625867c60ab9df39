import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { Cluster } from '../file/cluster.ts';
import { HostUnreachable, type Reach } from '../hosts/host.ts';
import {
  doubts,
  lockAndKeep,
  needReleases,
  openSession,
  packReleases,
  type Session,
  strangeState,
  takeDevices,
} from './session.ts';
import { planNow } from './up.ts';

/** A file whose cluster is kept in a folder of the test, with these machines. */
function known(yaml: string, machines: object): string {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-session-'));
  const home = process.env['PHALANX_HOME'];
  process.env['PHALANX_HOME'] = folder;
  onTestFinished(() => {
    if (home === undefined) delete process.env['PHALANX_HOME'];
    else process.env['PHALANX_HOME'] = home;
    rmSync(folder, { recursive: true });
  });
  mkdirSync(join(folder, 'prod'));
  writeFileSync(join(folder, 'prod/machines.json'), JSON.stringify(machines));
  const file = join(folder, 'prod.yaml');
  writeFileSync(file, yaml);
  return file;
}

/** What a machine at each address says when it is asked; one that is not named does not answer. */
const ways =
  (answers: Record<string, object[]>) =>
  (cluster: Cluster): Reach => {
    const host = (name: string) => ({
      name,
      run: async () => {
        const { address } = cluster.hosts[name]!;
        if (!(address in answers)) throw new HostUnreachable(name, 'no answer');
        const machine = { machine: { os: 'debian', version: '12', supervisor: 'systemd' } };
        const lines = [machine, { device: 'eth0' }, ...answers[address]!] as Record<string, unknown>[];
        return { exit: 0, lines, text: '', stderr: '' };
      },
    });
    return { host } as unknown as Reach;
  };
const handed = (secrets: object, ids = {}, cluster = 'prod') => [
  { at: 1, handed: { cluster, secrets, ids, machines: {} } },
];
const keptIn = (file: string, name: string): string => join(file, '../prod', name);
const onMachines = (...hosts: string[]): string => `cluster: prod
hosts: { ${hosts.join(', ')} }
services: { cart: { type: redis, hosts: [p1], replicas: 0 } }
`;
const [p1, p2] = ['p1: { ssh: root@192.0.2.1 }', 'p2: { ssh: root@192.0.2.2 }'];

const services = 'services: { web: { type: app, hosts: [d1], command: sleep infinity, port: 8080 } }';

it('a lab of the same name as a cluster of real machines is refused: all of them would be hosts that left', async () => {
  const file = known(`cluster: prod\nhosts: { d1: {} }\n${services}\n`, {
    p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' },
  });
  await expect(openSession(file)).rejects.toThrow('runs on real machines (p1)');
});

it("the interface that holds a machine's address is the one that it tells now, not the one that is remembered", () => {
  const session = {
    cluster: { hosts: { p1: { name: 'p1', kind: 'ssh', device: 'eth0' } } },
    kept: { machines: { p1: { ssh: 'root@p1', address: '192.0.2.1', device: 'eth0' } } },
  } as unknown as Session;
  expect(takeDevices(session, { p1: { device: 'eth0' } })).toBe(false);
  expect(takeDevices(session, { p1: { device: 'ens18' }, gone: { device: 'eth7' } })).toBe(true);
  expect(session.cluster.hosts['p1']!.device).toBe('ens18');
  expect(session.kept.machines).toEqual({
    p1: { ssh: 'root@p1', address: '192.0.2.1', device: 'ens18' },
  });
  takeDevices(session, { p1: {} });
  expect(session.cluster.hosts['p1']!.device).toBe('ens18');
});

it('a release folder that is not there stops what ships it, and nothing else', async () => {
  const file = known(
    `cluster: prod
hosts: { p1: { ssh: root@192.0.2.1 } }
services: { web: { type: app, hosts: [p1], release: gone, command: ./web, port: 8080 } }
`,
    { p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' } },
  );
  const session = await openSession(file);
  expect(session.cluster.releases).toEqual({});
  for (const ships of [packReleases, needReleases])
    expect(() => ships(session)).toThrow(/service web: the release folder .*\/gone does not exist/);
});

it('the state that machines hold of a cluster which is not known here is not written over: it is to be adopted', async () => {
  const file = known(onMachines(p1, p2), {});
  const session = await openSession(file, {
    ways: ways({ '192.0.2.1': handed({ 'cart/admin': 'theirs' }), '192.0.2.2': [] }),
  });
  await expect(lockAndKeep(session)).rejects.toThrow(
    /^p1 holds the state of a cluster prod that is not known/,
  );
  expect(strangeState(session)!.next).toContain(`phalanx adopt ${file}`);
  expect(existsSync(keptIn(file, 'secrets.json'))).toBe(false);
  const adopted = { addresses: {}, secrets: { 'cart/admin': 'theirs' }, ids: {}, machines: {} };
  const taken = await openSession(file, {
    adopted,
    ways: ways({ '192.0.2.1': handed({ 'cart/admin': 'theirs' }) }),
  });
  await (await lockAndKeep(taken)).release();
  expect(JSON.parse(readFileSync(keptIn(file, 'secrets.json'), 'utf8'))).toMatchObject({
    'cart/admin': 'theirs',
  });
});

it('nor is that of another cluster of its name, when its machines are put into the file of one that is known', async () => {
  const file = known(onMachines(p1, p2), {
    p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' },
  });
  writeFileSync(keptIn(file, 'secrets.json'), '{"cart/admin":"ours"}');
  const opened = (answer: object[]) => openSession(file, { ways: ways({ '192.0.2.2': answer }) });
  expect(strangeState(await opened(handed({ 'cart/admin': 'theirs' })))!.message).toMatch(
    /^p2 holds secrets or numbers of a cluster prod that are not those kept here/,
  );
  expect(strangeState(await opened(handed({}, { 'locks/p2': 3 })))!.next).toContain('PHALANX_HOME=DIR');
  // One that was here before holds what is kept; another cluster's state is nobody's business.
  for (const answer of [[], handed({ 'cart/admin': 'ours' }), handed({ 'cart/admin': 'x' }, {}, 'shop')])
    expect(strangeState(await opened(answer))).toBeUndefined();
});

it('a machine that never answered is not kept: its place may be a mistake, and it may hold a state', async () => {
  const file = known(onMachines(p1, p2), {});
  const session = await openSession(file, { ways: ways({ '192.0.2.1': [] }) });
  expect(Object.keys(session.kept.machines)).toEqual(['p1']);
  expect(session.learnt.silent).toEqual(['p2']);
  takeDevices(session, { p2: { device: 'eth1' } });
  expect(session.kept.machines['p2']).toEqual({
    ssh: 'root@192.0.2.2',
    address: '192.0.2.2',
    device: 'eth1',
  });
});

const place = (used: boolean, named: boolean, mark: string) => [{ place: { used, named, mark } }];
const [empty, ours] = [place(false, false, 'new'), place(true, true, 'old')];

it.each([
  ['the old one has what it had', { '192.0.2.1': ours, '192.0.2.2': empty }, /would go on there/],
  [
    'both have members of its name',
    { '192.0.2.1': ours, '192.0.2.2': place(true, true, 'b') },
    /go on there/,
  ],
  ['the old one is silent and the new one empty', { '192.0.2.2': empty }, /the old one does not answer/],
  ['the new one has members of other hosts', { '192.0.2.2': place(true, false, 'b') }, /does not answer/],
  ['nobody answers', {}, /cannot be asked whether it is the same machine \(no answer\)/],
])(
  'a host that is another machine in the file is refused, and the old one stays known: %s',
  async (_, answers, said) => {
    const was = { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' };
    const file = known(onMachines('p1: { ssh: root@192.0.2.2 }'), { p1: was });
    const session = await openSession(file, { ways: ways(answers) });
    expect(session.kept.machines).toEqual({ p1: was });
    const [doubt] = doubts(session);
    expect(doubt!.message).toContain('p1 was root@192.0.2.1 and is root@192.0.2.2 in ');
    expect(doubt!.message).toMatch(said);
    expect(doubt!.next).toContain('phalanx forget p1');
    await expect(planNow(session)).rejects.toThrow(doubt!.message);
    // What is done in a hurry goes on, and what is kept stays.
    await (await lockAndKeep(session)).release();
    expect(JSON.parse(readFileSync(keptIn(file, 'machines.json'), 'utf8'))).toEqual({ p1: was });
  },
);

it.each([
  ['the new address has its members, the old one is silent', { '192.0.2.2': ours }],
  ['it answers at both addresses', { '192.0.2.1': ours, '192.0.2.2': ours }],
  ['the old one has nothing of the cluster', { '192.0.2.1': empty, '192.0.2.2': empty }],
])('a machine with another address goes on under it: %s', async (_, answers) => {
  const file = known(onMachines('p1: { ssh: new, address: 192.0.2.2 }'), {
    p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' },
  });
  const session = await openSession(file, { ways: ways(answers) });
  expect(doubts(session)).toEqual([]);
  expect(session.kept.machines).toEqual({ p1: { ssh: 'new', address: '192.0.2.2', device: 'eth0' } });
});

it.each([
  'p1: { ssh: deploy@192.0.2.1 }',
  'p1: { ssh: alias, address: 192.0.2.1 }',
  'p1: { ssh: root@192.0.2.1, address: 192.0.2.9 }',
])(
  'one that is reached by another user or name, or has one of its two addresses still, is the same: %s',
  async (host) => {
    const file = known(onMachines(host), {
      p1: { ssh: 'root@192.0.2.1', address: '192.0.2.1', device: 'eth0' },
    });
    expect(doubts(await openSession(file, { ways: ways({}) }))).toEqual([]);
  },
);
