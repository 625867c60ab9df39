import type { Damage } from './damage.ts';
import type { ClusterNode } from './nodes.ts';

/** What was seen of one data member, asked of Redis itself. */
export interface LiveMember {
  name: string;
  host: string;
  address: string;
  port: number;
  /** It answered in time. Nothing below is known otherwise. */
  up: boolean;
  /** Why it is not up: 'connection refused', 'no answer within 1500 ms'. */
  why?: string;
  /** Where it listens by its redis.conf, as long as nothing does at the place above. */
  listens?: number;
  /** Its data cannot be read, so it waits for `phalanx repair`. */
  damage?: Damage;
  /** It answers, but is still reading its data from disk. */
  loading?: boolean;
  role?: 'master' | 'replica';
  upstream?: { address: string; port: number };
  linkUp?: boolean;
  /** Identity of the history its data belongs to, and the one before with the offset up to which both are the same. */
  replid?: string;
  replid2?: string;
  offset?: number;
  /** -1: there is no former history. */
  secondOffset?: number;
  /** Replicas that follow it, with the offset that each has acknowledged. */
  followers?: { address: string; port: number; offset: number; online: boolean }[];
  keys?: number;
  /** INFO, all sections asked for. */
  info?: Record<string, string>;
  /** CONFIG GET *. */
  config?: Record<string, string>;
  /** ACL LIST. */
  users?: string[];
  /** cluster: its own view. */
  nodes?: ClusterNode[];
  clusterState?: string;
  /** In the cluster, but no longer in the file. */
  leaving?: boolean;
}

export interface LiveSentinel {
  name: string;
  host: string;
  address: string;
  port: number;
  up: boolean;
  why?: string;
  /** What it says of the master; undefined while it watches none. */
  master?: {
    address: string;
    port: number;
    flags: string;
    epoch: number;
    quorum: number;
    downAfter: number;
    failoverTimeout: number;
  };
  /** Other sentinels and replicas that it knows of. */
  sentinels?: { address: string; port: number; flags: string; id: string }[];
  replicas?: { address: string; port: number; flags: string }[];
}

export interface RedisLive {
  members: LiveMember[];
  sentinels: LiveSentinel[];
}

export const at = (one: { address: string; port: number }): string => `${one.address}:${one.port}`;

/** Whether it is a replica of exactly that one, whatever the state of its link. */
export const isReplicaOf = (one: LiveMember, upstream: { address: string; port: number }): boolean =>
  one.role === 'replica' && at(one.upstream!) === at(upstream);

/** Whom the sentinels name, by the newest configuration that any of them has; undefined where none watches anybody. */
export function namedMaster(live: RedisLive): string | undefined {
  const watched = live.sentinels.flatMap(({ up, master }) => (up && master ? [master] : []));
  if (watched.length === 0) return undefined;
  return at(watched.reduce((best, one) => (one.epoch > best.epoch ? one : best)));
}

/** The masters that clients are sent to: the one that Sentinel names, where there are sentinels. */
export function mastersOf(live: RedisLive): LiveMember[] {
  const masters = live.members.filter((member) => member.up && member.role === 'master');
  const named = new Set(live.sentinels.flatMap(({ master }) => (master ? [at(master)] : [])));
  return named.size === 0 ? masters : masters.filter((member) => named.has(at(member)));
}
