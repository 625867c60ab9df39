import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a person, or a rolling change, has said of a server at run time. It outranks the file's weight. */
export type Override = { kind: 'drain' } | { kind: 'weight'; weight: number };

/** As it is shown in the status and written in the file: 'drain' or 'weight 3'. */
export function overrideText(override: Override): string {
  return override.kind === 'drain' ? 'drain' : `weight ${override.weight}`;
}

/** Undefined when it is neither `drain` nor `weight N` with N from 0 to 65535 (the range of IPVS). */
export function parseOverride(text: string): Override | undefined {
  const line = text.trim();
  if (line === 'drain') return { kind: 'drain' };
  const weight = Number(/^weight (\d{1,5})$/.exec(line)?.[1] ?? Number.NaN);
  return weight <= 65_535 ? { kind: 'weight', weight } : undefined;
}

export interface Overrides {
  byServer: Map<string, Override>;
  /** Files that say nothing sensible, for the status. */
  errors: string[];
}

/** Reads FOLDER/overrides: a file per server, written with temp and rename (names that begin with a dot are such temps). */
export function readOverrides(folder: string): Overrides {
  const place = join(folder, 'overrides');
  mkdirSync(place, { recursive: true });
  const overrides: Overrides = { byServer: new Map(), errors: [] };
  for (const name of readdirSync(place).sort()) {
    if (name.startsWith('.') || name.endsWith('.tmp')) continue;
    let text: string;
    try {
      text = readFileSync(join(place, name), 'utf8');
    } catch {
      continue; // Removed in between.
    }
    const override = parseOverride(text);
    if (override) overrides.byServer.set(name, override);
    else overrides.errors.push(`overrides/${name}: expected 'drain' or 'weight N' (0 to 65535)`);
  }
  return overrides;
}
