import { canonicalJson } from '../canonical.ts';
import { repeated, roundOf } from '../repeated.ts';
import type { DrillRun } from './run.ts';

/** All drills of one call for programs: the verdicts and how they compare to the last, and what each fault's rounds come to; the same runs give the same bytes. */
export function renderJson(runs: DrillRun[]): string {
  return canonicalJson({
    report: 1,
    drills: runs.map(({ verdict, comparison }) => ({
      verdict,
      ...(comparison === undefined ? {} : { comparison }),
    })),
    repeated: repeated(runs.map(({ verdict }) => roundOf(verdict))),
  });
}
