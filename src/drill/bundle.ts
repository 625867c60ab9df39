import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeWhole } from '../cluster/state.ts';
import { canonicalJson } from './canonical.ts';
import type { Verdict } from './verdict.ts';

/**
 * A drill's evidence in one folder that somebody else can verify with `phalanx drill --verify FOLDER/history.jsonl`:
 * history.jsonl (versions, seed and the hash of the file are its first line), cluster.yaml (that file) and verdict.json.
 */
export interface Bundle {
  folder: string;
  history: string;
}

/** Makes the folder BASE/SERVICE/FAULT/TIME with a copy of the user's file. */
export function newBundle(base: string, service: string, fault: string, file: string, now: Date): Bundle {
  const time = now.toISOString().replaceAll(':', '').replace('T', '-').replace('.', '-').replace('Z', '');
  const folder = join(base, service, fault, time);
  mkdirSync(folder, { recursive: true });
  copyFileSync(file, join(folder, 'cluster.yaml'));
  return { folder, history: join(folder, 'history.jsonl') };
}

export function keepVerdict(bundle: Bundle, verdict: Verdict): void {
  writeWhole(join(bundle.folder, 'verdict.json'), canonicalJson(verdict));
}

/** The verdict of the last drill of the service with the fault that came to one; undefined where there is none that reads. */
export function lastVerdict(base: string, service: string, fault: string): Verdict | undefined {
  const at = join(base, service, fault);
  let runs: string[];
  try {
    runs = readdirSync(at).sort().reverse();
  } catch {
    return undefined;
  }
  for (const run of runs) {
    try {
      return JSON.parse(readFileSync(join(at, run, 'verdict.json'), 'utf8')) as Verdict;
    } catch {
      // A drill that was killed has no verdict.
    }
  }
  return undefined;
}
