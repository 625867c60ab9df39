import type { Cluster } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { type Api, apiOf } from './api.ts';
import type { Definitions } from './definitions.ts';
import { type HostLive, type NodeView, type QueueView, type RabbitLive, running, type View } from './live.ts';
import { entryOf, memberName, nodeOf, type RabbitService } from './names.ts';
import { blankTest, databaseFolder } from './start.ts';

/** A call of the API takes 20 to 150 ms; while a peer is frozen RabbitMQ itself waits for it, and we do not. */
const patienceMs = 2_500;

const nodeColumns =
  'name,type,running,mem_used,mem_limit,mem_alarm,disk_free,disk_free_limit,disk_free_alarm,partitions,connection_created,connection_closed';
const queueColumns =
  'name,vhost,type,durable,auto_delete,exclusive,arguments,state,messages,leader,members,online,node,slave_nodes,synchronised_slave_nodes';

/**
 * Asks every host whether it has a node of the service and data of it, every node what it sees, and one node for the whole.
 * Hosts that the service has left, or that left the file, are asked as well: the cluster may still live there.
 */
export async function observeRabbit(
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
): Promise<RabbitLive> {
  const places = await placesOf(service, cluster, reach);
  const found = await Promise.all(
    Object.entries(places).map(
      async ([host, place]) =>
        [host, { ...place, ...(await nodesSeen(service, cluster, host, reach)) }] as const,
    ),
  );
  const hosts: Record<string, HostLive> = Object.fromEntries(found);
  const from = bestView(service, cluster, hosts);
  if (from === undefined) return { hosts };
  const view = await viewFrom(
    apiOf(service, cluster, from, reach, 2 * patienceMs),
    hosts[from]!.nodes!,
  ).catch((error: Error) => {
    hosts[from]!.why = error.message;
    return undefined;
  });
  return view ? { hosts, view } : { hosts };
}

/** By host, whether its node has data: hosts of the service, and every other that has a folder of it. */
export async function placesOf(
  service: RabbitService,
  cluster: Cluster,
  reach: Reach,
): Promise<Record<string, Pick<HostLive, 'blank'>>> {
  const all = [...Object.keys(cluster.hosts), ...Object.keys(cluster.former ?? {})];
  const asked = await Promise.all(
    all.map(async (host) => [host, await placeOn(service, cluster, host, reach)] as const),
  );
  return Object.fromEntries(
    asked
      .filter(([host, { present }]) => service.hosts.includes(host) || present)
      .map(([host, { blank }]) => [host, blank === undefined ? {} : { blank }]),
  );
}

async function placeOn(
  service: RabbitService,
  cluster: Cluster,
  host: string,
  reach: Reach,
): Promise<{ present?: boolean; blank?: boolean }> {
  const entry = entryOf(cluster, host);
  const folder = `${entry.root}/members/${memberName(service, host)}`;
  const script = `database=${quote(`${folder}/${databaseFolder(service.name, entry.address)}`)}
present=false blank=false
[ ! -d ${quote(folder)} ] || present=true
if ${blankTest}; then blank=true; fi
printf '{"present":%s,"blank":%s}\\n' "$present" "$blank"`;
  try {
    const { lines } = await reach.host(host).run(script, { timeoutMs: patienceMs });
    const { present, blank } = lines[0] as { present: boolean; blank: boolean };
    return { present, blank };
  } catch (error) {
    if (error instanceof HostUnreachable) return {};
    throw error;
  }
}

async function nodesSeen(
  service: RabbitService,
  cluster: Cluster,
  host: string,
  reach: Reach,
): Promise<Pick<HostLive, 'nodes' | 'why'>> {
  const api = apiOf(service, cluster, host, reach, patienceMs);
  try {
    return { nodes: (await api.call('GET', `/api/nodes?columns=${nodeColumns}`)) as NodeView[] };
  } catch (error) {
    return { why: (error as Error).message };
  }
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

async function viewFrom(api: Api, nodes: NodeView[]): Promise<View> {
  const [queues, definitions] = await Promise.all([
    api.call('GET', `/api/queues?columns=${queueColumns}`),
    api.call('GET', '/api/definitions'),
  ]);
  return {
    from: api.host,
    nodes,
    queues: queues as QueueView[],
    definitions: definitions as Definitions,
  };
}
