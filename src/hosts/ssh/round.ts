import { randomBytes } from 'node:crypto';
import type { RunResult } from '../host.ts';
import { Answer } from '../shell.ts';

/**
 * Several scripts as one: each in a shell of its own, one after the other, their answers told apart by a line that none of
 * them can know before. Standard error and exit status stay each one's own.
 */
export function compileRound(scripts: string[], mark: string): string {
  const parts = scripts.map(
    (script) => `(
${script}
) </dev/null
status=$?
printf '\\n${mark} %s\\n' $status
printf '\\n${mark}\\n' >&2`,
  );
  return `${parts.join('\n')}\nexit 0`;
}

/** A mark for one round. */
export const newMark = (): string => `phalanx-${randomBytes(12).toString('hex')}`;

/** The scripts' own answers. One that the host did not come to has none. */
export function splitRound(stdout: string, stderr: string, mark: string): RunResult[] {
  const errors = stderr.split(`\n${mark}\n`);
  const parts = stdout.split(new RegExp(`\\n${mark} (\\d+)\\n`));
  const results: RunResult[] = [];
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const answer = new Answer(undefined);
    answer.take(parts[at]!);
    answer.stderr = errors[at / 2] ?? '';
    results.push(answer.end(Number(parts[at + 1])));
  }
  return results;
}
