/**
 * The cluster as every floor above sees it: the user's file, checked, its defaults filled in, and each host
 * with its address. Values only; nothing here knows how a host is reached or an engine is run.
 */

/** One entry of `services`. `Spec` is what the engine's schema gives; `hosts` is always there. */
export interface Service<Spec = unknown> {
  name: string;
  type: string;
  /** Host names, in the order of the file, at least one, all declared. */
  hosts: string[];
  /** Names of the services whose address and secret this one is given (environment `NAME_URL`, ...). */
  uses: string[];
  /** What drills hold the service to: milliseconds without answers, acknowledged writes lost. */
  promise?: { rto?: number | undefined; lostWrites?: number | undefined };
  spec: Spec;
}

export interface HostEntry {
  name: string;
  kind: 'lab' | 'ssh';
  /** `user@host`, `host` or an alias of ssh_config; only for kind `ssh`. */
  ssh?: string;
  /** The address the cluster's members listen on and are reached at. */
  address: string;
  /** Present when any VIP of the cluster is IPv6. */
  address6?: string;
  /** The interface that carries the cluster's network; a lab host has only eth0. */
  device?: string;
  /** A lab host's disk of its own, bytes; undefined: it shares the machine's. */
  disk?: number;
  /** A lab host's wall clock of its own; undefined: it has the machine's. */
  clock?: 'own';
  /** Folder on the host below which everything of this cluster lives, e.g. /var/lib/phalanx/shop/hosts/lb1. */
  root: string;
}

export interface Network {
  /** e.g. 10.77.0.0/24 */
  cidr: string;
  prefix: number;
  /** The machine's own address inside the lab's network: where its clients come from. */
  machine: string;
  /** IPv6 only when a VIP is IPv6. */
  cidr6?: string;
  prefix6?: number;
  machine6?: string;
}

export interface Cluster {
  name: string;
  /** Absolute path of the user's file, for messages. */
  file: string;
  /** Folder of the file: relative paths in it start here. */
  folder: string;
  /** Folder of this cluster's state on the control machine, e.g. /var/lib/phalanx/shop. */
  home: string;
  network: Network;
  hosts: Record<string, HostEntry>;
  services: Record<string, Service>;
  /** Generated secrets by name ('front/sync', 'cart/password'); never printed. */
  secrets: Record<string, string>;
  /** Releases by service name: deterministic tar content's hash and where the tar lies on the control machine. */
  releases: Record<string, { hash: string; tar: string }>;
  /** Numbers that engines gave out for life, by name ('locks/data1'); see Engine.ids. Absent while a file is only being checked. */
  ids?: Record<string, number>;
  /** Lab hosts that the file no longer has, with the addresses they had: they may still be up, with members that have to leave. */
  former?: Record<string, HostEntry>;
  /** Our own programs that hosts run, by name, whole: the director's agent. Absent while a file is only being checked. */
  programs?: Record<string, string>;
}

/** A mistake in the user's file, before it is given its line: `path` is the keys from the root. */
export interface Problem {
  path: (string | number)[];
  message: string;
  /** What to do next, when it can be said. */
  hint?: string;
  /** Point at the key itself rather than at its value (unknown keys). */
  atKey?: boolean;
}
