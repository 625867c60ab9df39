import type { LiveMember } from '../live.ts';
import type { Facts } from './facts.ts';
import type { Found } from './finding.ts';

/** A bug that lost or damaged data, and the versions that have it: `from` on, up to but not including `before`. */
export interface Bug {
  from: string;
  before: string;
  /** Members that it can hit; default: all. */
  hits?(member: LiveMember, facts: Facts): boolean;
  what: string;
  why: string;
  source: string;
}

const logs = (one: LiveMember): boolean => one.config?.['appendonly'] === 'yes';
const replicates = (one: LiveMember): boolean => one.role === 'replica' || (one.followers?.length ?? 0) > 0;

/** Each read in Redis's own threads and release notes. */
export const bugs: Bug[] = [
  {
    from: '6.0.0',
    before: '6.0.4',
    hits: replicates,
    what: 'replicas can hold other data than their master after a failover ("meaningful offset" in partial resynchronization)',
    why: 'The data differs without an error. Release 6.0.4: "upgrade urgency CRITICAL: this release fixes a severe replication bug".',
    source: 'https://github.com/redis/redis/pull/7320',
  },
  {
    from: '0.0.0',
    before: '6.2.0',
    hits: (one) => logs(one) && one.config?.['appendfsync'] === 'always',
    what: 'with appendfsync always it goes on acknowledging writes after the disk has refused one (fsync)',
    why: 'What it has acknowledged since then is not on the disk; later versions end instead.',
    source: 'https://github.com/redis/redis/pull/8347',
  },
  {
    from: '7.0.0',
    before: '7.0.5',
    hits: logs,
    what: 'rewriting the log begins a new file before the old one is on the disk',
    why: 'A power failure in that moment leaves a hole in the middle of the log.',
    source: 'https://github.com/redis/redis/pull/11299 (release 7.0.5: #11004)',
  },
  {
    from: '0.0.0',
    before: '7.0.3',
    hits: (one, { service }) =>
      service.spec.persistence !== 'none' && (logs(one) || one.config?.['save'] !== ''),
    what: 'a new snapshot or log may have no name on the disk yet when the old one is removed (the folder is not synced)',
    why: "After a power failure the newest snapshot, or the list of the log's files, can be gone.",
    source: 'https://github.com/redis/redis/pull/10737',
  },
];

/** Versions with known bugs that lose data, and members that are not of one version. */
export function versions(facts: Facts): Found[] {
  const ups = facts.live.members.filter((one) => one.up && one.info?.['redis_version']);
  const versionOf = (one: LiveMember): string => one.info!['redis_version']!;
  const found = bugs.flatMap((bug): Found[] => {
    const hit = ups.filter(
      (one) =>
        compare(versionOf(one), bug.from) >= 0 &&
        compare(versionOf(one), bug.before) < 0 &&
        (bug.hits?.(one, facts) ?? true),
    );
    if (hit.length === 0) return [];
    return [
      {
        rule: 'version-loses-data',
        risk: 'data',
        ...(hit.length === ups.length ? {} : { where: hit.map((one) => one.name).join(', ') }),
        what: `Redis ${[...new Set(hit.map(versionOf))].join(', ')}: ${bug.what}`,
        why: bug.why,
        mend: `install Redis ${bug.before} or later, then phalanx up`,
        source: bug.source,
      },
    ];
  });
  const different = [...new Set(ups.map(versionOf))].sort(compare);
  if (different.length < 2) return found;
  const newest = different.at(-1)!;
  const old = ups.filter((one) => versionOf(one) !== newest);
  return [
    ...found,
    {
      rule: 'mixed-versions',
      risk: 'service',
      what: `its members are of Redis ${different.join(' and ')} (${old.map((one) => one.name).join(', ')}: older)`,
      why: 'An older member cannot copy from a newer one: after a failover it stays cut off.',
      mend: `install Redis ${newest} everywhere`,
    },
  ];
}

/** By numbers, not by letters: 7.0.15 comes after 7.0.9. */
export function compare(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0));
  for (let i = 0; i < 3; i++) {
    const difference = (x![i] ?? 0) - (y![i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export const versionRules = [versions];
