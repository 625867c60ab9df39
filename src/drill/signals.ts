import type { DrillTarget } from '../engines/drill.ts';
import type { Cluster } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { pidFragment } from '../hosts/supervise.ts';

/** The processes that were signalled, as their host numbers them. */
interface Signalled {
  pids: number[];
}

interface Place {
  cluster: Cluster;
  reach: Reach;
  target: DrillTarget;
}

/**
 * Sends a signal to a member's process and to all that it started, parents first, so that none is left to start another
 * in between. Rejects when its host does not answer or the member is not running, SIGCONT excepted: what does not run is not frozen.
 */
export async function signalMember(
  { cluster, reach, target }: Place,
  signal: 'KILL' | 'STOP' | 'CONT',
): Promise<Signalled> {
  const member = target.member!;
  const root = cluster.hosts[target.host]!.root;
  const script = `tree() { printf '%s ' "$1"; for child in $(cat /proc/$1/task/*/children 2>/dev/null); do tree "$child"; done; }
pid=$(${pidFragment({ name: member }, root)}) && [ "$pid" -gt 1 ] || { ${signal === 'CONT' ? 'exit 0' : 'echo "is not running" >&2; exit 1'}; }
pids=$(tree "$pid")
kill -${signal} $pids
echo $pids`;
  const { exit, text, stderr } = await reach.host(target.host).run(script, { timeoutMs: 5_000 });
  if (exit !== 0) throw new Error(`${member}: ${stderr.trim() || `SIG${signal} could not be sent`}`);
  return { pids: text.split(/\s+/).filter(Boolean).map(Number) };
}

/**
 * After SIGKILL every process is gone, after SIGSTOP the member itself is in state T (proc(5)), and so is every child that had not
 * just ended; undefined where one is not.
 */
export async function signalled(
  { reach, target }: Place,
  signal: 'KILL' | 'STOP',
  injected: unknown,
): Promise<unknown> {
  const { pids } = injected as Signalled;
  const script = pids
    .map(
      (pid) =>
        `echo ${pid} "$(sed -n 's/^State:[[:space:]]*\\(.\\).*/\\1/p' /proc/${pid}/status 2>/dev/null)"`,
    )
    .join('\n');
  const { text } = await reach.host(target.host).run(script, { timeoutMs: 5_000 });
  const states = text
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  const wanted = signal === 'KILL' ? /^[ZX]?$/ : /^[TZX]?$/;
  if (!states.every((state) => wanted.test(state))) return undefined;
  if (signal === 'STOP' && states[0] !== 'T') return undefined;
  return { member: target.member, signal: `SIG${signal}`, pids, state: signal === 'KILL' ? 'gone' : 'T' };
}
