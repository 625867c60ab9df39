import type { Cluster, Service } from '../../file/cluster.ts';
import { HostUnreachable, type Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import type { AgentStatus, ServerStatus } from './agent/status.ts';
import { agentFolder } from './members.ts';
import type { DirectorSpec } from './schema.ts';

/** A director as found on one host. */
export interface DirectorLive {
  /** Why the host says nothing, when it does not answer. */
  unreachable?: string;
  /** VIPs on an interface of the host now, asked of the kernel, not of the agent. */
  holds: string[];
  /** What the agent last wrote; absent when there is none, or when it has stopped writing. */
  agent?: AgentStatus;
  servers: ServerStatus[];
}

export type DirectorsLive = Record<string, DirectorLive>;

/** An agent writes its status at least every second; older than this, in seconds, and it is dead or stuck. */
const staleAfter = 5;

/** What each director host holds and what its agent says; hosts that do not answer are told as such. */
export async function observeDirectors(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  reach: Reach,
): Promise<DirectorsLive> {
  const entries = await Promise.all(
    service.hosts.map(async (host) => [host, await observeOne(service, cluster, host, reach)] as const),
  );
  return Object.fromEntries(entries);
}

async function observeOne(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  reach: Reach,
): Promise<DirectorLive> {
  const status = quote(`${agentFolder(cluster.hosts[host]!.root, service.name, host)}/status.jsonl`);
  const vips = service.spec.vip
    .map((vip) => `ip -o addr show to ${vip} scope global | grep -vq ' lo ' && echo '{"holds":"${vip}"}'`)
    .join('\n');
  const script = `${vips}
if [ -f ${status} ]; then
  echo "{\\"age\\":$(( $(date +%s) - $(stat -c %Y ${status}) ))}"
  cat ${status}
fi
true`;
  try {
    const { lines } = await reach.host(host).run(script, { timeoutMs: 5_000 });
    const age = lines.find((line) => 'age' in line)?.['age'];
    const fresh = typeof age === 'number' && age <= staleAfter;
    const agent = lines.find((line) => 'agent' in line)?.['agent'];
    return {
      holds: lines.flatMap((line) => (typeof line['holds'] === 'string' ? [line['holds']] : [])),
      ...(agent && fresh ? { agent: agent as AgentStatus } : {}),
      servers: lines.filter((line) => 'listen' in line) as unknown as ServerStatus[],
    };
  } catch (error) {
    if (!(error instanceof HostUnreachable)) throw error;
    return { unreachable: error.message, holds: [], servers: [] };
  }
}
