import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Where clusters keep their state on this machine; one folder a cluster. A user who is not root (all hosts by ssh) has an own place (XDG). */
export const stateHome = (): string =>
  process.env['PHALANX_HOME'] ??
  (process.getuid?.() === 0
    ? '/var/lib/phalanx'
    : join(process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state'), 'phalanx'));

export type Addresses = Record<string, { address: string; address6?: string }>;

/** What a cluster keeps on the control machine between runs. */
export interface Kept {
  addresses: Addresses;
  secrets: Record<string, string>;
  /** Numbers given for life, see Engine.ids. */
  ids: Record<string, number>;
  /** Real machines: where they were reached and what has to be known of them before anything is rendered. */
  machines: Record<string, KnownMachine>;
}

export interface KnownMachine {
  ssh: string;
  address: string;
  address6?: string;
  /** The interface that holds the address. */
  device?: string;
}

function readJson<T>(path: string, otherwise: T): T {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return otherwise;
    throw new Error(
      `${path} cannot be read: ${(error as Error).message}. Mend it or restore it from a copy; nothing was changed`,
    );
  }
}

/** Writes all or nothing: a reader never sees half a file, also after kill -9. */
export function writeWhole(path: string, content: string, mode = 0o644): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const draft = `${path}.${process.pid}.new`;
  writeFileSync(draft, content, { mode });
  renameSync(draft, path);
}

const paths = (home: string) => ({
  addresses: join(home, 'addresses.json'),
  secrets: join(home, 'secrets.json'),
  ids: join(home, 'ids.json'),
  machines: join(home, 'machines.json'),
});

export function readKept(home: string): Kept {
  const at = paths(home);
  return {
    addresses: readJson(at.addresses, {}),
    secrets: readJson(at.secrets, {}),
    ids: readJson(at.ids, {}),
    machines: readJson(at.machines, {}),
  };
}

/** Keeps what is new; called under the cluster's lock. */
export function writeKept(home: string, kept: Kept): void {
  const at = paths(home);
  const before = readKept(home);
  if (JSON.stringify(before.addresses) !== JSON.stringify(kept.addresses))
    writeWhole(at.addresses, `${JSON.stringify(kept.addresses, null, 2)}\n`);
  if (JSON.stringify(before.secrets) !== JSON.stringify(kept.secrets))
    writeWhole(at.secrets, `${JSON.stringify(kept.secrets, null, 2)}\n`, 0o600);
  if (JSON.stringify(before.ids) !== JSON.stringify(kept.ids))
    writeWhole(at.ids, `${JSON.stringify(kept.ids, null, 2)}\n`);
  if (JSON.stringify(before.machines) !== JSON.stringify(kept.machines))
    writeWhole(at.machines, `${JSON.stringify(kept.machines, null, 2)}\n`);
}

/** The numbers that are kept, with the next free one of its service for each name (`service/what`) that has none yet. */
export function withIds(kept: Record<string, number>, names: string[]): Record<string, number> {
  const ids = { ...kept };
  for (const name of names) {
    const own = `${name.slice(0, name.indexOf('/'))}/`;
    const given = Object.entries(ids).flatMap(([other, id]) => (other.startsWith(own) ? [id] : []));
    ids[name] ??= Math.max(0, ...given) + 1;
  }
  return ids;
}

/** The secrets that are kept, with a new one (32 characters, 190 bits) for each name that has none yet. */
export function withSecrets(kept: Record<string, string>, names: string[]): Record<string, string> {
  const secrets = { ...kept };
  for (const name of names) secrets[name] ??= randomBytes(24).toString('base64url');
  return secrets;
}

/** Names of the clusters that have state on this machine. */
export function knownClusters(home = stateHome()): string[] {
  try {
    return readdirSync(home, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}
