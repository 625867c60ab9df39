import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import type { Drills, DrillTarget } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { ZooKeeperDrillClient } from './drill-client.ts';
import { votersOf } from './ensemble.ts';
import { servingVoters, writable, type ZooKeeperLive } from './live.ts';
import { hostOf, memberName, seatsOf, type ZooKeeperService } from './seats.ts';
import { silenceOf, timingOf } from './timing.ts';
import { ask, pairs } from './words.ts';

const roles = ['leader', 'follower', 'observer'];

/** Drills of ZooKeeper: sequential nodes, which are a log, and registers, written through every server and read in the end from each. */
export async function zooKeeperDrills(
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  live: ZooKeeperLive | undefined,
): Promise<Drills<ZooKeeperLive>> {
  const seats = seatsOf(service, cluster);
  const { name: timing, minSessionTimeout } = timingOf(service);
  const sessionMs = Math.max(1_200, minSessionTimeout);
  const version = await versionOf(service, reach, live);
  return {
    client: `node-zookeeper-client 1.1.3, a session of ${sessionMs} ms at each of ${seats.length} servers`,
    models: { log: {}, register: {} },
    replicas: seats.map((seat) => seat.name),
    load: { rate: 600, clients: 2 * seats.length, mix: { append: 18, write: 1, read: 1 } },
    roles: roles.filter((role) => role !== 'observer' || service.spec.observers.length > 0),
    standard: [
      'kill-leader',
      'freeze-leader',
      ...(seats.length > 1 ? ['kill-follower', 'partition-leader', 'split-leader'] : []),
      'power-off-leader',
    ],
    forMs: Math.min(15_000, Math.max(6_000, 2 * silenceOf(service))),
    timing,
    versions: version === undefined ? {} : { zookeeper: version },
    aim: (role, now, pick) => aim(service, role, now, pick),
    unserved: (now) => unserved(service, cluster, now),
    unfinished: (now) => unfinished(service, now),
    async open(run) {
      const client = new ZooKeeperDrillClient(service, cluster, reach, run, sessionMs);
      try {
        await client.ready();
      } catch (error) {
        await client.close().catch(() => {});
        throw error;
      }
      return client;
    },
  };
}

/** What the first server that answers says: 3.8.0. */
async function versionOf(
  service: ZooKeeperService,
  reach: Reach,
  live: ZooKeeperLive | undefined,
): Promise<string | undefined> {
  const up = Object.values(live?.servers ?? {}).find(({ state }) => state === 'serving');
  if (!up) return undefined;
  const said = await ask(reach, { host: up.host, port: service.spec.port }, 'srvr').catch(() => '');
  return /^[\d.]+/.exec(pairs(said)['Zookeeper version'] ?? '')?.[0];
}

function aim(
  service: ZooKeeperService,
  role: string,
  live: ZooKeeperLive,
  pick: (below: number) => number,
): DrillTarget {
  const found = Object.values(live.servers).filter((server) => server.role === role);
  if (found.length === 0) throw new StepFailed(`${service.name} has no ${role} that answers`);
  const { host } = found[pick(found.length)]!;
  return { host, member: memberName(service, host) };
}

function unserved(service: ZooKeeperService, cluster: Cluster, live: ZooKeeperLive | undefined): string[] {
  const byId = (id: number) => hostOf(service, cluster, id);
  if (live && writable(live, byId)) return [];
  const voters = votersOf(live?.ensemble?.servers ?? []).length;
  return [`${live ? servingVoters(live, byId).length : 0} of ${voters} voters of ${service.name} serve`];
}

/** Every server serves, and the leader has every other voter in step. */
function unfinished(service: ZooKeeperService, live: ZooKeeperLive | undefined): string[] {
  const servers = Object.values(live?.servers ?? {});
  const away = servers
    .filter(({ state }) => state !== 'serving')
    .map(({ host, state, why }) => `${memberName(service, host)}: ${why ?? state}`);
  const voters = votersOf(live?.ensemble?.servers ?? []).length;
  const synced = servers.find(({ role }) => role === 'leader')?.synced ?? 0;
  return synced + 1 < voters ? [...away, `${synced + 1} of ${voters} voters are in step`] : away;
}
