import { type Ensemble, majority, type Server, votersOf } from './ensemble.ts';

/** A server as it was found. */
export interface LiveServer {
  host: string;
  /** serving: it is part of a majority. read-only and electing: it runs without one. silent: it does not answer. */
  state: 'serving' | 'read-only' | 'electing' | 'silent';
  /** Where it answered; absent while it is silent. Another than the file's until a change of `port` is through. */
  port?: number;
  /** Why it is silent. */
  why?: string;
  role?: 'leader' | 'follower' | 'observer';
  /** Last change that it has: epoch in the upper, counter in the lower 32 bits. */
  zxid?: bigint;
  connections?: number;
  outstanding?: number;
  /** Milliseconds, mean since its start. */
  latency?: number;
  nodes?: number;
  /** Of the leader: followers that have everything. */
  synced?: number;
  /** Its tickTime, milliseconds, and its syncLimit, ticks, as it was started with them. */
  tick?: number;
  syncLimit?: number;
  /** What it takes the ensemble to be; only servers that serve say so. */
  ensemble?: Ensemble;
  /** What lies on its disk; absent when its host does not answer. */
  disk?: { epoch: number; ensemble?: Ensemble };
}

/** The ensemble as it was found. */
export interface ZooKeeperLive {
  /** By host: those of the file, those that the ensemble still has and, where none is known, others that hold data. */
  servers: Record<string, LiveServer>;
  /** Who the members are: as the majority says, else the newest that lies on a disk. Absent: there is none on any disk that was seen. */
  ensemble?: Ensemble;
  /** While no ensemble is known: hosts that the file no longer has in this service, whose disks cannot be looked at. */
  unseen?: string[];
  leader?: string;
  /** Paths whose access list is not as it should be, or that are missing; absent when it could not be asked. */
  wrong?: string[];
}

/** The longest tick of those that serve, milliseconds: whichever of them leads, its followers hear of it twice within that. 0: none is known. */
export const longestTick = ({ servers }: ZooKeeperLive): number =>
  Math.max(0, ...Object.values(servers).map(({ state, tick }) => (state === 'serving' && tick) || 0));

/** A disk that was part of an elected ensemble at least once. */
export const hasData = (server: LiveServer | undefined): boolean => (server?.disk?.epoch ?? 0) > 0;

/**
 * Whether what lies on the disk knows its own server at that address; a server listens where that says, and nowhere else. Also where it says
 * nothing of itself.
 */
export const atHome = (server: LiveServer | undefined, seat: Pick<Server, 'id' | 'address'>): boolean => {
  const own = server?.disk?.ensemble?.servers.find(({ id }) => id === seat.id);
  return own === undefined || own.address === seat.address;
};

/** Numbers of the voters that serve now. */
export function servingVoters(live: ZooKeeperLive, hostOf: (id: number) => string | undefined): number[] {
  return votersOf(live.ensemble?.servers ?? [])
    .map(({ id }) => id)
    .filter((id) => live.servers[hostOf(id) ?? '']?.state === 'serving');
}

/** A leader serves with the majority behind it: writes are possible. */
export function writable(live: ZooKeeperLive, hostOf: (id: number) => string | undefined): boolean {
  if (live.leader === undefined) return false;
  const voters = votersOf(live.ensemble?.servers ?? []).length;
  return servingVoters(live, hostOf).length >= majority(voters);
}
