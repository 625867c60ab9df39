/*
 * What an engine gives to drills: who is who now, a stock client at the service's front door, and what every member
 * holds in the end. Faults, clocks, histories and verdicts are above; nothing here knows them.
 */

/** What kind of data the operations are; see drill/checkers. `request`: an answer proves nothing about data. */
export type DrillModel = 'set' | 'log' | 'queue' | 'counter' | 'register' | 'request';

/** Names of operations, each of one model; see drill/history.ts. */
export type DrillOperationName =
  | 'add'
  | 'has'
  | 'append'
  | 'poll'
  | 'enqueue'
  | 'dequeue'
  | 'incr'
  | 'count'
  | 'write'
  | 'cas'
  | 'read'
  | 'request'
  | 'transfer'
  | 'download'
  | 'ping';

export type DrillValue = number | null | boolean | number[] | [number | null, number];

/** What a client is to do. Values are unique whole numbers. */
export interface DrillOperation {
  /** The logical client. */
  p: number;
  f: DrillOperationName;
  k?: string;
  v?: DrillValue;
}

/** ok: it happened. fail: it certainly did not. info: nobody knows (timeouts, broken connections). */
export type DrillOutcome = ({ type: 'ok'; v?: DrillValue } | { type: 'fail' | 'info'; error: string }) & {
  /** Where its time went, milliseconds by service, where the answer tells: what a gap is blamed on. */
  by?: Record<string, number>;
};

/** What one member holds of one group in the end. Exactly one member is the authority of a group: its answer is the service's. */
export interface DrillFinal {
  member: string;
  model: DrillModel;
  role: 'authority' | 'replica';
  /** '' where there is only one. */
  group: string;
  holds:
    | { values: Iterable<number | string> }
    | { keys: Record<string, number | null> }
    /** Why it could not be read. */
    | { failed: string };
}

/** Where a fault strikes: a host, and the member on it that plays the role. */
export interface DrillTarget {
  host: string;
  /** Absent: only the host can be meant. */
  member?: string;
}

/** A stock client of the service. `invoke` never rejects and never repeats an operation whose outcome is not known. */
export interface DrillClient {
  /** The shard, partition or queue that the operation belongs to; undefined where there is one. */
  groupOf(operation: DrillOperation): string | undefined;
  invoke(operation: DrillOperation): Promise<DrillOutcome>;
  /** What every member holds, each asked by itself, after the load has ended. */
  finals(): Promise<DrillFinal[]>;
  /** Removes what the drill wrote, as far as it can be reached, and closes every connection. */
  close(): Promise<void>;
}

/** How a service is drilled. `live` is what the engine's `observe` gave, at that moment. */
export interface Drills<Live = unknown> {
  /** The client in words: 'ioredis 6.0.0, 8 connections through Sentinel'. */
  client: string;
  /** Which models its operations are of, their groups, anomalies that the service never promised against, and `clean` where a part of the clients can be turned away (drill/history.ts). */
  models: Partial<
    Record<DrillModel, { groups?: string[]; tolerates?: ('stale' | 'duplicated')[]; clean?: number }>
  >;
  /** Every member that must be read in the end. */
  replicas: string[];
  /** Operations a second of all clients together, how many clients, and the shares of operations. */
  load: {
    rate: number;
    clients: number;
    mix: Partial<Record<DrillOperationName, number>>;
    /** Keys of counters and registers; websockets. */
    keys?: number;
  };
  /** Roles that faults can be aimed at: 'master', 'owner', ... */
  roles: string[];
  /** The faults that a drill without --fault makes, as VERB-ROLE. */
  standard: string[];
  /** How long a fault stands unless --for says otherwise, milliseconds. */
  forMs: number;
  /** 'default' or 'fast', where the engine has timings. */
  timing?: string;
  /** Versions of what is drilled: { redis: '7.0.15' }. */
  versions: Record<string, string>;
  /** Who plays the role now; where several do, `pick` says which. Throws StepFailed when nobody does. */
  aim(role: string, live: Live, pick: (below: number) => number): DrillTarget;
  /**
   * Begins to count how often the service has failed over; the function that it gives says how often since. Rejects where that is not known. Absent: whoever
   * looks at who plays a role sees every failover.
   */
  failovers?(): Promise<() => Promise<number>>;
  /** Why clients are not served now, a sentence each. Empty: they are. */
  unserved(live: Live | undefined): string[];
  /** Why the service is not whole again, beyond what `status` says: a replica that lags. */
  unfinished?(live: Live | undefined): string[];
  /** Connects. `run` is unique: names of what is written begin with it. Rejects when the service cannot be used. */
  open(run: string): Promise<DrillClient>;
}
