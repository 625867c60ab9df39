import { join } from 'node:path';
import { HaproxyPlane, haproxyRefuses, haproxySocketName } from '../planes/haproxy.ts';
import { IpvsPlane } from '../planes/ipvs.ts';
import { nftablesRefuses } from '../planes/nftables/refusal.ts';
import { NftablesPlane } from '../planes/nftables.ts';
import type { AgentConfig, Listen, Plane, PlaneName, Table } from '../tables.ts';

/** Makes a plane for a configuration; `folder` is the agent's. */
export type PlaneMaker = (config: AgentConfig, folder: string) => Plane;

/** The planes that this agent knows, in the order in which `auto` prefers them. */
export const planeMakers: Partial<Record<PlaneName, PlaneMaker>> = {
  ipvs: (config) => new IpvsPlane(config, (line) => console.log(line)),
  nftables: (config) => new NftablesPlane(config, (line) => console.log(line)),
  // haproxy is a member of its own, whose folder is beside the agent's.
  haproxy: (config, folder) =>
    new HaproxyPlane(
      config,
      join(folder, '..', `${config.service}.haproxy@${config.host}`, haproxySocketName),
    ),
};

const firstRetry = 100;
const slowestRetry = 1000;

/** A plane in use: opened once, tried again with growing pauses when it fails, its last error kept for the status. */
export class Carrier {
  readonly plane: Plane;
  error: string | undefined;
  /** Whether its tables have been made as they shall be at least once, also by the one before it. */
  applied: boolean;
  /** Whether this plane itself has been given tables: until then it counts no connection, whoever has some. */
  told = false;
  /** Milliseconds to wait before the next try, after a failure. */
  pause = 0;
  /** Another has its tables now, or soon. */
  released = false;
  #opened = false;

  constructor(plane: Plane, applied = false) {
    this.plane = plane;
    this.applied = applied;
  }

  async open(): Promise<void> {
    if (this.#opened) return;
    await this.plane.open();
    this.#opened = true;
  }

  async release(): Promise<void> {
    this.released = true;
    await this.plane.release?.();
  }

  /** True when the tables are as they shall be; otherwise `error` and `pause` say what now. */
  async apply(tables: Table[]): Promise<boolean> {
    try {
      await this.open();
      await this.plane.apply(tables);
      this.error = undefined;
      this.pause = 0;
      this.applied = true;
      this.told = true;
      return true;
    } catch (error) {
      this.error = (error as Error).message;
      this.pause = Math.min(slowestRetry, Math.max(firstRetry, this.pause * 2));
      return false;
    }
  }
}

export interface Choice {
  plane: PlaneName | undefined;
  why: string;
}

/** Why `auto` is not to take a plane for a listen, whatever the host offers; undefined when it may. `directors`: the service's hosts. */
export function refuses(plane: PlaneName, listen: Listen, directors: readonly string[]): string | undefined {
  if (plane === 'nftables') return nftablesRefuses(listen, directors);
  // haproxy's own file, and whether it runs at all, is made of the listens that name it.
  if (plane === 'haproxy') return haproxyRefuses(listen) ?? 'only for what says plane: haproxy';
  return undefined;
}

/**
 * The plane of each listen, and why. `broken` says of a plane why this host cannot carry it: `auto` takes the first
 * that it can. A plane that the file names is taken at its word.
 */
export function choosePlanes(
  listens: Listen[],
  known: PlaneName[],
  broken: Map<PlaneName, string>,
  directors: readonly string[] = [],
): Map<string, Choice> {
  const choices = new Map<string, Choice>();
  for (const listen of listens) {
    if (listen.plane !== 'auto') {
      const plane = known.includes(listen.plane) ? listen.plane : undefined;
      choices.set(listen.name, {
        plane,
        why: plane
          ? 'the file says so'
          : `this version has no plane ${listen.plane}: use ipvs, nftables or haproxy`,
      });
      continue;
    }
    const reasons: string[] = [];
    let plane: PlaneName | undefined;
    for (const name of known) {
      const no = refuses(name, listen, directors) ?? broken.get(name);
      if (no) {
        reasons.push(`${name}: ${no}`);
        continue;
      }
      plane = name;
      break;
    }
    const why = reasons.length > 0 ? reasons.join('; ') : 'the first that this host offers';
    choices.set(listen.name, { plane, why });
  }
  return choices;
}
