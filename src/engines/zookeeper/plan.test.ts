import { describe, expect, it } from 'vitest';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import type { BasePlan, Member, MemberState, Step } from '../engine.ts';
import { accessLists } from './acl.ts';
import { zooKeeperCheck } from './check.ts';
import { parseEnsemble, type Server, serverLine } from './ensemble.ts';
import type { LiveServer, ZooKeeperLive } from './live.ts';
import { zooKeeperMembers } from './members.ts';
import { fromWords } from './observe.ts';
import { changes, planZooKeeper } from './plan.ts';
import { schema } from './schema.ts';
import { seatsOf, type ZooKeeperService } from './seats.ts';
import { zooKeeperStatus } from './status.ts';

const service = (hosts: string[], spec: Record<string, unknown> = {}): ZooKeeperService => ({
  name: 'locks',
  type: 'zookeeper',
  hosts,
  uses: [],
  spec: schema.parse(spec),
});

const numbers = [1, 2, 3, 4, 5, 6];
const cluster: Cluster = {
  name: 'c',
  file: '/c.yaml',
  folder: '/',
  home: '/home',
  network: { cidr: '10.92.0.0/24', prefix: 24, machine: '10.92.0.254' },
  hosts: Object.fromEntries(
    numbers.map((n): [string, HostEntry] => [
      `d${n}`,
      { name: `d${n}`, kind: 'lab', address: `10.92.0.1${n}`, root: `/home/hosts/d${n}` },
    ]),
  ),
  services: {},
  secrets: { 'locks/app': 'secret', 'locks/super': 'hidden' },
  releases: {},
  ids: Object.fromEntries(numbers.map((n) => [`locks/d${n}`, n])),
};

const server = (n: number, role: Server['role'] = 'participant'): Server => ({
  id: n,
  role,
  address: `10.92.0.1${n}`,
  peerPort: 2888,
  electionPort: 3888,
  port: 2181,
});

/** An ensemble of `members`, led by `leader`; those in `silent` do not answer, and the others have all their data. */
function live(members: Server[], leader: number | undefined, silent: number[] = []): ZooKeeperLive {
  const ensemble = { version: 0x100000000n, servers: members };
  return {
    ensemble,
    ...(leader === undefined ? {} : { leader: `d${leader}` }),
    wrong: [],
    servers: Object.fromEntries(
      members.map(({ id, role }): [string, LiveServer] => {
        const disk = { epoch: 1, ensemble };
        const host = `d${id}`;
        if (silent.includes(id)) return [host, { host, state: 'silent', why: 'nothing listens', disk }];
        if (leader === undefined) return [host, { host, state: 'electing', disk }];
        const live = role === 'observer' ? 'observer' : id === leader ? 'leader' : 'follower';
        return [host, { host, state: 'serving', role: live, disk, ensemble }];
      }),
    ),
  };
}

/** Generic steps: members in `restart` run with old files, those in `dead` do not run; `leaving` the file no longer has. */
function base(
  own: ZooKeeperService,
  { restart = [], dead = [], leaving = [] }: { restart?: string[]; dead?: string[]; leaving?: string[] },
): BasePlan {
  const step = (verb: string, name: string): Step => ({
    id: `${verb} ${name}`,
    verb,
    target: name,
    why: '',
    needs: verb === 'write' || verb === 'stop' ? [] : [`${verb === 'remove' ? 'stop' : 'write'} ${name}`],
    do: { kind: 'script', script: '', timeoutMs: 1 },
  });
  const members: Member[] = zooKeeperMembers(own, cluster);
  return {
    members,
    observed: new Map<string, MemberState>(),
    byMember: new Map(
      members.map(({ name, host }) => [
        name,
        restart.includes(host)
          ? [step('write', name), step('restart', name)]
          : dead.includes(host)
            ? [step('write', name), step('start', name)]
            : [],
      ]),
    ),
    leaving: new Map(
      leaving.map((host) => [
        `locks@${host}`,
        [step('stop', `locks@${host}`), step('remove', `locks@${host}`)],
      ]),
    ),
    ready: () => undefined,
    around: () => ({ before: [], after: [] }),
    dismiss: () => [],
  };
}

