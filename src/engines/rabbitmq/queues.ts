import type { Cluster } from '../../file/cluster.ts';
import { mostMembers } from './configuration.ts';
import { majority, type QueueView, running, type View } from './live.ts';
import { nodeOf, nodeText, type RabbitService } from './names.ts';

/** A queue as a person knows it; the vhost only where it is not the service's own. */
export const queueText = (service: RabbitService, queue: { name: string; vhost: string }): string =>
  queue.vhost === service.spec.vhost ? queue.name : `${queue.name} (vhost ${queue.vhost})`;

export interface Addition {
  queue: QueueView;
  /** Node that is to hold the queue as well. */
  node: string;
}

/** How many members a quorum queue is to have: what the file says, else what it was declared with, else every node, at most 5. */
export function wantedSize(service: RabbitService, queue: QueueView): number {
  const said = queue.vhost === service.spec.vhost ? service.spec.queues[queue.name]?.members : undefined;
  const declared = queue.arguments['x-quorum-initial-group-size'];
  const wanted = said ?? (typeof declared === 'number' ? declared : mostMembers);
  return Math.min(wanted, service.hosts.length);
}

/**
 * Members that quorum queues lack, on nodes of the file; the nodes with the fewest members first. Members on nodes that
 * leave do not count, so that a queue has its members elsewhere before it loses them there. Pure.
 */
export function lacking(service: RabbitService, cluster: Cluster, view: View): Addition[] {
  const nodes = service.hosts.map((host) => nodeOf(service, cluster, host));
  const load = new Map(nodes.map((node) => [node, 0]));
  const quorum = view.queues.filter((queue) => queue.type === 'quorum');
  for (const queue of quorum)
    for (const node of queue.members ?? []) if (load.has(node)) load.set(node, load.get(node)! + 1);
  const additions: Addition[] = [];
  for (const queue of quorum) {
    const has = new Set(queue.members ?? []);
    const missing = wantedSize(service, queue) - nodes.filter((node) => has.has(node)).length;
    const free = nodes.filter((node) => !has.has(node)).sort((a, b) => load.get(a)! - load.get(b)!);
    for (const node of free.slice(0, Math.max(0, missing))) {
      additions.push({ queue, node });
      load.set(node, load.get(node)! + 1);
    }
  }
  return additions;
}

/**
 * What stands against stopping this node for a moment, a sentence each. `critical` are the queues that RabbitMQ itself names at
 * that node (health check node-is-quorum-critical). Queues that are to have two members or one stop with any of their nodes: a gate for them
 * would never open. One that has fewer than it is to have gets them first.
 */
export function againstStopping(
  service: RabbitService,
  cluster: Cluster,
  view: View,
  node: string,
  critical: { name: string; virtual_host: string }[],
): string[] {
  const reasons: string[] = [];
  const others = running(view.nodes).filter((name) => name !== node);
  if (view.nodes.length > 2 && others.length < majority(view.nodes.length)) {
    const down = view.nodes.filter((one) => !one.running && one.name !== node);
    reasons.push(
      `without it ${others.length} of ${view.nodes.length} nodes would run: ${down.map((one) => nodeText(cluster, one.name)).join(', ')} ${down.length === 1 ? 'is' : 'are'} down`,
    );
  }
  for (const { name, virtual_host: vhost } of critical) {
    const queue = view.queues.find((one) => one.name === name && one.vhost === vhost);
    if (queue && wantedSize(service, queue) < 3) continue;
    const online = queue
      ? `: ${queue.online?.length ?? 0} of ${queue.members?.length ?? 0} members online`
      : '';
    reasons.push(`queue ${queueText(service, { name, vhost })} would lose its majority${online}`);
  }
  for (const queue of view.queues) {
    const mirrors = queue.slave_nodes ?? [];
    if (queue.type !== 'classic' || queue.node !== node || mirrors.length === 0) continue;
    if ((queue.synchronised_slave_nodes ?? []).length === 0)
      reasons.push(`queue ${queueText(service, queue)} has no mirror that is in step`);
  }
  return reasons;
}

