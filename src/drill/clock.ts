import { clockIsStepped, preloaded } from '../hosts/lab/clock.ts';
import { pidFragment } from '../hosts/supervise.ts';
import type { Scene } from './faults.ts';

/** The clock that the host's processes see is ahead by so many seconds, and the member is one of those that see it; undefined otherwise. */
export async function clockIsAhead({ cluster, reach, target }: Scene, seconds: number): Promise<unknown> {
  const stepped = await clockIsStepped(cluster, target.host, seconds);
  if (stepped === undefined || target.member === undefined) return stepped;
  const pid = pidFragment({ name: target.member }, cluster.hosts[target.host]!.root);
  const script = `pid=$(${pid}) && [ "$pid" -gt 1 ] && grep -qs ${preloaded} "/proc/$pid/maps"`;
  const { exit } = await reach.host(target.host).run(script, { timeoutMs: 5_000 });
  return exit === 0 ? { ...stepped, member: target.member } : undefined;
}
