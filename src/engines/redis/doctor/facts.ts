import type { RedisLive } from '../live.ts';
import type { RedisService } from '../seats.ts';

/** What the rules judge: values only, seen once. By member name, or by host name. */
export interface Facts {
  service: RedisService;
  live: RedisLive;
  /** INFO of a member again, after the sampling: counters that grew meanwhile are true now. */
  later: Record<string, Record<string, string>>;
  /** Entries of the slow log, newest first. */
  slow: Record<string, SlowCommand[]>;
  /** Keys looked at, one member of each shard: a replica where there is one. */
  keys: KeySample[];
  /** Masters whose keys could not be looked at, and why. */
  unseen: Record<string, string>;
  /** How keys are used, looked at on masters, because reads leave no trace elsewhere. */
  uses: UseSample[];
  processes: Record<string, ProcessFacts>;
  hosts: Record<string, HostFacts>;
}

export interface SlowCommand {
  /** Seconds since 1970. */
  at: number;
  /** Microseconds of execution. */
  us: number;
  /** As Redis keeps it: shortened, at most 32 words. */
  words: string[];
}

export interface KeySample {
  member: string;
  /** The master whose keys these are. */
  shard: string;
  role: 'master' | 'replica';
  /** Keys of the member, and how many of them were looked at. */
  keys: number;
  seen: number;
  /** Bytes of all that were seen. */
  bytes: number;
  /** Bytes that the member's data takes (INFO used_memory_dataset). */
  dataset: number;
  largest: SampledKey[];
  types: Record<string, number>;
  /** Lists and streams among them that have no time to live. */
  lasting: number;
}

export interface SampledKey {
  key: string;
  type: string;
  bytes: number;
  /** Elements, characters of a string; where it was asked. */
  length?: number;
}

export interface UseSample {
  member: string;
  keys: number;
  seen: number;
  /** How they were looked at: OBJECT FREQ with an LFU policy, else OBJECT IDLETIME. */
  by: 'frequency' | 'idle time';
  /** Keys used within the last two seconds (by idle time). */
  inUse: number;
  /** By frequency: the keys with the largest counters (0 to 255, logarithmic). By idle time: those in use whenever they were looked at. */
  hottest: { key: string; counter?: number }[];
}

export interface ProcessFacts {
  /** Bytes of it that are swapped out. */
  swapped: number;
  /** Transparent huge pages are on for this process (prctl; Redis switches them off for itself where it can). */
  hugePages: boolean;
}

export interface HostFacts {
  /** vm.overcommit_memory: 0 heuristic, 1 always, 2 never. */
  overcommit: number;
  /** always, madvise, never. */
  hugePages: string;
  /** Bytes. */
  memory: number;
  available: number;
  swap: number;
  /** What may still be promised to processes, with overcommit 2. */
  commitLimit: number;
  committed: number;
  /** Bytes of the disk that the members' data lies on. */
  disk: { used: number; free: number };
}

/** A member's INFO or CONFIG value as a number; 0 where it has none. */
export const number = (values: Record<string, string> | undefined, name: string): number =>
  Number(values?.[name] ?? 0) || 0;
