import type { Check } from '../../check/check.ts';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Drills } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import type { AppSpec } from './schema.ts';
import type { Door } from './web-client.ts';

/** Requests a second: a gap is known to 4 ms in each half of the clients. */
const rate = 500;

/** What all drills of something that answers HTTP have in common. */
export const webLoad = { rate, clients: 16, mix: { request: rate - 2, transfer: 2 } };
export const plainLoad = { rate, clients: 16, mix: { request: 1 } };

/** The path that the check asks for; what does not speak HTTP has none. */
export function doorAt(host: string, port: number, check: Check | undefined): Door {
  return { host, port, ...(check?.kind === 'http' ? { path: check.path ?? '/' } : {}) };
}

/** Drills of the servers, seen by clients who come in through the director before them, or straight where there is none. */
export async function appDrills(service: Service<AppSpec>, cluster: Cluster): Promise<Drills> {
  const doors = doorsOf(service, cluster);
  const http = doors.every((door) => door.path !== undefined);
  const first = doors[0]!;
  return {
    client: `node:http, ${webLoad.clients} clients, at ${first.host}:${first.port}`,
    models: { request: {} },
    replicas: [],
    load: http ? webLoad : plainLoad,
    roles: ['member'],
    standard: ['kill-member', 'freeze-member'],
    forMs: 4_000,
    versions: {},
    aim(role, _live, pick) {
      if (role !== 'member') throw new StepFailed(`${service.name} has no ${role}`);
      const host = service.hosts[pick(service.hosts.length)]!;
      return { host, member: `${service.name}@${host}` };
    },
    unserved: () => [],
    open: async () => new (await import('./web-client.ts')).WebClient(doors),
  };
}

/** Transactions a second of all clients: each goes through everything that the app uses, so that two cores have enough to do with these. */
const transactionRate = 20;

/** Drills seen by the app's customers, whose transactions go through everything that it uses. Undefined: the file does not say what one is. */
export function transactionDrills(service: Service<AppSpec>, cluster: Cluster): Drills | undefined {
  const spec = service.spec.drill;
  if (spec === undefined) return undefined;
  const [door] = doorsOf(service, cluster);
  const { method, path } = spec.request;
  return {
    client: `node:http, ${transactionRate} × ${method} ${path} a second, at ${door!.host}:${door!.port}`,
    models: { set: {} },
    replicas: [service.name],
    load: { rate: transactionRate, clients: 32, mix: { add: 1 } },
    roles: [],
    standard: [],
    forMs: 4_000,
    versions: {},
    aim: () => {
      throw new StepFailed('transactions have no role: aim at a service');
    },
    unserved: () => [],
    open: async (run) => {
      const { TransactionClient } = await import('./transaction-client.ts');
      return new TransactionClient(door!, spec, service.name, run);
    },
  };
}

function doorsOf(service: Service<AppSpec>, cluster: Cluster): Door[] {
  const { check, port } = service.spec;
  // A director's spec, as far as it is needed here: engines do not know each other.
  interface Front {
    vip: string[];
    listen: { to: string; port: [number, number]; proto: string }[];
  }
  for (const other of Object.values(cluster.services)) {
    if (other.type !== 'director') continue;
    const { vip, listen } = other.spec as Front;
    const at = listen.find((one) => one.to === service.name && one.proto === 'tcp');
    if (at) return [doorAt(vip[0]!, at.port[0], check)];
  }
  return service.hosts.map((host) => doorAt(cluster.hosts[host]!.address, port, check));
}
