import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What a person has said of a server at run time. It outranks the file's weight. */
export type ByHand = { kind: 'drain' } | { kind: 'weight'; weight: number };

/** Or that a rolling change has its turn at the server, which gets no new connection meanwhile; then what was said by hand holds again. */
export type Override = ByHand | { kind: 'turn'; byHand?: ByHand };

/** As it is shown in the status and written in the file: 'drain', 'weight 3', 'turn', 'turn weight 3'. */
export function overrideText(override: Override): string {
  if (override.kind === 'turn') return override.byHand ? `turn ${overrideText(override.byHand)}` : 'turn';
  return override.kind === 'drain' ? 'drain' : `weight ${override.weight}`;
}

/** Undefined when it is none of them; a weight is from 0 to 65535 (the range of IPVS). */
export function parseOverride(text: string): Override | undefined {
  const line = text.trim();
  if (line === 'turn') return { kind: 'turn' };
  if (!line.startsWith('turn ')) return parseByHand(line);
  const byHand = parseByHand(line.slice(5));
  return byHand && { kind: 'turn', byHand };
}

function parseByHand(line: string): ByHand | undefined {
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
