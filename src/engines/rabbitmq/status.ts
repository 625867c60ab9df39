import type { Cluster } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import type { StatusRow } from '../engine.ts';
import { majority, type NodeView, type QueueView, type RabbitLive, running, type View } from './live.ts';
import { memberName, nodeOf, nodeText, type RabbitService } from './names.ts';
import { hasQuorum, wantedSize } from './queues.ts';

/** A row for each node, then one for each queue of the file, and for every other queue that is not whole. */
export function rabbitStatus(
  service: RabbitService,
  cluster: Cluster,
  live: RabbitLive | undefined,
): StatusRow[] {
  if (!live) return [];
  return [
    ...service.hosts.map((host) => nodeRow(service, cluster, host, live)),
    ...(live.view ? leftBehind(service, cluster, live.view) : []),
    ...(live.view ? [...queueRows(service, cluster, live.view), ...missingQueues(service, live.view)] : []),
  ];
}

function nodeRow(service: RabbitService, cluster: Cluster, host: string, live: RabbitLive): StatusRow {
  const name = nodeOf(service, cluster, host);
  const found = live.view?.nodes.find((node) => node.name === name);
  const row = {
    service: service.name,
    name: memberName(service, host),
    host,
    role: `${(found?.type ?? (service.spec.ram.includes(host) ? 'ram' : 'disc')) === 'ram' ? 'ram' : 'disk'} node`,
  };
  const place = live.hosts[host];
  if (!live.view)
    return {
      ...row,
      health: 'down',
      facts: {},
      why: place?.others
        ? `its data is that of ${place.others.join(', ')}, which had another address: phalanx plan says more`
        : place?.blank && !place.admitted
          ? blankWhy
          : (place?.why ?? 'does not answer'),
    };
  if (!found) {
    const why = place?.admitted
      ? 'is joining the cluster'
      : place?.blank === true
        ? blankWhy
        : place?.nodes
          ? 'stands alone, in a cluster of its own: phalanx up sets its data aside and lets it join'
          : 'the cluster does not know it: phalanx up';
    return { ...row, health: 'down', facts: {}, why };
  }
  if (!found.running)
    return {
      ...row,
      health: 'down',
      facts: {},
      why: place?.nodes
        ? `split from ${live.view.from}: the network between them is cut, or was (then phalanx up mends it)`
        : `${live.view.from} does not see it running: ${place?.why ?? 'does not answer'}`,
    };
  const why = troubles(service, cluster, found, place?.nodes ? undefined : place?.why);
  return {
    ...row,
    health: why.length === 0 ? 'ok' : 'degraded',
    facts: facts(service, found, live.view),
    ...(why.length === 0 ? {} : { why: why.join('; ') }),
  };
}

const blankWhy = 'has no data and waits to be admitted: phalanx up';

function facts(service: RabbitService, node: NodeView, view: View): Record<string, string> {
  const led = view.queues.filter((queue) => (queue.leader ?? queue.node) === node.name).length;
  return {
    leads: `${led} of ${view.queues.length}`,
    ...(node.connections === undefined ? {} : { connections: String(node.connections) }),
    ...(node.mem_used === undefined ? {} : { memory: rounded(node.mem_used) }),
    split: service.spec.partitions,
  };
}

const rounded = (bytes: number): string => sizeText(Math.round(bytes / 2 ** 20) * 2 ** 20);

function troubles(
  service: RabbitService,
  cluster: Cluster,
  node: NodeView,
  silent: string | undefined,
): string[] {
  const why: string[] = [];
  if (node.mem_alarm)
    why.push(
      `memory alarm: ${rounded(node.mem_used ?? 0)} of ${rounded(node.mem_limit ?? 0)}, publishers are held back until consumers catch up`,
    );
  if (node.disk_free_alarm)
    why.push(
      `disk alarm: ${rounded(node.disk_free ?? 0)} free, ${rounded(node.disk_free_limit ?? 0)} wanted, publishers are held back`,
    );
  const cut = (node.partitions ?? []).map((name) => nodeText(cluster, name));
  if (cut.length > 0)
    why.push(
      `was split from ${cut.join(', ')}${service.spec.partitions === 'ignore' ? ': restart one side by hand' : ''}`,
    );
  if (silent !== undefined) why.push(silent);
  return why;
}

