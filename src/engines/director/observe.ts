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

/**
 * Looks at every director host ten times a second until `enough` says so of what all of them show, or the time is over; gives the last
 * look. One script a host, however long it takes: the host looks, and tells.
 */
export async function watchDirectors(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  reach: Reach,
  timeoutMs: number,
  enough: (live: DirectorsLive) => boolean,
): Promise<DirectorsLive> {
  const live: DirectorsLive = {};
  const end = new AbortController();
  const deadline = performance.now() + timeoutMs;
  const seen = (host: string, found: DirectorLive): void => {
    live[host] = found;
    if (service.hosts.every((name) => name in live) && enough(live)) end.abort();
  };
  const watch = async (host: string): Promise<void> => {
    const look = lookScript(service, cluster, host);
    const script = `while :; do\n${look}\necho '{"looked":true}' || exit\nsleep 0.1\ndone`;
    while (!end.signal.aborted && performance.now() < deadline) {
      let lines: Record<string, unknown>[] = [];
      const onLine = (line: unknown): void => {
        const one = line as Record<string, unknown>;
        if (!('looked' in one)) lines.push(one);
        else seen(host, shown(lines.splice(0)));
      };
      try {
        const left = Math.max(1, deadline - performance.now());
        await reach.host(host).run(script, { timeoutMs: left, onLine, signal: end.signal });
      } catch (error) {
        if (end.signal.aborted || performance.now() >= deadline) return;
        if (!(error instanceof HostUnreachable)) throw error;
        seen(host, { unreachable: error.message, holds: [], servers: [] });
      }
      lines = [];
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  await Promise.all(service.hosts.map(watch));
  return live;
}

/** Sh: the host's look at its director, in JSON lines for `shown`. */
function lookScript(service: Service<DirectorSpec>, cluster: Cluster, host: string): string {
  const status = quote(`${agentFolder(cluster.hosts[host]!.root, service.name, host)}/status.jsonl`);
  const vips = service.spec.vip
    .map((vip) => `ip -o addr show to ${vip} scope global | grep -vq ' lo ' && echo '{"holds":"${vip}"}'`)
    .join('\n');
  return `${vips}
if [ -f ${status} ]; then
  echo "{\\"age\\":$(( $(date +%s) - $(stat -c %Y ${status}) ))}"
  cat ${status}
fi
true`;
}

function shown(lines: Record<string, unknown>[]): DirectorLive {
  const age = lines.find((line) => 'age' in line)?.['age'];
  const fresh = typeof age === 'number' && age <= staleAfter;
  const agent = lines.find((line) => 'agent' in line)?.['agent'];
  return {
    holds: lines.flatMap((line) => (typeof line['holds'] === 'string' ? [line['holds']] : [])),
    ...(agent && fresh ? { agent: agent as AgentStatus } : {}),
    servers: lines.filter((line) => 'listen' in line) as unknown as ServerStatus[],
  };
}

async function observeOne(
  service: Service<DirectorSpec>,
  cluster: Cluster,
  host: string,
  reach: Reach,
): Promise<DirectorLive> {
  try {
    const { lines } = await reach.host(host).run(lookScript(service, cluster, host), { timeoutMs: 5_000 });
    return shown(lines);
  } catch (error) {
    if (!(error instanceof HostUnreachable)) throw error;
    return { unreachable: error.message, holds: [], servers: [] };
  }
}
