import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PlaneName } from '../tables.ts';
import { placeKey } from './desired.ts';

/** The first line of status.jsonl. */
export interface AgentStatus {
  pid: number;
  /** Start of the agent, seconds since 1970. */
  since: number;
  host: string;
  /** By listen: what carries it, why that, and what went wrong with it last, if it still does. */
  planes: Record<string, { plane: PlaneName | 'none'; why: string; error?: string }>;
  /** By VIP: whether it is on an interface of this host now. */
  vips: Record<string, boolean>;
  /** By director: milliseconds since connections were last exchanged with it, or what went wrong. */
  peers: Record<string, number | string>;
  /** Counts the times that tables were applied. */
  revision: number;
  /** sha256 of the agent.json that these tables were made from. */
  config: string;
  /** Bytes. */
  rss: number;
  /** What somebody else has changed in the planes' tables. */
  drift: string[];
  /** Mistakes in agent.json or the overrides, registries that cannot be followed; what was last good stands. */
  errors: string[];
}

/** Every other line: a server of a listen. */
export interface ServerStatus {
  listen: string;
  server: string;
  address: string;
  port: number | null;
  /** As in the file. */
  weight: number;
  /** After what was said at run time. */
  effective: number;
  /** 'drain', 'weight N', 'turn' or 'turn weight N': overrides.ts. */
  override?: string;
  up: boolean;
  /** Why the last check failed. */
  why?: string;
  sorry: boolean;
  active: number;
  inactive: number;
  /** The scheduler is followed by weights that are refreshed several times a second. */
  approximate: boolean;
}

export const statusFile = 'status.jsonl';

/** JSON lines without spaces, keys in the order of the types above: shell scripts grep them. */
export function statusText(agent: AgentStatus, servers: ServerStatus[]): string {
  const a: AgentStatus = {
    pid: agent.pid,
    since: agent.since,
    host: agent.host,
    planes: agent.planes,
    vips: agent.vips,
    peers: agent.peers,
    revision: agent.revision,
    config: agent.config,
    rss: agent.rss,
    drift: agent.drift,
    errors: agent.errors,
  };
  let text = `${JSON.stringify({ agent: a })}\n`;
  for (const s of servers) {
    text += `${JSON.stringify({
      listen: s.listen,
      server: s.server,
      address: s.address,
      port: s.port,
      weight: s.weight,
      effective: s.effective,
      override: s.override,
      up: s.up,
      why: s.why,
      sorry: s.sorry,
      active: s.active,
      inactive: s.inactive,
      approximate: s.approximate,
    })}\n`;
  }
  return text;
}

/** Readers never see half a status. */
export function writeStatus(folder: string, text: string): void {
  const path = join(folder, statusFile);
  writeFileSync(`${path}.tmp`, text, { mode: 0o644 });
  renameSync(`${path}.tmp`, path);
}

/** A status older than this, in milliseconds, says nothing about servers now. */
const fresh = 60_000;

/** Health by place as an agent that ran here until just now had it; empty when there was none. */
export function lastHealth(folder: string, now: number): Map<string, boolean> {
  const known = new Map<string, boolean>();
  const path = join(folder, statusFile);
  try {
    if (Math.abs(now - statSync(path).mtimeMs) > fresh) return known;
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      if (!line.startsWith('{"listen"')) continue;
      const s = JSON.parse(line) as ServerStatus;
      known.set(placeKey(s.listen, s.server, s.sorry), s.up);
    }
  } catch {
    // There was none, or it was damaged: the checks will say.
  }
  return known;
}
