import type { Cluster } from '../file/cluster.ts';

/**
 * The end of a sentence about `hosts` that do not answer: how to give up those that are gone for good. Empty where none of them is a real machine
 * that left the file: others cannot be forgotten.
 */
export function forgetHint({ former = {} }: Cluster, hosts: string[]): string {
  const gone = [...new Set(hosts)].filter((host) => former[host]?.kind === 'ssh');
  if (gone.length === 0) return '';
  return `; where one that left the file is gone for good: ${gone.map((host) => `phalanx forget ${host}`).join(', ')}`;
}
