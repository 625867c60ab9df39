import { expect, test } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { hostMark, networkMark } from './network.ts';
import { type LabHostObserved, type LabObserved, overlap, routeRanges } from './observe.ts';
import { planLab } from './plan.ts';
import { needRoot } from './root.ts';

const cluster: Cluster = {
  name: 'shop',
  file: '/shop.yaml',
  folder: '/',
  home: '/var/lib/phalanx/shop',
  network: { cidr: '10.77.0.0/24', prefix: 24, machine: '10.77.0.1' },
  hosts: Object.fromEntries(
    ['a', 'b'].map((name, at) => [
      name,
      {
        name,
        kind: 'lab' as const,
        address: `10.77.0.${at + 11}`,
        root: `/var/lib/phalanx/shop/hosts/${name}`,
      },
    ]),
  ),
  services: {},
  secrets: {},
  releases: {},
};

const host = (name: string, more: Partial<LabHostObserved> = {}): LabHostObserved => ({
  namespace: true,
  mark: hostMark(cluster.hosts[name]!, cluster.network),
  cable: true,
  up: true,
  init: 100,
  frozen: false,
  lost: false,
  ...more,
});

const whole: LabObserved = {
  network: {
    present: true,
    mark: networkMark(cluster.network),
    uplink: true,
    hostsFile: true,
    partitioned: false,
  },
  hosts: { a: host('a'), b: host('b') },
  disks: {},
};
const nothing: LabObserved = {
  network: { present: false, uplink: false, hostsFile: false, partitioned: false },
  hosts: {},
  disks: {},
};

const ids = (observed: LabObserved) => planLab(cluster, observed).steps.map(({ id }) => id);

test('from nothing: the network, then each host made and booted; from whole: nothing', () => {
  const { steps } = planLab(cluster, nothing);
  expect(steps.map(({ id, needs }) => [id, needs])).toEqual([
    ['create network', []],
    ['create host a', ['create network']],
    ['boot host a', ['create network', 'create host a']],
    ['create host b', ['create network']],
    ['boot host b', ['create network', 'create host b']],
  ]);
  expect(ids(whole)).toEqual([]);
});

test('only what is wrong is done', () => {
  const { init: _, ...off } = host('b', { up: false });
  expect(ids({ ...whole, hosts: { a: host('a'), b: off } })).toEqual(['boot host b']);
  const cut = host('b', { cable: false });
  expect(ids({ ...whole, hosts: { a: host('a'), b: cut } })).toEqual(['mend host b']);
  const frozen = host('b', { frozen: true, up: false });
  expect(ids({ ...whole, hosts: { a: host('a'), b: frozen } })).toEqual(['mend host b']);
  const moved = host('b', { mark: 'phalanx host b 10.77.0.99/24' });
  expect(ids({ ...whole, hosts: { a: host('a'), b: moved } })).toEqual(['create host b', 'boot host b']);
  expect(ids({ ...whole, network: { ...whole.network, uplink: false } })).toEqual(['create network']);
  expect(ids({ ...whole, network: { ...whole.network, partitioned: true } })).toEqual(['mend network']);
  // A host more is no reason to take the machine's own way in away, which clients use.
  expect(ids({ ...whole, network: { ...whole.network, hostsFile: false } })).toEqual(['name network']);
});

test('a host that left the file goes before a new one takes its address', () => {
  const { steps } = planLab(cluster, { ...whole, hosts: { a: host('a'), old: host('a') } });
  expect(steps.map(({ id, needs }) => [id, needs])).toEqual([
    ['remove host old', []],
    ['create host b', ['remove host old']],
    ['boot host b', ['remove host old', 'create host b']],
  ]);
});

test('a network that is taken is refused with what to do', () => {
  const taken = { cidr: '10.77.0.0/24', interface: 'phx-other', cluster: 'other' };
  expect(planLab(cluster, { ...nothing, taken })).toEqual({
    steps: [],
    refusals: [
      'network 10.77.0.0/24 is already used by cluster other (interface phx-other): set network: in /shop.yaml',
    ],
  });
});

test('a lab of the same name that another home has is refused, and a cluster of real machines leaves it alone', () => {
  const elsewhere = { ...nothing, elsewhere: '/srv/other/shop' };
  const { steps, refusals } = planLab(cluster, elsewhere);
  expect(steps).toEqual([]);
  expect(refusals).toEqual([
    'cluster shop stands on this machine already, from /srv/other/shop: PHALANX_HOME=/srv/other has it; for one beside it change `cluster:` in /shop.yaml',
  ]);
  expect(planLab({ ...cluster, hosts: {} }, elsewhere)).toEqual({ steps: [], refusals: [] });
});

test('a host that has files keeps the disk that they are on', () => {
  const mib = 2 ** 20;
  const withDisk = (disk: number | undefined): Cluster => ({
    ...cluster,
    hosts: { ...cluster.hosts, a: { ...cluster.hosts['a']!, ...(disk === undefined ? {} : { disk }) } },
  });
  const refusals = (disk: number | undefined, had: number | undefined) =>
    planLab(withDisk(disk), { ...whole, disks: { a: had } }).refusals;
  expect(refusals(undefined, undefined)).toEqual([]);
  expect(refusals(64 * mib, 64 * mib)).toEqual([]);
  expect(planLab(withDisk(64 * mib), nothing).refusals).toEqual([]);
  expect(refusals(128 * mib, 64 * mib)[0]).toContain('a disk of 64mb, and the file gives it a disk of 128mb');
  expect(refusals(undefined, 64 * mib)[0]).toContain('a disk of 64mb, and the file gives it none');
  expect(refusals(64 * mib, undefined)[0]).toContain("on this machine's disk, and the file gives it a disk");
});

test('a host keeps the clock that it was switched on with, and a wrong one is set right', () => {
  const own: Cluster = {
    ...cluster,
    hosts: { ...cluster.hosts, a: { ...cluster.hosts['a']!, clock: 'own' } },
  };
  const a = (more: Partial<LabHostObserved>): LabObserved => ({
    ...whole,
    hosts: { ...whole.hosts, a: host('a', more) },
  });
  expect(planLab(own, whole).refusals[0]).toContain("with this machine's clock, and the file gives it one");
  expect(planLab(cluster, a({ clock: 'own' })).refusals[0]).toContain('and the file gives it none');
  expect(planLab(own, a({ clock: 'own' }))).toEqual({ steps: [], refusals: [] });
  expect(planLab(own, nothing).refusals).toEqual([]);
  const [step, ...more] = planLab(own, a({ clock: 'own', clockOff: '+60' })).steps;
  expect(step).toMatchObject({ id: 'mend host a', why: 'its clock is off by +60 s' });
  expect(more).toEqual([]);
});

test('ranges overlap when they share an address', () => {
  expect(overlap('10.77.0.0/24', '10.77.0.200/32')).toBe(true);
  expect(overlap('10.77.0.0/24', '10.0.0.0/8')).toBe(true);
  expect(overlap('10.77.0.0/24', '10.77.1.0/24')).toBe(false);
  expect(overlap('fd77::/64', 'fd77::1/128')).toBe(true);
  expect(overlap('fd77::/64', '10.77.0.0/24')).toBe(false);
});

test("the kernel's routes are read, default routes stand for no network", () => {
  const text = `Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0
eth0\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;
  expect(routeRanges(text)).toEqual([{ interface: 'eth0', cidr: '10.77.0.0/24' }]);
});

test('without root: one sentence that says what to do', () => {
  expect(needRoot(0)).toBeUndefined();
  expect(needRoot(1000)).toMatch(/needs root: run the same command with sudo/);
});