const idsOf = (steps: Step[]): string[] => steps.map(({ id }) => id);
/** Everything that ends before the step begins. */
function preceding(steps: Step[], id: string): Set<string> {
  const seen = new Set<string>();
  const walk = (name: string): void => {
    const step = steps.find((one) => one.id === name);
    for (const need of [...(step?.needs ?? []), ...(step?.after ?? [])])
      if (!seen.has(need)) {
        seen.add(need);
        walk(need);
      }
  };
  walk(id);
  return seen;
}

const three = service(['d1', 'd2', 'd3']);
const five = service(['d1', 'd2', 'd3', 'd4', 'd5']);
const voters = (...ids: number[]): Server[] => ids.map((id) => server(id));

describe('plan', () => {
  it('as the file says: nothing to do, whoever leads', () => {
    for (const leader of [1, 2, 3])
      expect(planZooKeeper(three, cluster, live(voters(1, 2, 3), leader), base(three, {}))).toEqual([]);
  });

  it('a new ensemble: everybody knows everybody before anybody starts', () => {
    const steps = planZooKeeper(three, cluster, undefined, base(three, { dead: ['d1', 'd2', 'd3'] }));
    for (const n of [1, 2, 3]) {
      expect(preceding(steps, 'form locks')).toContain(`write locks@d${n}`);
      expect(preceding(steps, `start locks@d${n}`)).toContain('form locks');
    }
    expect(idsOf(steps).at(-1)).toBe('serve locks');
  });

  it('a dead member is started and nobody else is touched', () => {
    const steps = planZooKeeper(three, cluster, live(voters(1, 2, 3), 2, [3]), base(three, { dead: ['d3'] }));
    expect(idsOf(steps)).toEqual(['write locks@d3', 'start locks@d3', 'ready locks@d3', 'serve locks']);
  });

  it('a member that lost its disk learns who the others are before it starts', () => {
    const found = live(voters(1, 2, 3), 2, [3]);
    found.servers['d3']!.disk = { epoch: 0 };
    const steps = planZooKeeper(three, cluster, found, base(three, { dead: ['d3'] }));
    expect(preceding(steps, 'start locks@d3')).toContain('seed locks@d3');
  });

  it('most disks lost: what that costs is accepted by name, or nothing is done', () => {
    const found = live(voters(1, 2, 3), undefined, [2, 3]);
    for (const host of ['d2', 'd3']) found.servers[host]!.disk = { epoch: 0 };
    const steps = planZooKeeper(three, cluster, found, base(three, { dead: ['d2', 'd3'] }));
    expect(steps.filter(({ destroys }) => destroys === 'locks').map(({ id }) => id)).toEqual([
      'seed locks@d2',
      'seed locks@d3',
    ]);
    found.servers['d2']!.disk = { epoch: 1 };
    const hopeful = planZooKeeper(three, cluster, found, base(three, { dead: ['d2', 'd3'] }));
    expect(hopeful.filter(({ destroys }) => destroys)).toEqual([]);
  });

  /** Those hosts have another address in the file than the ensemble knows. */
  const elsewhere = (...ids: number[]): Cluster => ({
    ...cluster,
    hosts: Object.fromEntries(
      Object.entries(cluster.hosts).map(([name, host], i) => [
        name,
        ids.includes(i + 1) ? { ...host, address: host.address.replace('10.92', '10.93') } : host,
      ]),
    ),
  });

  it('most members at other addresses would never find each other: refused before anything is renumbered, with the way back', () => {
    const found = live(voters(1, 2, 3), undefined);
    const steps = planZooKeeper(three, elsewhere(1, 2, 3), found, base(three, { leaving: ['d4'] }));
    const [refuse] = steps;
    expect(refuse).toMatchObject({ refuses: true });
    expect(refuse!.why).toMatch(
      /know each other as 10\.92\.0\.11, 10\.92\.0\.12, 10\.92\.0\.13, .*d1 at 10\.93\.0\.11.*Give the hosts back/,
    );
    expect(steps.find(({ id }) => id === 'stop locks@d4')!.needs).toContain(refuse!.id);
    // One that moved and one that has nothing to go by: the third has no majority either, and the data of the first are needed.
    found.servers['d2']!.disk = { epoch: 0 };
    expect(planZooKeeper(three, elsewhere(3), found, base(three, {}))[0]).toMatchObject({ refuses: true });
    expect(planZooKeeper(three, cluster, found, base(three, {})).some(({ refuses }) => refuses)).toBe(false);
  });

  it('one that moved alone is known at its new place before it starts there, and copies what the others have', () => {
    const moved = live(voters(1, 2, 3), 2, [3]);
    const steps = planZooKeeper(three, elsewhere(3), moved, base(three, { dead: ['d3'] }));
    expect(steps.filter(({ refuses, destroys }) => refuses || destroys)).toEqual([]);
    expect(preceding(steps, 'start locks@d3')).toContain('seed locks@d3');
    expect(preceding(steps, 'seed locks@d3')).toContain('change locks@d3');
    expect(preceding(steps, 'change locks@d3')).not.toContain('ready locks@d3');
    expect(idsOf(steps).filter((id) => id.startsWith('change'))).toEqual(['change locks@d3']);
    // The ensemble knows it already, its own disk does not: an earlier run was cut short.
    moved.ensemble = {
      ...moved.ensemble!,
      servers: [...voters(1, 2), { ...server(3), address: '10.93.0.13' }],
    };
    const again = planZooKeeper(three, elsewhere(3), moved, base(three, { dead: ['d3'] }));
    expect(preceding(again, 'start locks@d3')).toContain('seed locks@d3');
    expect(idsOf(again)).not.toContain('change locks@d3');
  });

  it('restarts go one after the other, the leader last, each held until the others can do without it', () => {
    const steps = planZooKeeper(
      three,
      cluster,
      live(voters(1, 2, 3), 1),
      base(three, { restart: ['d1', 'd2', 'd3'] }),
    );
    expect(idsOf(steps).filter((id) => id.startsWith('restart'))).toEqual([
      'restart locks@d2',
      'restart locks@d3',
      'restart locks@d1',
    ]);
    for (const n of [1, 2, 3]) expect(preceding(steps, `restart locks@d${n}`)).toContain(`hold locks@d${n}`);
    expect(preceding(steps, 'hold locks@d1')).toContain('ready locks@d3');
    expect(preceding(steps, 'hold locks@d3')).toContain('ready locks@d2');
  });

  describe('shorter ticks', () => {
    const fast = service(['d1', 'd2', 'd3'], { timing: 'fast' });
    const ticking = (tick: number, syncLimit: number): ZooKeeperLive => {
      const found = live(voters(1, 2, 3), 1);
      for (const one of Object.values(found.servers)) Object.assign(one, { tick, syncLimit });
      return found;
    };
    const all = base(fast, { restart: ['d1', 'd2', 'd3'] });

    it('a follower waits for a leader of the old tick until none can lead any more, then as the file says', () => {
      const steps = planZooKeeper(fast, cluster, ticking(2_000, 5), all);
      for (const n of [2, 3]) {
        expect(preceding(steps, `restart locks@d${n}`)).toContain(`ease locks@d${n}`);
        expect(preceding(steps, `ease locks@d${n}`)).toContain(`hold locks@d${n}`);
        const script = steps.find(({ id }) => id === `ease locks@d${n}`)!.do as { script: string };
        // 4 s: two ticks of the old leader's.
        expect(script.script).toContain('syncLimit=20');
        const tightened = preceding(steps, `tighten locks@d${n}`);
        for (const id of ['restart locks@d1', 'ready locks@d1', `hold locks@d${n} again`])
          expect(tightened).toContain(id);
      }
      expect(preceding(steps, 'hold locks@d3 again')).toContain('ready locks@d2 again');
      expect(preceding(steps, 'serve locks')).toContain('ready locks@d3 again');
      expect(idsOf(steps)).not.toContain('ease locks@d1');
      expect(new Set(idsOf(steps)).size).toBe(steps.length);
    });

    it('what an earlier run that was cut short left patient is put right', () => {
      const found = ticking(200, 4);
      found.servers['d3']!.syncLimit = 20;
      expect(idsOf(planZooKeeper(fast, cluster, found, base(fast, {})))).toEqual([
        'hold locks@d3 again',
        'tighten locks@d3',
        'ready locks@d3 again',
        'serve locks',
      ]);
    });

    it('where every leader is heard in time nobody is made to wait, and nobody is restarted twice', () => {
      const half = service(['d1', 'd2', 'd3'], { timing: { tickTime: '500ms' } });
      const longer = [
        planZooKeeper(fast, cluster, ticking(500, 4), all),
        planZooKeeper(three, cluster, ticking(200, 4), all),
      ];
      for (const steps of [...longer, planZooKeeper(half, cluster, ticking(2_000, 5), all)])
        expect(idsOf(steps).filter((id) => /^(ease|tighten)/.test(id))).toEqual([]);
    });
  });

  it('where nobody serves restarts are held too, and none waits for the one before to serve: that is how a broken change is mended', () => {
    const found = live(voters(1, 2, 3), undefined);
    const steps = planZooKeeper(three, cluster, found, base(three, { restart: ['d1', 'd2', 'd3'] }));
    expect(preceding(steps, 'restart locks@d1')).toContain('hold locks@d1');
    expect(preceding(steps, 'hold locks@d2')).toContain('restart locks@d1');
    expect(preceding(steps, 'hold locks@d3')).toContain('restart locks@d2');
    expect(preceding(steps, 'hold locks@d2')).not.toContain('ready locks@d1');
  });

  it('a member that did not answer is restarted in its turn and behind its gate, as one that did', () => {
    const found = live(voters(1, 2, 3), 1, [2, 3]);
    const steps = planZooKeeper(three, cluster, found, base(three, { restart: ['d1', 'd2', 'd3'] }));
    // It may stay silent: the next one's gate says what that means, not this one's deadline.
    expect(steps.find(({ id }) => id === 'write locks@d3')!.needs).toEqual(['restart locks@d2']);
    for (const n of [1, 2, 3]) expect(preceding(steps, `restart locks@d${n}`)).toContain(`hold locks@d${n}`);
    expect(preceding(steps, 'hold locks@d3')).toContain('ready locks@d2');
    expect(preceding(steps, 'hold locks@d1')).toContain('ready locks@d3');
  });

  it('grows one at a time, each taken in when it is in step', () => {
    const found = live(voters(1, 2, 3), 1);
    const steps = planZooKeeper(five, cluster, found, base(five, { dead: ['d4', 'd5'] }));
    expect(preceding(steps, 'add locks@d4')).toContain('ready locks@d4');
    expect(preceding(steps, 'add locks@d5')).toContain('add locks@d4');
    expect(preceding(steps, 'start locks@d4')).toContain('seed locks@d4');
  });

  it('a grow that was cut short goes on where it was', () => {
    const found = live([...voters(1, 2, 3, 4)], 1);
    found.servers['d5'] = { host: 'd5', state: 'serving', role: 'observer', disk: { epoch: 1 } };
    const steps = planZooKeeper(five, cluster, found, base(five, {}));
    expect(idsOf(steps)).toEqual(['add locks@d5', 'serve locks']);
  });

  it('members leave the ensemble before they are stopped: silent ones first, the leader last, none before the new are in', () => {
    const found = live(voters(1, 2, 3, 4), 1, [2]);
    const kept = service(['d3', 'd4', 'd5']);
    const steps = planZooKeeper(kept, cluster, found, base(kept, { dead: ['d5'], leaving: ['d1', 'd2'] }));
    expect(preceding(steps, 'stop locks@d1')).toContain('leave locks@d1');
    expect(preceding(steps, 'leave locks@d1')).toContain('leave locks@d2');
    expect(preceding(steps, 'leave locks@d2')).toContain('add locks@d5');
    expect(preceding(steps, 'leave locks@d1')).not.toContain('stop locks@d2');
  });

  it('all hosts are replaced and nobody could be asked: no member stops before the ensemble serves as the file says', () => {
    const kept = service(['d4', 'd5', 'd6']);
    const leaving = base(kept, { dead: ['d4', 'd5', 'd6'], leaving: ['d1', 'd2', 'd3'] });
    const silent: ZooKeeperLive = { servers: {}, unseen: ['d1'] };
    for (const found of [undefined, silent, live(voters(1, 2, 3), undefined)]) {
      const steps = planZooKeeper(kept, cluster, found, leaving);
      for (const n of [1, 2, 3]) {
        const before = preceding(steps, `stop locks@d${n}`);
        expect(before.has('serve locks') || before.has(`leave locks@d${n}`)).toBe(true);
        expect(preceding(steps, 'serve locks')).not.toContain(`stop locks@d${n}`);
        expect(idsOf(steps)).toContain(`remove locks@d${n}`);
      }
    }
  });

  it('a majority that leaves is not stopped while what stays is away', () => {
    const kept = service(['d3', 'd4', 'd5']);
    const found = live(voters(1, 2, 3), 1, [3]);
    delete found.servers['d3']!.disk;
    const steps = planZooKeeper(
      kept,
      cluster,
      found,
      base(kept, { dead: ['d4', 'd5'], leaving: ['d1', 'd2'] }),
    );
    for (const n of [1, 2]) {
      expect(steps.find(({ id }) => id === `stop locks@d${n}`)!.needs).toContain(`leave locks@d${n}`);
      expect(steps.find(({ id }) => id === `leave locks@d${n}`)!.needs).toContain('add locks@d5');
    }
  });

  it('a member that the ensemble is without is stopped, whatever else is to be done', () => {
    const steps = planZooKeeper(three, cluster, live(voters(1, 2, 3), 1), base(three, { leaving: ['d4'] }));
    expect(steps.find(({ id }) => id === 'stop locks@d4')!.needs).toEqual([]);
  });

  it('an ensemble is formed past data of hosts that left the file only when that is accepted by name', () => {
    const empty = (hosts: string[]): ZooKeeperLive['servers'] =>
      Object.fromEntries(hosts.map((host) => [host, { host, state: 'silent', disk: { epoch: 0 } }]));
    const kept = service(['d4', 'd5', 'd6']);
    const plan = (found: ZooKeeperLive) =>
      planZooKeeper(kept, cluster, found, base(kept, { dead: ['d4', 'd5', 'd6'] }));
    const seats = empty(['d4', 'd5', 'd6']);
    const formed = (found: ZooKeeperLive) => plan(found).find(({ verb }) => verb === 'form');
    expect(formed({ servers: seats })).toMatchObject({ why: 'a new ensemble of 3' });
    expect(formed({ servers: seats })!.destroys).toBeUndefined();
    expect(formed({ servers: seats, unseen: ['d1'] })).toMatchObject({
      destroys: 'locks',
      why: expect.stringContaining('locks@d1, no longer in the file, cannot be looked at'),
    });
    // Most of what there was is lost, and the rest is not in the file.
    const rest = live(voters(1, 2, 3), undefined, [1, 2, 3]);
    for (const host of ['d1', 'd2']) rest.servers[host]!.disk = { epoch: 0 };
    expect(formed({ ...rest, servers: { ...seats, ...rest.servers } })).toMatchObject({
      destroys: 'locks',
      why: expect.stringContaining('locks@d3, no longer in the file, hold data'),
    });
    // It may still be brought up: there is nothing to form.
    const whole = live(voters(1, 2, 3), undefined, [1, 2, 3]);
    expect(formed({ ...whole, servers: { ...seats, ...whole.servers } })).toBeUndefined();
  });

  it('a voter that becomes an observer, or has another port, changes in place', () => {
    const found = live(voters(1, 2, 3, 4), 1);
    const own = service(['d1', 'd2', 'd3'], { observers: ['d4'] });
    expect(changes(own, cluster, found.ensemble!, found)).toMatchObject([
      { kind: 'change', seat: { id: 4, role: 'observer' } },
    ]);
  });

  it('an access list that somebody opened is closed again', () => {
    const steps = planZooKeeper(
      three,
      cluster,
      { ...live(voters(1, 2, 3), 1), wrong: ['/'] },
      base(three, {}),
    );
    expect(idsOf(steps)).toEqual(['serve locks']);
    expect(steps[0]!.why).toContain('/ missing or open');
  });
});

