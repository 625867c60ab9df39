import type { Definitions } from './definitions.ts';

/** A node as one of them sees it; figures are its own, and absent while it does not answer. */
export interface NodeView {
  name: string;
  type: 'disc' | 'ram';
  running: boolean;
  /** Bytes. */
  mem_used?: number;
  mem_limit?: number;
  mem_alarm?: boolean;
  disk_free?: number;
  disk_free_limit?: number;
  disk_free_alarm?: boolean;
  /** Nodes that it has been cut off from and not yet made up with. */
  partitions?: string[];
  connections?: number;
}

export interface QueueView {
  name: string;
  vhost: string;
  type: string;
  durable: boolean;
  exclusive?: boolean;
  /** There is its record only: it is on a node that is down, and on no other. */
  down?: true;
  arguments: Record<string, unknown>;
  messages?: number | null;
  /** Quorum queues and streams: nodes. */
  leader?: string;
  members?: string[];
  online?: string[];
  /** Classic: the node it lives on, its mirrors, and those that have everything. */
  node?: string;
  slave_nodes?: string[];
  synchronised_slave_nodes?: string[];
}

/** The cluster as one of its nodes sees it. */
export interface View {
  /** The host whose node said so. */
  from: string;
  nodes: NodeView[];
  queues: QueueView[];
  definitions: Definitions;
}

/** What was found of one host's node. */
export interface HostLive {
  /** Its database folder is empty; undefined: the host did not say. */
  blank?: boolean;
  /** It was let in, and is on its way to be a member. */
  admitted?: boolean;
  /** Nodes of the service under other addresses that have data there: the host had another address. */
  others?: string[];
  /** Known not to serve: its process is not there or waits to be admitted, or it says that it starts or pauses. */
  idle?: boolean;
  /** Where its process listens for other nodes, while there is one. */
  port?: number;
  /** The nodes it knows, itself among them; absent when it does not answer. */
  nodes?: NodeView[];
  /** Nodes that it is connected to now. */
  connected?: string[];
  /** Why it does not answer. */
  why?: string;
}

export interface RabbitLive {
  /** By host, also hosts that the service has left. */
  hosts: Record<string, HostLive>;
  /** Absent when no node answers. */
  view?: View;
}

export const running = (nodes: NodeView[]): string[] =>
  nodes.filter((node) => node.running).map((node) => node.name);

/** How many of so many are a majority. */
export const majority = (count: number): number => Math.floor(count / 2) + 1;
