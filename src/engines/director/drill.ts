import type { Check } from '../../check/check.ts';
import type { Cluster, Service } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { logFolder } from '../../hosts/supervise.ts';
import { doorAt, openWeb, webClientOf, webLoad } from '../app/drill.ts';
import type { AppSpec } from '../app/schema.ts';
import type { Drills, DrillTarget } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { notServing } from './fitness.ts';
import { agentName } from './members.ts';
import type { DirectorsLive } from './observe.ts';
import { type DirectorSpec, listenName } from './schema.ts';

/** Drills of the front, seen by clients of the VIP. Roles are asked of the kernels and of the agents. */
export async function directorDrills(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  reach: Reach,
): Promise<Drills<DirectorsLive>> {
  const { listen: listens, vip } = service.spec;
  const listen = listens.find((one) => one.proto === 'tcp') ?? listens[0]!;
  const behind = cluster.services[listen.to]!.spec as { check?: Check; drill?: AppSpec['drill'] };
  const door = doorAt(vip[0]!, listen.port[0], listen.check ?? behind.check, behind.drill);
  return {
    client: webClientOf(door, 'the VIP '),
    models: { request: {} },
    replicas: [],
    load: webLoad(door),
    roles: ['owner', 'standby', 'agent', 'app'],
    standard: [
      ...(service.hosts.length > 1 ? ['cut-owner', 'kill-owner', 'freeze-owner', 'power-off-owner'] : []),
      'kill-app',
      'freeze-app',
    ],
    forMs: 4_000,
    versions: await versionsOf(service, reach),
    aim: (role, live, pick) => aim(service, role, live, pick, listenName(listen)),
    async failovers() {
      const before = await takeovers(service, cluster, reach);
      return async () => (await takeovers(service, cluster, reach)) - before;
    },
    unserved: (live) => unserved(service, live),
    unfinished: (live) => (live ? notServing(service, live) : ['no director answers']),
    open: () => openWeb([door]),
  };
}

function aim(
  service: Service<DirectorSpec>,
  role: string,
  live: DirectorsLive,
  pick: (below: number) => number,
  listen: string,
): DrillTarget {
  const owner = ownerOf(live);
  if (owner === undefined) throw new StepFailed(`nobody holds ${service.spec.vip.join(', ')}`);
  if (role === 'owner') return { host: owner, member: `${service.name}.vrrp@${owner}` };
  if (role === 'agent') return { host: owner, member: agentName(service.name, owner) };
  if (role === 'standby') {
    const standby = service.hosts.filter((host) => host !== owner);
    if (standby.length === 0) throw new StepFailed(`${service.name} has one director and no standby`);
    const host = standby[pick(standby.length)]!;
    return { host, member: `${service.name}.vrrp@${host}` };
  }
  const servers = live[owner]!.servers.filter((one) => one.listen === listen && !one.sorry);
  const chosen = servers[pick(servers.length)]?.server;
  const host = chosen?.split('@')[1];
  if (chosen === undefined || host === undefined)
    throw new StepFailed(`the agent on ${owner} knows no real server of ${listen}`);
  return { host, member: chosen };
}

const ownerOf = (live: DirectorsLive): string | undefined =>
  Object.keys(live).find((host) => live[host]!.holds.length > 0);

/** How often a director has become the master, by all their logs: one that does beside a master that lives changes no holder that anybody sees. */
async function takeovers(service: Service, cluster: Cluster, reach: Reach): Promise<number> {
  const each = await Promise.all(
    service.hosts.map(async (host) => {
      const log = logFolder({ name: `${service.name}.vrrp@${host}` }, cluster.hosts[host]!.root);
      const { text } = await reach
        .host(host)
        .run(
          `cat ${quote(log)}/current ${quote(log)}/@* 2>/dev/null | grep -c 'Entering MASTER STATE' || true`,
        );
      return Number(text.trim());
    }),
  );
  return each.reduce((sum, one) => sum + one, 0);
}

/** The VIP is held, and its holder finds a real server for every port. What the standby is fit for does not matter to clients. */
function unserved(service: Service<DirectorSpec>, live: DirectorsLive | undefined): string[] {
  const owner = live && ownerOf(live);
  if (!live || owner === undefined) return [`nobody holds ${service.spec.vip.join(', ')}`];
  return service.spec.listen.flatMap((listen) => {
    const own = live[owner]!.servers.filter((server) => server.listen === listenName(listen));
    return own.length === 0 || own.some((server) => server.up && (server.effective > 0 || server.sorry))
      ? []
      : [`no real server of ${listenName(listen)} is healthy`];
  });
}

async function versionsOf(service: Service<DirectorSpec>, reach: Reach): Promise<Record<string, string>> {
  const script = `keepalived --version 2>&1 | sed -n '1s/.* v\\([0-9.]*\\).*/keepalived \\1/p'
nft --version | sed 's/nftables v\\([0-9.]*\\).*/nftables \\1/'
echo "kernel $(uname -r)"`;
  try {
    const { text } = await reach.host(service.hosts[0]!).run(script, { timeoutMs: 5_000 });
    return Object.fromEntries(
      text
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    );
  } catch (error) {
    if (error instanceof HostUnreachable) return {};
    throw error;
  }
}
