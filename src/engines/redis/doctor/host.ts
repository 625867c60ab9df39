import { type Facts, number } from './facts.ts';
import type { Found } from './finding.ts';
import { bytes } from './numbers.ts';

/**
 * vm.overcommit_memory and transparent huge pages, where they will hurt these members. Redis forks for snapshots, for rewriting its log and for
 * copying to a replica, and a fork promises as much memory again as the process has.
 * - 2 (never): the kernel refuses when that is more than is left (CommitLimit less Committed_AS; proc(5)).
 * - 0 (heuristic): it refuses "obvious overcommits" (kernel documentation, overcommit-accounting): one that is of the size of the machine. With
 *   members that are small beside it there is nothing to mend.
 */
export function overcommit({ hosts, live }: Facts): Found[] {
  return Object.entries(hosts).flatMap(([host, machine]): Found[] => {
    const sizes = live.members
      .filter((one) => one.up && one.host === host)
      .map((one) => ({ name: one.name, rss: number(one.info, 'used_memory_rss') }))
      .sort((a, b) => b.rss - a.rss);
    const [largest] = sizes;
    if (!largest || machine.memory === 0) return [];
    const left = machine.commitLimit - machine.committed;
    const mend = `on ${host}: sysctl -w vm.overcommit_memory=1, and vm.overcommit_memory = 1 in /etc/sysctl.d/redis.conf`;
    const why =
      'Redis forks to write a snapshot, to rewrite its log and to copy to a replica. When the fork is refused these fail, and after a failed snapshot so do writes.';
    if (machine.overcommit === 2 && left < largest.rss)
      return [
        {
          rule: 'overcommit',
          risk: 'service',
          where: host,
          what: `vm.overcommit_memory is 2, and ${bytes(Math.max(0, left))} may still be promised: less than ${largest.name} takes (${bytes(largest.rss)})`,
          why,
          mend,
        },
      ];
    if (machine.overcommit !== 0 || 2 * largest.rss < machine.memory + machine.swap) return [];
    return [
      {
        rule: 'overcommit',
        risk: 'service',
        where: host,
        what: `vm.overcommit_memory is 0, and ${largest.name} takes ${bytes(largest.rss)} of the host's ${bytes(machine.memory)}`,
        why,
        mend,
      },
    ];
  });
}

/** What counts is whether they are on for the process: Redis 6.2 and later switches them off for itself (disable-thp). */
export function hugePages({ hosts, live, processes }: Facts): Found[] {
  return live.members.flatMap((one): Found[] => {
    if (!one.up || hosts[one.host]?.hugePages !== 'always' || !processes[one.name]?.hugePages) return [];
    return [
      {
        rule: 'huge-pages',
        risk: 'speed',
        where: one.name,
        what: `transparent huge pages are on for it (${one.host}: always; disable-thp ${one.config?.['disable-thp'] ?? 'unknown to this version'})`,
        why: 'After a fork every first write to a page copies 2 MB instead of 4 kB: pauses of milliseconds, and memory that grows to twice its size.',
        mend: `config: { disable-thp: yes }, or on ${one.host}: echo madvise >/sys/kernel/mm/transparent_hugepage/enabled`,
      },
    ];
  });
}

export const hostRules = [overcommit, hugePages];
