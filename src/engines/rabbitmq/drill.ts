import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import type { Drills, DrillTarget } from '../drill.ts';
import { StepFailed } from '../engine.ts';
import { apiOf } from './api.ts';
import { connections, drillQueue, kindsOf, RabbitDrillClient } from './drill-client.ts';
import { type RabbitLive, running } from './live.ts';
import { hostOfNode, isFast, memberName, nodeText, type RabbitService } from './names.ts';
import { hasQuorum, queueText } from './queues.ts';

/** Operations a second for each queue, of which five in six publish. */
const rate = 600;

/** Drills of RabbitMQ: a queue of each nature that the file has, published to with confirms, taken from with acks, and emptied in the end. */
export async function rabbitDrills(
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
  live: RabbitLive | undefined,
): Promise<Drills<RabbitLive>> {
  const kinds = kindsOf(service);
  const version = await versionOf(service, cluster, reach, live);
  // Until a client of the drill is there, faults are aimed at who leads what the file asks for.
  let queue = Object.keys(service.spec.queues)[0] ?? '';
  return {
    client: `rabbitmq-client 5.0.8, ${connections} connections, queues: ${kinds.map(({ name }) => name).join(', ')}`,
    models: {
      queue: {
        ...(kinds.length > 1 ? { groups: kinds.map(({ name }) => name) } : {}),
        // At least once is the promise: what was given and not acknowledged is given again.
        tolerates: ['duplicated'],
      },
    },
    replicas: [],
    load: {
      rate: rate * kinds.length,
      clients: 2 * connections * kinds.length,
      mix: { enqueue: 5, dequeue: 1 },
    },
    roles: ['leader', 'follower', 'node'],
    standard: [
      'kill-leader',
      ...(service.hosts.length > 2 ? ['freeze-leader', 'kill-follower', 'split-leader'] : []),
      'power-off-leader',
    ],
    forMs: isFast(service) ? 8_000 : 15_000,
    timing: isFast(service) ? 'fast' : 'default',
    versions: version === undefined ? {} : { rabbitmq: version },
    aim: (role, now, pick) => aim(service, cluster, queue, role, now, pick),
    unserved: (now) => unserved(service, cluster, now),
    unfinished: (now) => unfinished(service, cluster, now),
    async open(run) {
      queue = drillQueue(run, kinds[0]!);
      const client = new RabbitDrillClient(service, cluster, reach, kinds, run);
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

async function versionOf(
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
  live: RabbitLive | undefined,
): Promise<string | undefined> {
  if (!live?.view) return undefined;
  const api = apiOf(service, cluster, live.view.from, reach, 5_000);
  const said = (await api.call('GET', '/api/overview').catch(() => undefined)) as
    | { rabbitmq_version?: string }
    | undefined;
  return said?.rabbitmq_version;
}

/** `leader` and `follower` are those of the drill's own queue; a classic queue is led by the node that it is on. */
function aim(
  service: RabbitService,
  cluster: Cluster,
  queue: string,
  role: string,
  live: RabbitLive,
  pick: (below: number) => number,
): DrillTarget {
  const { view } = live;
  const own = view?.queues.find(({ name }) => name === queue);
  const leader = own?.leader ?? own?.node;
  const up = new Set(view ? running(view.nodes) : []);
  const candidates =
    role === 'node'
      ? [...up]
      : role === 'leader'
        ? [leader]
        : [...(own?.online ?? []), ...(own?.slave_nodes ?? [])].filter((node) => node !== leader);
  const hosts = candidates.flatMap((node) => {
    const host = node !== undefined && up.has(node) ? hostOfNode(cluster, node) : undefined;
    return host === undefined ? [] : [host];
  });
  if (hosts.length === 0)
    throw new StepFailed(`${service.name} has no ${role} of ${queue || 'a queue'} that runs`);
  const host = hosts[pick(hosts.length)]!;
  return { host, member: memberName(service, host) };
}

/** Queues that nobody can publish to now. */
function unserved(service: RabbitService, cluster: Cluster, live: RabbitLive | undefined): string[] {
  const view = live?.view;
  if (!view) return [`no node of ${service.name} answers`];
  const up = new Set(running(view.nodes));
  return view.queues.flatMap((queue) => {
    if (queue.type === 'quorum')
      return hasQuorum(queue) ? [] : [`queue ${queueText(service, queue)} has lost its majority`];
    if (queue.node === undefined || up.has(queue.node)) return [];
    return [`queue ${queueText(service, queue)} is on ${nodeText(cluster, queue.node)}, which is down`];
  });
}

function unfinished(service: RabbitService, cluster: Cluster, live: RabbitLive | undefined): string[] {
  const view = live?.view;
  if (!view) return [];
  const down = view.nodes
    .filter((node) => !node.running)
    .map((node) => `${nodeText(cluster, node.name)} is not seen running`);
  const behind = view.queues.flatMap((queue) => {
    const missing = (queue.members ?? []).filter((node) => !queue.online?.includes(node));
    return missing.length > 0
      ? [
          `queue ${queueText(service, queue)} is without ${missing.map((node) => nodeText(cluster, node)).join(', ')}`,
        ]
      : [];
  });
  return [...down, ...behind];
}
