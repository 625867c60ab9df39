import { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { observeZooKeeper } from './observe.ts';
import { performZooKeeper } from './perform.ts';
import { schema } from './schema.ts';
import type { ZooKeeperService } from './seats.ts';

const service = (hosts: string[], spec: Record<string, unknown> = {}): ZooKeeperService => ({
  name: 'locks',
  type: 'zookeeper',
  hosts,
  uses: [],
  spec: schema.parse(spec),
});
const entry = (n: number): [string, HostEntry] => [
  `d${n}`,
  { name: `d${n}`, kind: 'lab', address: `10.92.0.1${n}`, root: `/home/hosts/d${n}` },
];
/** d1 to d3 have left the file, d4 to d6 have not. */
const cluster: Cluster = {
  name: 'c',
  file: '/c.yaml',
  folder: '/',
  home: '/home',
  network: { cidr: '10.92.0.0/24', prefix: 24, machine: '10.92.0.254' },
  hosts: Object.fromEntries([4, 5, 6].map(entry)),
  former: Object.fromEntries([1, 2, 3].map(entry)),
  services: {},
  secrets: { 'locks/app': 'secret', 'locks/super': 'hidden' },
  releases: {},
  ids: Object.fromEntries([1, 2, 3, 4, 5, 6].map((n) => [`locks/d${n}`, n])),
};
const members = (ids: number[], port = 2181): string =>
  ids.map((n) => `server.${n}=10.92.0.1${n}:2888:3888:participant;10.92.0.1${n}:${port}`).join(' ');

/** A host of the pretended world; absent: it does not answer. */
interface Pretended {
  /** What is on its disk; undefined: nothing. */
  disk?: string;
  /** At this port it says what it is; a server without a mode closes without a word. */
  port?: number;
  mode?: () => string;
  /** Its tickTime, milliseconds. */
  tick?: number;
  /** So often its disk is not shown in time. */
  late?: number;
}

/** The world, and the scripts beside those that only look. */
function world(hosts: Record<string, Pretended>): { reach: Reach; written: string[] } {
  const written: string[] = [];
  const answer = (own: Pretended, word: string): string => {
    const mode = own.mode?.();
    if (word === 'conf') return `${own.tick ? `tickTime=${own.tick}\n` : ''}${own.disk ?? ''}`;
    if (word === 'mntr') return 'zk_synced_followers\t2\n';
    if (word !== 'srvr' || mode === undefined) return '';
    return mode === 'none'
      ? 'This ZooKeeper instance is not currently serving requests\n'
      : `Mode: ${mode}\n`;
  };
  const reach = {
    host: (name: string) => ({
      name,
      async run(script: string) {
        const own = hosts[name];
        if (!own) throw new HostUnreachable(name, 'is down');
        if (own.late && script.includes('printf \'{"epoch"')) {
          own.late--;
          throw new HostUnreachable(name, 'did not answer in time');
        }
        const looks = script.includes('printf \'{"epoch"') || script.includes('for epoch in');
        if (!looks) written.push(name);
        const disk =
          own.disk === undefined ? [] : [{ epoch: 1, file: 'zoo.cfg.dynamic.100', members: own.disk }];
        return { exit: 0, lines: script.includes('printf \'{"epoch"') ? disk : [], text: '', stderr: '' };
      },
    }),
    async connect(name: string, port: number) {
      const own = hosts[name];
      if (!own || own.port !== port) throw new HostUnreachable(name, `port ${port}: connect ECONNREFUSED`);
      return new Duplex({
        allowHalfOpen: false,
        read() {},
        write(chunk: Buffer, _encoding, done) {
          const said = answer(own, chunk.toString());
          if (said) this.push(said);
          this.push(null);
          done();
        },
      });
    },
  };
  return { reach: reach as unknown as Reach, written };
}

const old = { disk: members([1, 2, 3]), port: 2181 };
const moved = service(['d4', 'd5', 'd6']);

it('an ensemble is found on hosts that the file no longer has', async () => {
  const { reach } = world({
    d1: { ...old, mode: () => 'leader' },
    d2: { ...old, mode: () => 'follower' },
    d4: {},
    d5: {},
    d6: {},
  });
  const live = await observeZooKeeper(moved, cluster, reach);
  expect(live.leader).toBe('d1');
  expect(live.ensemble!.servers.map(({ id }) => id)).toEqual([1, 2, 3]);
  expect(live.servers['d3']).toMatchObject({ state: 'silent' });
});

it('no ensemble is formed past one that is down on hosts that the file no longer has, nor past disks there that nobody sees', async () => {
  const form = async (former: Record<string, Pretended>) => {
    const { reach, written } = world({ ...former, d4: {}, d5: {}, d6: {} });
    const why = await performZooKeeper({ name: 'form', args: {} }, moved, cluster, reach, () => {}).then(
      () => undefined,
      (error: Error) => error.message,
    );
    return { why, written };
  };
  expect(await form({ d1: old, d2: old, d3: old })).toEqual({ why: undefined, written: [] });
  const unseen = await form({ d1: {}, d2: {} });
  expect(unseen.written).toEqual([]);
  expect(unseen.why).toMatch(/locks@d3, no longer in the file, cannot be looked at.*--allow-data-loss locks/);
  const empty = await form({ d1: {}, d2: {}, d3: {} });
  expect(empty).toEqual({ why: undefined, written: ['d4', 'd5', 'd6'] });
});

it('a server is asked at the port that its ensemble has, until that has been changed to the file’s', async () => {
  const disk = members([4, 5, 6]);
  const { reach } = world({
    d4: { disk, port: 2181, mode: () => 'leader' },
    d5: { disk, port: 2191, mode: () => 'follower' },
    d6: { disk, port: 2181, mode: () => 'follower' },
  });
  const { servers, leader } = await observeZooKeeper(service(moved.hosts, { port: 2191 }), cluster, reach);
  expect(leader).toBe('d4');
  expect(Object.values(servers).map(({ state, port }) => [state, port])).toEqual([
    ['serving', 2181],
    ['serving', 2191],
    ['serving', 2181],
  ]);
});

it('a server that closes without a word has not said that it is without a majority', async () => {
  const { reach } = world({ d4: { disk: members([4, 5, 6]), port: 2181 }, d5: {}, d6: {} });
  const { servers } = await observeZooKeeper(moved, cluster, reach);
  expect(servers['d4']).toMatchObject({ state: 'silent', why: 'it closed the connection without an answer' });
});

it('a restart is held through an election: that nobody serves is not believed at once', async () => {
  const disk = members([4, 5, 6]);
  let elected = false;
  const as = (role: string) => () => (elected ? role : 'none');
  const { reach } = world({
    d4: { disk, port: 2181, mode: as('leader') },
    d5: { disk, port: 2181, mode: as('follower') },
    d6: { disk, port: 2181, mode: as('follower') },
  });
  setTimeout(() => {
    elected = true;
  }, 500);
  const said: string[] = [];
  await performZooKeeper({ name: 'hold', args: { host: 'd5' } }, moved, cluster, reach, (line) => {
    said.push(line);
  });
  expect(elected).toBe(true);
  expect(said).toEqual(['nobody serves: that may be an election, and is looked at for 5 s']);
});

it('a voter whose disk was not seen in time keeps its data: it is not taken for one that lost it', async () => {
  const disk = members([4, 5, 6]);
  const seeded = async (d6: Pretended) => {
    const { reach, written } = world({
      d4: { disk, port: 2181, mode: () => 'leader' },
      d5: { disk, port: 2181, mode: () => 'follower' },
      d6,
    });
    await performZooKeeper({ name: 'seed', args: { host: 'd6' } }, moved, cluster, reach, () => {});
    return written;
  };
  expect(await seeded({ disk, late: 1 })).toEqual([]);
  expect(await seeded({ late: 1 })).toEqual(['d6']);
});

it('disks that come up at other addresses than their ensemble has are not started: it is said who is known where', async () => {
  const disk = members([4, 5, 6]).replaceAll('10.92', '10.77');
  const { reach, written } = world({ d4: { disk }, d5: { disk }, d6: { disk } });
  const formed = performZooKeeper({ name: 'form', args: {} }, moved, cluster, reach, () => {});
  await expect(formed).rejects.toThrow(/as 10\.77\.0\.14, .*d4 at 10\.92\.0\.14.*Give the hosts back/);
  expect(written).toEqual([]);
});

it('a restart is held while a follower leaves its leader again and again: a look at a good moment opens no gate', {
  tags: ['long'],
  timeout: 20_000,
}, async () => {
  const disk = members([4, 5, 6]);
  const began = performance.now();
  let steady = false;
  // As a follower whose patience is shorter than half a tick of its leader's.
  const leaves = () => !steady && (performance.now() - began) % 1_100 > 800;
  const { reach } = world({
    d4: { disk, port: 2181, tick: 2_000, mode: () => 'leader' },
    d5: { disk, port: 2181, tick: 2_000, mode: () => 'follower' },
    d6: { disk, port: 2181, mode: () => (leaves() ? 'none' : 'follower') },
  });
  let open = false;
  const hold = performZooKeeper({ name: 'hold', args: { host: 'd5' } }, moved, cluster, reach, () => {}).then(
    () => {
      open = true;
    },
  );
  await wait(4_500);
  expect(open).toBe(false);
  steady = true;
  await hold;
});