/** Nodes that the cluster still counts and the file no longer has. */
function leftBehind(service: RabbitService, cluster: Cluster, view: View): StatusRow[] {
  const ours = new Set(service.hosts.map((host) => nodeOf(service, cluster, host)));
  return view.nodes
    .filter((node) => !ours.has(node.name))
    .map((node) => ({
      service: service.name,
      name: nodeText(cluster, node.name),
      host: nodeText(cluster, node.name),
      role: `${node.type === 'ram' ? 'ram' : 'disk'} node`,
      health: 'degraded',
      facts: {},
      why: 'the file no longer has it, the cluster still counts it: phalanx up',
    }));
}

function queueRows(service: RabbitService, cluster: Cluster, view: View): StatusRow[] {
  return view.queues
    .map((queue) => ({ queue, row: queueRow(service, cluster, queue, view) }))
    .filter(
      ({ queue, row }) =>
        row.health !== 'ok' || (queue.vhost === service.spec.vhost && queue.name in service.spec.queues),
    )
    .map(({ row }) => row);
}

/** Queues of the file that the cluster has not. One that is not durable goes with its node, as it may. */
function missingQueues({ name: service, spec }: RabbitService, view: View): StatusRow[] {
  return Object.entries(spec.queues)
    .filter(([name]) => !view.queues.some((one) => one.name === name && one.vhost === spec.vhost))
    .map(([name, { type, durable }]) => ({
      service,
      name: `queue ${name}`,
      host: '',
      role: `${type} queue`,
      health: durable ? 'down' : 'ok',
      facts: {},
      why: durable ? 'it is not there: phalanx up' : 'it is not durable, and went with its node: phalanx up',
    }));
}

function queueRow(service: RabbitService, cluster: Cluster, queue: QueueView, view: View): StatusRow {
  const place = queue.vhost === service.spec.vhost ? '' : `${queue.vhost}/`;
  const lead = queue.leader ?? queue.node;
  const messages: Record<string, string> =
    typeof queue.messages !== 'number' ? {} : { messages: String(queue.messages) };
  const row = {
    service: service.name,
    name: `queue ${place}${queue.name}`,
    host: lead ? nodeText(cluster, lead) : '',
    role: `${queue.type} queue`,
  };
  if (queue.type === 'quorum') {
    const members = queue.members ?? [];
    const online = queue.online ?? [];
    const missing = members.filter((node) => !online.includes(node)).map((node) => nodeText(cluster, node));
    const few = members.length < wantedSize(service, queue);
    const why = !hasQuorum(queue)
      ? `no majority: without ${missing.join(', ')}; nothing is confirmed or delivered`
      : missing.length > 0
        ? `without ${missing.join(', ')}`
        : few
          ? `${members.length} of ${wantedSize(service, queue)} members: phalanx up gives it the others`
          : undefined;
    return {
      ...row,
      health: !hasQuorum(queue) ? 'down' : missing.length > 0 || few ? 'degraded' : 'ok',
      facts: {
        leader: lead && online.includes(lead) ? nodeText(cluster, lead) : 'none',
        online: `${online.length} of ${members.length}`,
        ...messages,
      },
      ...(why ? { why } : {}),
    };
  }
  if (queue.type !== 'classic') return { ...row, ...elsewhere(cluster, queue, view), facts: messages };
  const up = view.nodes.some((node) => node.name === queue.node && node.running);
  const mirrors = queue.slave_nodes ?? [];
  const synced = queue.synchronised_slave_nodes ?? [];
  const behind = mirrors.filter((node) => !synced.includes(node)).map((node) => nodeText(cluster, node));
  return {
    ...row,
    health: !up ? 'down' : behind.length > 0 ? 'degraded' : 'ok',
    facts: {
      node: lead ? nodeText(cluster, lead) : 'none',
      ...(mirrors.length > 0 ? { mirrors: `${synced.length} of ${mirrors.length}` } : null),
      ...messages,
    },
    ...(!up
      ? { why: 'its node is down, and it is on no other' }
      : behind.length > 0
        ? { why: `mirrors that are not in step: ${behind.join(', ')}` }
        : {}),
  };
}

/** A stream by the nodes that have it; of other types nothing is known. */
function elsewhere(cluster: Cluster, queue: QueueView, view: View): Pick<StatusRow, 'health' | 'why'> {
  if (queue.type !== 'stream' || !queue.members?.length)
    return { health: 'unknown', why: `Phalanx knows no queues of type ${queue.type}` };
  const up = new Set(running(view.nodes));
  const missing = queue.members.filter((node) => !up.has(node)).map((node) => nodeText(cluster, node));
  if (missing.length === 0) return { health: 'ok' };
  const without = `without ${missing.join(', ')}`;
  return queue.members.length - missing.length < majority(queue.members.length)
    ? { health: 'down', why: `no majority: ${without}; nothing is confirmed` }
    : { health: 'degraded', why: without };
}
