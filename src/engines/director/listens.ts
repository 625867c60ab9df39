import type { Check } from '../../check/check.ts';
import type { Cluster, Service } from '../../file/cluster.ts';
import { registryOf } from '../app/register.ts';
import type { Engine, Member } from '../engine.ts';
import { type DirectorSpec, forwardOf, type ListenSpec, listenName } from './schema.ts';
import type { Listen, RealServer } from './tables.ts';

export type EngineOf = (type: string) => Engine;

/** IPVS's own: 15 minutes for TCP, 5 for UDP (ipvsadm --set's defaults). */
const idleDefault = { tcp: 900_000, udp: 300_000 } as const;

const portCheck: Check = { kind: 'tcp', intervalMs: 500, timeoutMs: 1000, rise: 1, fall: 2 };

/** A member's port for clients, or the one of that name. */
export const portAt = (member: Member, name?: string): Member['ports'][number] | undefined =>
  name === undefined ? member.ports[0] : member.ports.find((port) => port.name === name);

/** The members of a service that can stand behind a director: those that listen on a port, or on the one of that name. */
export function backends(service: Service, cluster: Cluster, engineOf: EngineOf, at?: string): Member[] {
  return engineOf(service.type)
    .members(service, cluster)
    .filter((member) => portAt(member, at) !== undefined);
}

/** The director's virtual services with everything an agent needs, names resolved to addresses. Pure. */
export function listensOf(service: Service<DirectorSpec>, cluster: Cluster, engineOf: EngineOf): Listen[] {
  return service.spec.listen.map((listen): Listen => {
    const servers = (members: Member[], at?: string): RealServer[] =>
      members.map((member) => realServer(member, portAt(member, at)!.port, listen, cluster));
    const to = cluster.services[listen.to]!;
    const behind = backends(to, cluster, engineOf, listen.at);
    const [first] = behind;
    // A port of its own kind has a check of its own kind; the service's is for the port that clients use.
    const own =
      listen.at === undefined
        ? (to.spec as { check?: Check }).check
        : first && portAt(first, listen.at)?.check;
    const registry = registryOf(to, cluster, engineOf);
    return {
      name: listenName(listen),
      proto: listen.proto,
      ports: listen.port,
      // What `auto` becomes is the agent's to see; IPVS has no fullnat, which conntrackd must know of beforehand.
      plane: listen.plane === 'auto' && listen.forward === 'fullnat' ? 'nftables' : listen.plane,
      forward: forwardOf(listen),
      scheduler: listen.scheduler,
      hashPort: listen.hash === 'port',
      persistenceMs: listen.persistence,
      idleMs: listen.idle ?? idleDefault[listen.proto],
      servers: servers(behind, listen.at),
      sorry: listen.sorry ? servers(backends(cluster.services[listen.sorry]!, cluster, engineOf)) : [],
      check: listen.check ?? own ?? portCheck,
      ...(registry ? { registry } : {}),
    };
  });
}

function realServer(member: Member, port: number, listen: ListenSpec, cluster: Cluster): RealServer {
  const host = cluster.hosts[member.host]!;
  const isRange = listen.port[0] !== listen.port[1];
  return {
    name: member.name,
    host: member.host,
    address: host.address,
    ...(host.address6 ? { address6: host.address6 } : {}),
    ...(isRange ? {} : { port }),
    checkPort: port,
    weight: listen.weights[member.name] ?? listen.weights[member.host] ?? 1,
  };
}
