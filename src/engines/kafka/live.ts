/** A partition as the brokers have it. */
export interface Partition {
  topic: string;
  index: number;
  /** Node id; -1: nobody leads it. */
  leader: number;
  replicas: number[];
  isr: number[];
}

/** A member as it was found. */
export interface LiveNode {
  name: string;
  host: string;
  id: number;
  /** serving: it answers and takes part. fenced: it answers and the controllers do not count on it yet. silent: it does not answer. */
  state: 'serving' | 'fenced' | 'silent';
  why?: string;
  /** Bytes of records that it keeps; of the partitions by `topic-index`. */
  bytes?: number;
  sizes?: Record<string, number>;
  /** A limit on replication that a move of partitions left or is using. */
  throttled?: boolean;
  /** What lies on its disk; absent when its host does not answer. */
  disk?: Disk;
  /** The file no longer has it, and it is not to run: `up` starts none such. */
  idle?: true;
}

export interface Disk {
  /** It has been formatted: for this cluster, as this node. */
  formatted?: { cluster: string; node: number; directory: string };
  /** `form` or `seed` has told it which cluster it belongs to. */
  told: boolean;
  /** With what it was last started; absent where it never was. */
  started?: Started;
}

/** What a member runs with, or ran with last: of the configuration that its start made. */
export interface Started {
  /** Ports of the listeners that it opened. */
  port?: number;
  controllerPort?: number;
  tls: boolean;
  /** It was a controller. */
  controller: boolean;
  /** By which controllers it finds the active one, "address:port". Absent with the metadata in ZooKeeper. */
  controllers?: string[];
}

/** A partition on its way, as the active controller tells it. */
export interface Moving {
  topic: string;
  index: number;
  /** All copies that it has for now: those that stay, `adding` and `removing`. */
  replicas: number[];
  adding: number[];
  removing: number[];
}

export interface LiveVoter {
  id: number;
  directory: string;
  /** It has fetched from the leader within its last moments. */
  caughtUp: boolean;
}

export interface Quorum {
  /** Node id of the active controller. */
  leader: number;
  epoch: number;
  voters: LiveVoter[];
  /** Controllers without a vote and brokers, by node id with the directory id. */
  observers: LiveVoter[];
}

/** The cluster as it was found. */
export interface KafkaLive {
  /** By member name: those of the file, and those that the cluster still has. */
  nodes: Record<string, LiveNode>;
  /**
   * Nobody of the file knows of a cluster, and neither do those whose disks could be looked at: names of members that left the file
   * and whose disks could not.
   */
  unseen?: string[];
  /** Absent: nobody answers, or there is no majority of controllers. */
  quorum?: Quorum;
  /** Absent: no broker answers. */
  partitions?: Partition[];
  /** Node ids of brokers that the controllers count on. */
  brokers: number[];
  /** Partitions that are being moved. Absent: could not be asked. */
  moving?: Moving[];
  /** Of topics in the file: the configuration keys that the file sets or could set, as they are. */
  topics: Record<string, Record<string, string>>;
  /** Of the same topics: those of the keys that are set at the topic itself, not inherited from the brokers. */
  overrides: Record<string, string[]>;
  /** min.insync.replicas where it is set for the whole cluster, which outranks server.properties. */
  minInsync?: number;
  /** Users that can prove themselves by SCRAM. Absent: could not be asked. */
  users?: string[];
  /** What the members run is on this machine. */
  software: boolean;
  /** Real machines that have no copy of it yet. */
  lacking: string[];
  /** Why it could not be fetched the last time. */
  notFetched?: string;
}

/**
 * Some member of it runs, or some disk was formatted. That members were told of it is not enough: before the first of them has started there
 * is nothing to join.
 */
export const formed = (live: KafkaLive): boolean =>
  live.quorum !== undefined || Object.values(live.nodes).some(({ disk }) => disk?.formatted);

export const named = ({ topic, index }: Partition): string => `${topic}-${index}`;

/** Partitions that lack a copy in step. */
export const underReplicated = (partitions: Partition[]): Partition[] =>
  partitions.filter(({ isr, replicas }) => isr.length < replicas.length);

/** Partitions that nobody can write or read. */
export const leaderless = (partitions: Partition[]): Partition[] =>
  partitions.filter(({ leader }) => leader < 0);
