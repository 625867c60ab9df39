import type { Check } from '../../check/check.ts';

export const schedulers = [
  'rr',
  'wrr',
  'lc',
  'wlc',
  'lblc',
  'lblcr',
  'dh',
  'sh',
  'sed',
  'nq',
  'fo',
  'ovf',
  'mh',
] as const;
export type Scheduler = (typeof schedulers)[number];
export type Forward = 'nat' | 'fullnat' | 'dr' | 'tun';
export type PlaneName = 'ipvs' | 'nftables' | 'haproxy';

/** What a director's agent is told: written as agent.json by the planner, the same on every director but for `host`. */
export interface AgentConfig {
  cluster: string;
  /** The director service's name. */
  service: string;
  host: string;
  address: string;
  address6?: string;
  /** The other directors: connection tables are shared with them. */
  peers: { host: string; address: string; address6?: string }[];
  /** TCP port on which agents exchange connection tables; authenticated by the secret in the file `sync.secret` beside agent.json. */
  syncPort: number;
  vips: string[];
  listens: Listen[];
}

/** One virtual service: a protocol and port (or range) on every VIP of the director. */
export interface Listen {
  /** 'tcp-80', 'udp-53', 'tcp-8000-8010': unique in the director, fit for an nftables or haproxy name after '-' becomes '_'. */
  name: string;
  proto: 'tcp' | 'udp';
  /** First and last port, inclusive. */
  ports: [number, number];
  /** Already resolved from `auto` by the agent's `planeOf` rule; 'auto' only in the file. */
  plane: PlaneName | 'auto';
  forward: Forward;
  scheduler: Scheduler;
  /** sh and mh: hash the client's port too. */
  hashPort: boolean;
  /** A client's connections stay with one server for this long after its last one began or ended. 0: none. */
  persistenceMs: number;
  /** Idle time after which an established TCP connection, or a UDP flow, is forgotten. Default 900 s and 300 s, as IPVS. */
  idleMs: number;
  servers: RealServer[];
  /** Used only when no server is left; empty: refuse. */
  sorry: RealServer[];
  check: Check;
  /**
   * Where the servers are registered: one whose node (its name, below `path`) is not there gets no packet, whatever its check
   * says. `url`: the ZooKeeper ensemble, as its users are told of it.
   */
  registry?: { url: string; path: string };
}

export interface RealServer {
  /** The member: 'web@app1'. */
  name: string;
  host: string;
  address: string;
  address6?: string;
  /** Undefined for a port range: the port stays what the client asked for. Always equal to the VIP's port in `dr`. */
  port?: number;
  /** Port that checks probe (the member's own port). */
  checkPort: number;
  weight: number;
}

/** A virtual service as it shall be now: the agent's view after checks, weights at run time and draining. */
export interface Table {
  listen: Listen;
  servers: ServerState[];
}

export interface ServerState {
  server: RealServer;
  /** Weight for new connections; 0: none (draining, or set so by hand). */
  weight: number;
  /** Healthy. A server that is not up gets no packet, also of established connections: their next packet is answered by a reset. */
  up: boolean;
  sorry: boolean;
}

export interface Connections {
  listen: string;
  server: string;
  /** Established (or, for UDP, live) and closing connections, as ipvsadm's ActiveConn and InActConn. */
  active: number;
  inactive: number;
}

/** One established connection, for sharing with a director that has just started. */
export interface Flow {
  listen: string;
  client: string;
  clientPort: number;
  server: string;
  /** Which VIP family it came through. */
  family: 4 | 6;
  /** Milliseconds until it is forgotten. */
  remainingMs: number;
  /** Which VIP, where the director has several of one family; absent: every one of the family. */
  vip?: string;
  /** The port that the client asked for, where the listen has a range. */
  port?: number;
}

/**
 * What moves the packets. A plane holds tables in the kernel (or in haproxy) that go on working without the agent;
 * after a restart the agent reads them back through `open` rather than flushing them.
 */
export interface Plane {
  name: PlaneName;
  /** Finds what is there. Must not disturb it. Throws with a sentence when the host cannot carry this plane. */
  open(): Promise<void>;
  /** Makes the tables so, in one transaction; established connections stay. Does nothing, quickly, when they already are. Removes virtual services that are not in the list. */
  apply(tables: Table[]): Promise<void>;
  connections(): Promise<Connections[]>;
  /** Established flows, and taking them in from a peer (those it does not know). Optional: haproxy has none. */
  flows?(): Promise<Flow[]>;
  adopt?(flows: Flow[]): Promise<void>;
  /** What somebody else has changed in its tables since they were applied, a sentence each; the next apply takes it back. Optional. */
  drift?(): Promise<string[]>;
  /** Ends a dead server's connections towards the clients; gives how many. */
  reset(listen: string, server: string): Promise<number>;
  /** Removes everything of this director's. */
  close(): Promise<void>;
  /** Lets go of its own sockets and children; the tables stay. */
  release?(): void | Promise<void>;
}