describe('members', () => {
  it('no file of a member changes when the ensemble grows: nobody restarts for it', () => {
    const files = (own: ZooKeeperService) =>
      zooKeeperMembers(own, cluster).find(({ host }) => host === 'd1')!.files;
    expect(files(five)).toEqual(files(three));
  });

  it('secrets are in files that are nobody else’s, and passwords in none', () => {
    for (const { command, files } of zooKeeperMembers(three, cluster)) {
      const all = files.map(({ content }) => content).join();
      expect(command + all).not.toMatch(/secret|hidden/);
      for (const file of files.filter(({ content }) => content.includes('super:')))
        expect(file).toMatchObject({ mode: 0o600, secret: true });
    }
    expect(accessLists(cluster, three)['/locks']).toEqual([
      { perms: 31, scheme: 'digest', id: expect.stringMatching(/^app:.{28}$/) },
    ]);
  });
});

describe('check', () => {
  const messages = (hosts: string[], spec: Record<string, unknown> = {}): string =>
    zooKeeperCheck(service(hosts, spec), cluster)
      .map(({ path, message }) => `${path.slice(2).join('.')}: ${message}`)
      .join('\n');
  it('takes 1, 3 and 5 voters, and says why not 2 and 4', () => {
    expect(messages(['d1'])).toBe('');
    expect(messages(['d1', 'd2', 'd3'], { observers: ['d4'] })).toBe('');
    expect(messages(['d1', 'd2'])).toMatch(/hosts: two voters need each other/);
    expect(messages(['d1', 'd2', 'd3', 'd4'])).toMatch(/survive the loss of 1, as many as 3 do/);
  });
  it('finds what clashes', () => {
    expect(messages(['d1'], { observers: ['d1', 'dx'] })).toMatch(/has a vote already.*\n.*no host "dx"/);
    expect(messages(['d1'], { peerPort: 2181 })).toMatch(/peerPort: 2181 is port already/);
    expect(messages(['d1'], { memory: '256mb', heap: '256mb' })).toMatch(/memory: 256mb hold no heap/);
    expect(messages(['d1'], { config: { tickTime: 1 } })).toMatch(/config.tickTime: tickTime is set by/);
    expect(messages(['d1'], { config: { snapcount: 1 } })).toMatch(/no key snapcount/);
    expect(messages(['d1'], { config: { 'server.9': 'x' } })).toMatch(/the members are what/);
    expect(messages(['d1'], { config: { snapCount: 1 } })).toBe('');
  });
});

