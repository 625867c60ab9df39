import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { liesHere } from '../../hosts/lab/lab-host.ts';
import { type HostLive, type NodeView, type QueueView, type RabbitLive, running } from './live.ts';
import { memberName, nodeOf, type RabbitService } from './names.ts';
import { type Place, parsePlace, placeScript } from './place.ts';
import type { Snapshot } from './snapshot.ts';

/** A host answers in 30 to 150 ms, or not at all. */
const patienceMs = 6_000;

/**
 * Asks every host, in one script each, whether it has a node of the service and data of it, and what that node sees. Hosts
 * that the service has left, or that left the file, are asked as well: the cluster may still live there. Not through the management
 * API: while a host is unreachable that takes 3 to 20 s (it asks the dead peer), just when one wants to know.
 */
export async function observeRabbit(
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
): Promise<RabbitLive> {
  const places = await placesOf(service, cluster, reach);
  const snapshots = Object.values(places).flatMap(({ snapshot }) => snapshot ?? []);
  const hosts: Record<string, HostLive> = Object.fromEntries(
    Object.entries(places)
      .filter(([host, { present }]) => service.hosts.includes(host) || present)
      .map(([host, place]) => [host, hostLive(place, snapshots)]),
  );
  const from = bestView(service, cluster, hosts);
  if (from === undefined) return { hosts };
  const { queues, exchanges, definitions: exported } = places[from]!.snapshot!;
  // What RabbitMQ exports leaves out some queues and exchanges, and whether an exchange is internal.
  const definitions = { ...exported, queues, exchanges };
  return {
    hosts,
    view: {
      from,
      nodes: hosts[from]!.nodes!,
      queues: queues.map((queue) => counted(queue, snapshots)),
      definitions,
    },
  };
}

/** The nodes that one of them knows; figures come from each node itself. */
function nodesOf(seen: Snapshot, snapshots: Snapshot[]): NodeView[] {
  return seen.all.map((name) => {
    const own = snapshots.find((one) => one.me === name);
    const bytes = (value: unknown): number => (typeof value === 'number' ? value : 0);
    return {
      name,
      type: seen.disc.includes(name) ? 'disc' : 'ram',
      running: seen.up.includes(name),
      ...(own
        ? {
            mem_used: own.memory,
            mem_limit: own.memory_limit,
            mem_alarm: own.alarms.includes('memory'),
            disk_free: bytes(own.disk_free),
            disk_free_limit: bytes(own.disk_limit),
            disk_free_alarm: own.alarms.includes('disk'),
            partitions: own.partitions,
            connections: own.connections,
          }
        : {}),
    };
  });
}

/** How many messages a queue holds is known where it is led. */
function counted(queue: QueueView, snapshots: Snapshot[]): QueueView {
  const leader = snapshots.find((one) => one.me === (queue.leader ?? queue.node));
  const same = leader?.queues.find((one) => one.name === queue.name && one.vhost === queue.vhost);
  const { messages: _, ...rest } = queue;
  return typeof same?.messages === 'number' ? { ...rest, messages: same.messages } : rest;
}

function hostLive({ present: _, snapshot, why, ...place }: Place, snapshots: Snapshot[]): HostLive {
  if (!snapshot) return { ...place, why: why ?? 'the host does not answer' };
  return { ...place, nodes: nodesOf(snapshot, snapshots), connected: snapshot.connected };
}

/**
 * By host, whether its node has data, and what it sees: hosts of the service, every other that has a folder of it, and those that
 * cannot be asked whether they have one.
 */
export async function placesOf(
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
): Promise<Record<string, Place>> {
  const all = Object.values({ ...cluster.former, ...cluster.hosts });
  const asked = await Promise.all(
    all.map(async (entry) => [entry.name, await placeOn(service, cluster, entry, reach)] as const),
  );
  return Object.fromEntries(
    asked.filter(([host, { present }]) => service.hosts.includes(host) || present !== false),
  );
}

async function placeOn(
  service: RabbitService,
  cluster: Cluster,
  entry: HostEntry,
  reach: Reach,
): Promise<Place> {
  const host = reach.host(entry.name);
  try {
    return parsePlace(await host.run(placeScript(service, cluster, entry.name), { timeoutMs: patienceMs }));
  } catch (error) {
    if (!(error instanceof HostUnreachable)) throw error;
    const left = !service.hosts.includes(entry.name) && liesHere(host, entry.root);
    return { why: error.message, ...(left ? leftOff(service, entry) : {}) };
  }
}

/** What a lab host that is off has of the service. */
function leftOff(service: RabbitService, { name, root }: HostEntry): Place {
  const mnesia = join(root, 'members', memberName(service, name), 'data/mnesia');
  if (!existsSync(mnesia)) return { present: false };
  return { present: true, idle: true, blank: readdirSync(mnesia).length === 0 };
}

/**
 * The host whose node sees the most running nodes of the file: in a split the side that goes on. A node that is alone and in
 * nobody's list comes last.
 */
export function bestView(
  service: RabbitService,
  cluster: Cluster,
  hosts: Record<string, HostLive>,
): string | undefined {
  const ours = new Set(service.hosts.map((host) => nodeOf(service, cluster, host)));
  let best: { host: string; count: number; known: number } | undefined;
  for (const [host, { nodes }] of Object.entries(hosts)) {
    if (!nodes) continue;
    const count = running(nodes).filter((node) => ours.has(node)).length;
    if (!best || count > best.count || (count === best.count && nodes.length > best.known))
      best = { host, count, known: nodes.length };
  }
  return best?.host;
}
