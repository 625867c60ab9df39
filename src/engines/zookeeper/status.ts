import type { Cluster } from '../../file/cluster.ts';
import type { StatusRow } from '../engine.ts';
import { majority, serverLine, votersOf } from './ensemble.ts';
import { type LiveServer, servingVoters, writable, type ZooKeeperLive } from './live.ts';
import { hostOf, memberName, seatsOf, type ZooKeeperService } from './seats.ts';

/** Each server with its live role; and, when the majority is lost, what that means and why. */
export function zooKeeperStatus(
  service: ZooKeeperService,
  cluster: Cluster,
  live: ZooKeeperLive | undefined,
): StatusRow[] {
  if (!live) return [];
  const seats = seatsOf(service, cluster);
  const lost = lostSentence(service, cluster, live);
  return Object.values(live.servers).map((server): StatusRow => {
    const name = memberName(service, server.host);
    const seat = seats.find((one) => one.host === server.host);
    const id = seat?.id ?? cluster.ids?.[`${service.name}/${server.host}`];
    const row = { service: service.name, name, host: server.host, facts: facts(server, id) };
    if (server.state === 'silent')
      return { ...row, role: 'silent', health: 'down', why: server.why ?? 'it does not answer' };
    if (server.state === 'electing')
      return { ...row, role: 'electing', health: 'down', why: lost ?? 'it finds no majority: cut off?' };
    if (server.state === 'read-only')
      return { ...row, role: 'read-only', health: 'degraded', why: lost ?? 'it finds no majority: cut off?' };
    const role = server.role!;
    if (lost) return { ...row, role, health: 'degraded', why: lost };
    const now = live.ensemble?.servers.find((one) => one.id === id);
    if (!seat) return { ...row, role, health: 'degraded', why: 'the file no longer has it: phalanx up' };
    if (!now) return { ...row, role, health: 'degraded', why: 'not yet part of the ensemble: phalanx up' };
    if (serverLine(now) !== serverLine(seat))
      return {
        ...row,
        role,
        health: 'degraded',
        why: `it is ${serverLine(now)}, the file has it otherwise: phalanx up`,
      };
    if (role === 'leader' && live.wrong && live.wrong.length > 0)
      return { ...row, role, health: 'degraded', why: `${live.wrong.join(', ')} not protected: phalanx up` };
    return { ...row, role, health: 'ok' };
  });
}

function facts(server: LiveServer, id: number | undefined): Record<string, string> {
  const { zxid, connections, latency, outstanding, synced, nodes } = server;
  return {
    ...(id ? { myid: String(id) } : {}),
    ...(zxid === undefined
      ? {}
      : { epoch: String(zxid >> 32n), zxid: `0x${(zxid & 0xffffffffn).toString(16)}` }),
    ...(connections === undefined ? {} : { connections: String(connections) }),
    ...(latency === undefined ? {} : { latency: `${Math.round(latency * 10) / 10}ms` }),
    ...(outstanding ? { outstanding: String(outstanding) } : {}),
    ...(synced === undefined ? {} : { 'in step': String(synced) }),
    ...(server.role === 'leader' && nodes !== undefined ? { nodes: String(nodes) } : {}),
  };
}

/** What the loss of the majority means for clients, and who is missing; undefined while there is a majority. */
function lostSentence(service: ZooKeeperService, cluster: Cluster, live: ZooKeeperLive): string | undefined {
  const byId = (id: number) => hostOf(service, cluster, id);
  if (!live.ensemble || writable(live, byId)) return undefined;
  const voters = votersOf(live.ensemble.servers);
  const answering = voters.filter(({ id }) => {
    const state = live.servers[byId(id) ?? '']?.state;
    return state !== undefined && state !== 'silent';
  });
  const needed = majority(voters.length);
  if (answering.length >= needed)
    return `no leader: ${servingVoters(live, byId).length} of ${voters.length} voters serve, an election is under way or they do not see each other`;
  const silent = voters
    .filter((voter) => !answering.includes(voter))
    .map(({ id }) => (byId(id) ? memberName(service, byId(id)!) : `server ${id}`));
  const reads = service.spec.readOnly
    ? 'writes stop, clients that accept it may read'
    : 'writes and reads stop';
  return `majority lost: ${answering.length} of ${voters.length} voters answer and ${needed} are needed (silent: ${silent.join(', ')}); ${reads}`;
}
