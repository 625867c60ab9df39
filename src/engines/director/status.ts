import type { Cluster, Service } from '../../file/cluster.ts';
import type { StatusRow } from '../engine.ts';
import type { ServerStatus } from './agent/status.ts';
import { unfitListens } from './fitness.ts';
import { agentName } from './members.ts';
import type { DirectorLive, DirectorsLive } from './observe.ts';
import { type DirectorSpec, listenName } from './schema.ts';
import { inTurn } from './turn.ts';

/** The VIPs and who holds them, then each virtual service's real servers as the owner's agent has them. */
export function directorStatus(
  service: Service<DirectorSpec>,
  cluster: Pick<Cluster, 'services'>,
  live: DirectorsLive | undefined,
): StatusRow[] {
  if (!live) return [];
  return [...vipRows(service, live), ...agentRows(service, live), ...serverRows(service, cluster, live)];
}

function vipRows(service: Service<DirectorSpec>, live: DirectorsLive): StatusRow[] {
  return service.spec.vip.map((vip): StatusRow => {
    const owners = Object.keys(live).filter((host) => live[host]!.holds.includes(vip));
    const row = { service: service.name, name: vip, host: owners[0] ?? '', role: 'VIP' };
    if (owners.length === 1) return { ...row, health: 'ok', facts: { owner: owners[0]! } };
    const why =
      owners.length === 0
        ? 'no director holds it'
        : 'two owners at once: they do not see each other; look at the link between them';
    return {
      ...row,
      health: owners.length === 0 ? 'down' : 'degraded',
      facts: { owner: owners.join(' and ') || 'none' },
      why,
    };
  });
}

function agentRows(service: Service<DirectorSpec>, live: DirectorsLive): StatusRow[] {
  return Object.entries(live).map(([host, found]): StatusRow => {
    const errors = [
      ...(found.agent?.errors ?? []),
      ...unfitListens(found).map(([listen, why]) => `${listen}: ${why}`),
    ];
    const why =
      found.unreachable ??
      (found.agent ? errors[0] : 'its status is old: it has stopped or hangs; packets go on by its tables');
    return {
      service: service.name,
      name: agentName(service.name, host),
      host,
      role: found.holds.length > 0 ? 'owner' : 'standby',
      health: why === undefined ? 'ok' : found.agent ? 'degraded' : 'down',
      facts: {},
      ...(why === undefined ? {} : { why }),
    };
  });
}

function serverRows(
  service: Service<DirectorSpec>,
  { services }: Pick<Cluster, 'services'>,
  live: DirectorsLive,
): StatusRow[] {
  const owner =
    Object.values(live).find((found) => found.holds.length > 0 && found.agent) ??
    Object.values(live).find((found) => found.agent);
  if (!owner) return [];
  return service.spec.listen.flatMap((listen) => {
    const name = listenName(listen);
    const inFile = new Set(services[listen.to]?.hosts.map((host) => `${listen.to}@${host}`));
    return owner.servers
      .filter((server) => server.listen === name)
      .map((server) => {
        const row = serverRow(service, server, owner, listen);
        // Down or not, it is to go: nobody is without it.
        return server.sorry || inFile.has(server.server)
          ? row
          : {
              ...row,
              health: 'ok',
              why: 'not in the file any more: it goes when its connections have ended',
            };
      });
  });
}

function serverRow(
  service: Service<DirectorSpec>,
  server: ServerStatus,
  owner: DirectorLive,
  listen: DirectorSpec['listen'][number],
): StatusRow {
  const plane = owner.agent?.planes[server.listen]?.plane ?? 'none';
  const how = plane === 'haproxy' ? plane : `${plane} ${listen.forward ?? 'nat'}`;
  return {
    service: service.name,
    name: `${server.listen} ${server.server}`,
    host: server.server.split('@')[1] ?? '',
    role: server.sorry ? 'sorry server' : 'real server',
    health: server.up ? 'ok' : 'down',
    facts: {
      weight:
        server.effective === server.weight
          ? String(server.weight)
          : `${server.effective} (file: ${server.weight})`,
      active: String(server.active),
      closing: String(server.inactive),
      by: `${how} ${listen.scheduler}${server.approximate ? ' (approximate)' : ''}`,
    },
    ...(server.up
      ? server.override
        ? { why: inTurn(server.override) ? 'being drained' : `set by hand: ${server.override}` }
        : {}
      : { why: server.why ?? 'not checked yet' }),
  };
}
