import type { Check } from '../../check/check.ts';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { DrillClient, Drills } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { type Door, websockets } from './door.ts';
import type { AppSpec, TransactionSpec } from './schema.ts';

/** Requests a second: a gap is known to 4 ms in each half of the clients. */
const rate = 500;

const clients = 16;
/** Pings a second of all websockets: that one was cut is known to some 200 ms. */
const pings = 40;

/** What drills of something that answers HTTP, or only accepts connections, have in common. */
export function webLoad({ path, download, websocket }: Door): Drills['load'] {
  if (path === undefined) return { rate, clients, mix: { request: 1 } };
  const mix = {
    request: rate,
    transfer: 2,
    ...(download === undefined ? {} : { download: 1 }),
    ...(websocket === undefined ? {} : { ping: pings }),
  };
  return {
    rate: Object.values(mix).reduce((sum, share) => sum + share, 0),
    clients,
    mix,
    ...(websocket === undefined ? {} : { keys: websockets }),
  };
}

/** The clients in words. */
export const webClientOf = ({ host, port, download, websocket }: Door, where = ''): string =>
  [
    `node:http, ${clients} clients`,
    ...(download === undefined ? [] : ['long downloads']),
    ...(websocket === undefined ? [] : [`ws, ${websockets} websockets`]),
    `at ${where}${host}:${port}`,
  ].join(', ');

/** The path that the check asks for, which what does not speak HTTP has not, and what the app's `drill` names. */
export function doorAt(host: string, port: number, check: Check | undefined, drill?: AppSpec['drill']): Door {
  const { download, websocket } = drill ?? {};
  const http = check?.kind === 'http' || download !== undefined || websocket !== undefined;
  if (!http) return { host, port };
  return {
    ...{ host, port, path: (check?.kind === 'http' && check.path) || '/' },
    ...(download === undefined ? {} : { download }),
    ...(websocket === undefined ? {} : { websocket }),
  };
}

/** Connects the clients; loads them only now. */
export async function openWeb(doors: Door[]): Promise<DrillClient> {
  const { WebClient } = await import('./web-client.ts');
  const client = new WebClient(doors);
  try {
    await client.ready();
  } catch (error) {
    await client.close();
    throw error;
  }
  return client;
}

/** Drills of the servers, seen by clients who come in through the director before them, or straight where there is none. */
export async function appDrills(service: Service<AppSpec>, cluster: Cluster): Promise<Drills> {
  const doors = doorsOf(service, cluster);
  const first = doors[0]!;
  return {
    client: webClientOf(first),
    models: { request: {} },
    replicas: [],
    load: webLoad(first),
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
    open: () => openWeb(doors),
  };
}

/** Transactions a second of all clients: each goes through everything that the app uses, so that two cores have enough to do with these. */
const transactionRate = 20;

/** Drills seen by the app's customers, whose transactions go through everything that it uses. Undefined: the file does not say what one is. */
export function transactionDrills(service: Service<AppSpec>, cluster: Cluster): Drills | undefined {
  const { request, read, complete } = service.spec.drill ?? {};
  if (request === undefined || read === undefined) return undefined;
  const spec: TransactionSpec = { request, read, complete: complete! };
  const [door] = doorsOf(service, cluster);
  const { method, path } = request;
  return {
    client: `node:http, ${transactionRate} × ${method} ${path} a second, at ${door!.host}:${door!.port}`,
    // A part of the customers that is turned away is an outage: it is over when all of a second's are served.
    models: { set: { clean: transactionRate } },
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
  const { check, port, drill } = service.spec;
  // A director's spec, as far as it is needed here: engines do not know each other.
  interface Front {
    vip: string[];
    listen: { to: string; port: [number, number]; proto: string }[];
  }
  for (const other of Object.values(cluster.services)) {
    if (other.type !== 'director') continue;
    const { vip, listen } = other.spec as Front;
    const at = listen.find((one) => one.to === service.name && one.proto === 'tcp');
    if (at) return [doorAt(vip[0]!, at.port[0], check, drill)];
  }
  return service.hosts.map((host) => doorAt(cluster.hosts[host]!.address, port, check, drill));
}
