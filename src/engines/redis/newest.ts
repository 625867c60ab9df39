import type { LiveMember } from './live.ts';

/**
 * Whether everything in `older` is in `newer` as well, judged by the histories that Redis keeps: the same history and an
 * offset not before, or a history that grew out of the other's after the other's last write. Source: Redis documentation,
 * "How Redis replication works" (replication ID and offset, second replication ID).
 */
export function contains(newer: LiveMember, older: LiveMember): boolean {
  if ((older.keys ?? 0) === 0) return true;
  if (newer.replid === older.replid) return (newer.offset ?? 0) >= (older.offset ?? 0);
  return newer.replid2 === older.replid && (older.offset ?? 0) <= (newer.secondOffset ?? -1);
}

/** Started as a replica of its own replica because its data was not whole (start.ts): never to be promoted, its data counts for nothing. */
export const distrusted = (member: LiveMember): boolean =>
  member.role === 'replica' && member.config?.['replica-priority'] === '0' && member.linkUp !== true;

/**
 * The member that holds everything the others hold: the newest; the first of them in the list's order when several do. `rivals` instead
 * when there is none: members of which each has writes that another lacks.
 */
export function newest(members: LiveMember[]): { newest: LiveMember } | { rivals: LiveMember[] } | undefined {
  const trusted = members.filter((member) => !distrusted(member));
  const full = trusted.filter((member) => (member.keys ?? 0) > 0);
  const candidates = full.length > 0 ? full : trusted;
  if (candidates.length === 0) return undefined;
  const best = candidates.filter((one) => candidates.every((other) => contains(one, other)));
  if (best.length === 0) return { rivals: candidates };
  // Among equals, one that others already follow: nobody moves then.
  const followed = best.find((one) => (one.followers?.length ?? 0) > 0);
  return { newest: followed ?? best.find((one) => one.role === 'master') ?? best[0]! };
}
