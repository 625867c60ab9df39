import type { Damage } from './damage.ts';
import { at, isReplicaOf, type LiveMember, mastersOf, namedMaster, type RedisLive } from './live.ts';
import { distrusted, newest } from './newest.ts';
import type { RedisService } from './seats.ts';
import { topology } from './topology.ts';

/** A running member that has the data of one whose files are damaged. */
export interface Copy {
  member: LiveMember;
  /** It is the master now: the damaged one would copy it anyway. */
  leads: boolean;
  /** It holds at least what the damaged files held. */
  newer: boolean;
  /** How that is known. */
  why: string;
}

/** The best copy of a damaged member's data; undefined when nobody that answers has one. */
export function copyOf(
  service: RedisService,
  live: RedisLive,
  name: string,
  damage: Damage,
): Copy | undefined {
  const others = live.members.filter((one) => one.up && !one.loading && one.name !== name);
  const leader =
    service.spec.mode === 'cluster'
      ? shardLeader(live, damage)
      : mastersOf(live).find(
          (one) => others.includes(one) && !one.leaving && (leads(one) || named(live, one)),
        );
  if (leader && leader.name !== name) {
    const proven = service.spec.mode === 'cluster' || leads(leader);
    return {
      member: leader,
      leads: true,
      newer: proven,
      why: proven
        ? `${leader.name} is master of its data, with ${leader.keys ?? 0} keys`
        : `the sentinels name ${leader.name} as master, and it is empty`,
    };
  }
  const address = live.members.find((one) => one.name === name);
  const followed = others.filter(
    (one) =>
      one.role === 'replica' &&
      (one.keys ?? 0) > 0 &&
      !distrusted(one) &&
      (service.spec.mode !== 'cluster' || (address && isReplicaOf(one, address))),
  );
  const found = newest(followed);
  if (!found) return undefined;
  // Rivals: each has something that another lacks, and which counts is not ours to say.
  const member = 'newest' in found ? found.newest : found.rivals[0]!;
  const cut = lostTouch(member);
  const newer = 'newest' in found && cut !== undefined && cut >= damage.writtenAt - 1;
  return {
    member,
    leads: false,
    newer,
    why: `${member.name} copied it until ${cut === undefined ? 'an unknown time' : time(cut)} and holds ${member.keys} keys; its own files were last written at ${time(damage.writtenAt)}`,
  };
}

/** A master that is empty and that nobody follows is none: a new member, or one that lost its disk, starts as that where it hears of nobody (start.ts). */
const leads = (one: LiveMember): boolean => (one.keys ?? 0) > 0 || (one.followers?.length ?? 0) > 0;
/** Whom the sentinels name is copied at every start, whatever it has. */
const named = (live: RedisLive, one: LiveMember): boolean => namedMaster(live) === at(one);

/** Members that may have a damaged member's data, and more of it, but cannot be asked now: they do not answer, or are still reading it. */
export function unheard(
  service: RedisService,
  live: RedisLive,
  name: string,
  { self }: Damage,
): LiveMember[] {
  const silent = live.members.filter(
    (one) => one.name !== name && !one.leaving && (!one.up || one.loading === true),
  );
  if (service.spec.mode !== 'cluster') return silent;
  // Those of its shard, where anybody can say who that is.
  const { nodes } = topology(live);
  const led = self?.master ?? self?.id;
  const known = led === undefined ? undefined : nodes.get(led);
  if (!known) return silent;
  const head = known.node.master ?? led;
  const shard = [...nodes.values()].filter(({ node }) => node.id === head || node.master === head);
  const places = new Set(shard.map(({ node }) => at(node)));
  return silent.filter((one) => places.has(at(one)));
}

/** The master that owns the slots which the member had, or that it copied. */
function shardLeader(live: RedisLive, damage: Damage): LiveMember | undefined {
  const { nodes, slotOwner } = topology(live);
  const slot = damage.self?.slots[0]?.[0];
  const id = slot === undefined ? damage.self?.master : slotOwner[slot];
  const known = id === undefined ? undefined : nodes.get(id);
  const head = known?.node.master === undefined ? known : nodes.get(known.node.master);
  return head?.member?.up && !head.member.loading && head.member.role === 'master' ? head.member : undefined;
}

/** When a replica last heard from its master; seconds since 1970 by its own clock. */
function lostTouch({ linkUp, info }: LiveMember): number | undefined {
  const now = Number(info?.['server_time_usec'] ?? 0) / 1e6;
  const down = Number(info?.['master_link_down_since_seconds'] ?? -1);
  if (now === 0) return undefined;
  if (linkUp) return now;
  return down < 0 ? undefined : now - down;
}

const time = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(11, 19);
