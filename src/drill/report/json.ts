import { canonicalJson } from '../canonical.ts';
import type { DrillRun } from './run.ts';

/** All drills of one call for programs: the verdicts and how they compare to the last; the same runs give the same bytes. */
export function renderJson(runs: DrillRun[]): string {
  return canonicalJson({
    report: 1,
    drills: runs.map(({ verdict, comparison }) => ({
      verdict,
      ...(comparison === undefined ? {} : { comparison }),
    })),
  });
}
