import type { Forward, Scheduler } from '../engines/director/tables.ts';

/** Where something stands in an imported file; lines count from 1. */
export interface Place {
  file: string;
  line: number;
}

/**
 * Something that does not stand in the written file as it stood in the imported one: it has no equal (`lost`), it is there
 * but behaves otherwise (`differs`), or Phalanx sees to it without being told (`ours`).
 */
export interface Note {
  kind: 'lost' | 'differs' | 'ours';
  place: Place;
  /** The words of the imported file. */
  what: string;
  why: string;
}

/** A check as our file writes it. */
export type CheckWords = Record<string, string | number | boolean>;

export interface Target {
  address: string;
  /** Undefined: the port that the client asked for. */
  port?: number;
  weight: number;
  place: Place;
  check?: CheckWords;
  /** Port that the check asks, where it is another than `port`; the port of a member whose virtual service has all ports. */
  checkPort?: number;
}

/** A virtual service as IPVS knows it, from whichever file. */
export interface Virtual {
  place: Place;
  /** The words that name it in its file. */
  what: string;
  /** Addresses and ports that clients use; a virtual server group has several. */
  at: { address: string; ports: [number, number]; place: Place }[];
  proto: 'tcp' | 'udp';
  scheduler: Scheduler;
  hashPort: boolean;
  forward: Exclude<Forward, 'fullnat'>;
  persistenceMs: number;
  targets: Target[];
  sorry?: { address: string; port?: number; place: Place };
  /** A name that a person gave it. */
  name?: string;
  idleMs?: number;
}

/** Addresses that move together, and how. */
export interface Owner {
  vips: { address: string; place: Place }[];
  advertMs?: number;
  preempt: boolean;
  unicast: boolean;
  /** Names of the directors, the first preferred. */
  order: string[];
}

export interface Director {
  name: string;
  address?: string;
}

/** What was found in imported files, before it is put into our words. */
export interface Found {
  name?: string;
  virtuals: Virtual[];
  owners: Owner[];
  directors: Director[];
  notes: Note[];
}

const allPorts: [number, number] = [1, 65_535];

/** The ports of a virtual service without a port: IPVS then takes every port of the address. */
export function portsOf(port: number | undefined): [number, number] {
  return port === undefined || port === 0 ? [...allPorts] : [port, port];
}