/** Whether a classic queue is on this node, and on none that runs and stays; one that holds nothing and may go with its node is not counted. */
function isAlone(
  service: RabbitService,
  cluster: Cluster,
  view: View,
  node: string,
  queue: QueueView,
): boolean {
  if (queue.type !== 'classic' || queue.node !== node || queue.exclusive) return false;
  const up = running(view.nodes);
  const stay = service.hosts.map((host) => nodeOf(service, cluster, host));
  const copies = (queue.synchronised_slave_nodes ?? []).filter(
    (one) => up.includes(one) && stay.includes(one),
  );
  return copies.length === 0 && (queue.durable || (queue.messages ?? 0) > 0);
}

/** Queues that go with a node that is down, with whatever is in them; none while it runs, where something can still be done for them. Pure. */
export function goneWith(service: RabbitService, cluster: Cluster, view: View, node: string): QueueView[] {
  if (running(view.nodes).includes(node)) return [];
  return view.queues.filter((queue) => isAlone(service, cluster, view, node, queue));
}

export type QueueName = Pick<QueueView, 'name' | 'vhost'>;

/**
 * What stands against a node leaving for good, a sentence each; empty when nothing would be lost. `given` are queues that may go with it
 * while it is down. Pure.
 */
export function againstLeaving(
  service: RabbitService,
  cluster: Cluster,
  view: View,
  node: string,
  given: QueueName[] = [],
): string[] {
  const reasons: string[] = [];
  const leaves = nodeText(cluster, node);
  const stay = new Set(service.hosts.map((host) => nodeOf(service, cluster, host)));
  const up = new Set(running(view.nodes));
  if (!view.nodes.some((one) => one.name !== node && one.type === 'disc' && one.running))
    reasons.push(`${leaves} is the last disk node that runs`);
  const gone = goneWith(service, cluster, view, node);
  for (const queue of view.queues) {
    const text = `queue ${queueText(service, queue)}`;
    if (queue.type === 'quorum' && queue.members?.includes(node)) {
      const left = queue.members.filter((one) => one !== node);
      const online = left.filter((one) => queue.online?.includes(one));
      // A new member on a node that stays may take its place first.
      const spare = [...stay].filter((one) => up.has(one) && !queue.members!.includes(one));
      if (left.length === 0 && spare.length === 0) reasons.push(`${text} has its only member on ${leaves}`);
      else if (online.length < left.length)
        reasons.push(
          `${text} is critical: without ${leaves} ${online.length} of ${left.length} members would be online`,
        );
    }
    // Whatever it is, it is nothing that we know how to move; nor, where it does not say, where it is.
    if (queue.type !== 'quorum' && queue.type !== 'classic' && (queue.members?.includes(node) ?? true))
      reasons.push(
        `${text} (${queue.type}) ${queue.members ? `has a replica on ${leaves}` : `may be on ${leaves}`}, and Phalanx moves none of its kind: take it off there by its own tool (rabbitmq-streams delete_replica), or delete it, first`,
      );
    if (gone.includes(queue)) {
      if (!given.some(({ name, vhost }) => name === queue.name && vhost === queue.vhost))
        reasons.push(
          `${text} is on ${leaves} alone, which is down: bring it back; or, to give up what is in it, phalanx up --allow-data-loss ${service.name}`,
        );
    } else if (isAlone(service, cluster, view, node, queue))
      reasons.push(
        (queue.messages ?? 0) > 0
          ? `${text} is on ${leaves} alone, with ${queue.messages} messages`
          : `${text} is on ${leaves} alone (classic, not mirrored): delete it or mirror it first`,
      );
  }
  return reasons;
}

/** A majority of its members answers. */
export const hasQuorum = (queue: QueueView): boolean =>
  (queue.online?.length ?? 0) >= majority(queue.members?.length ?? 1);