describe('what servers say', () => {
  it('a configuration is read as it is written', () => {
    const text = `${serverLine(server(1))}\n${serverLine(server(4, 'observer'))}\nversion=20000000a`;
    expect(parseEnsemble(text)).toEqual({
      version: 0x20000000an,
      servers: [server(1), server(4, 'observer')],
    });
    expect(parseEnsemble('server.2=10.92.0.12:2888:3888;2181').servers).toEqual([server(2)]);
  });

  it('a server without a majority is electing, one with it has a role', () => {
    const none = 'This ZooKeeper instance is not currently serving requests\n';
    expect(fromWords(none, none, none)).toEqual({ state: 'electing' });
    const conf = 'clientPort=2181\ntickTime=200\ninitLimit=50\nsyncLimit=4\n';
    const srvr = 'Connections: 3\nOutstanding: 0\nZxid: 0x20000000a\nMode: leader\nNode count: 6\n';
    // Its majority was lost after the first word: an ensemble without members would let every voter go.
    expect(fromWords(srvr, none, none)).toEqual({ state: 'electing' });
    expect(
      fromWords(
        srvr,
        'zk_avg_latency\t0.5\nzk_synced_followers\t2\n',
        `${conf}membership: \n${serverLine(server(1))}`,
      ),
    ).toMatchObject({
      tick: 200,
      syncLimit: 4,
      role: 'leader',
      zxid: 0x20000000an,
      connections: 2,
      latency: 0.5,
      synced: 2,
      ensemble: { servers: [server(1)] },
    });
  });

  it('status: roles and epochs, and what the loss of the majority means', () => {
    expect(zooKeeperStatus(three, cluster, live(voters(1, 2, 3), 2)).map(({ role }) => role)).toEqual([
      'follower',
      'leader',
      'follower',
    ]);
    const ports = service(['d1', 'd2', 'd3'], { port: 2191 });
    expect(zooKeeperStatus(ports, cluster, live(voters(1, 2, 3), 2))[0]).toMatchObject({
      health: 'degraded',
      why: expect.stringContaining('10.92.0.11:2181, the file has it otherwise'),
    });
    const lost = live(voters(1, 2, 3), undefined, [1, 2]);
    expect(zooKeeperStatus(three, cluster, lost)[2]).toMatchObject({
      health: 'down',
      why: 'majority lost: 1 of 3 voters answer and 2 are needed (silent: locks@d1, locks@d2); writes and reads stop',
    });
    const reading = service(['d1', 'd2', 'd3'], { readOnly: true });
    expect(zooKeeperStatus(reading, cluster, lost)[2]!.why).toMatch(/clients that accept it may read/);
  });

  it('every seat has the number that it was given, wherever it stands in the file', () => {
    const turned = service(['d5', 'd1', 'd3'], { observers: ['d2'] });
    expect(seatsOf(turned, cluster).map(({ id }) => id)).toEqual([5, 1, 3, 2]);
  });
});
