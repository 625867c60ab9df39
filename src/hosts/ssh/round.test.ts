import { expect, test } from 'vitest';
import { runShell } from '../shell.ts';
import { compileRound, splitRound } from './round.ts';

const mark = 'mark-of-this-round';

/** Output as it comes, of which the answers are made. */
async function round(scripts: string[]): Promise<ReturnType<typeof splitRound>> {
  const { text, stderr } = await runShell(['sh', '-s'], compileRound(scripts, mark));
  return splitRound(`${text}\n`, stderr, mark);
}

test('scripts of one round keep their own output, errors and exit status', async () => {
  const [one, two, three] = await round([
    'echo first; echo oops >&2; exit 3',
    'cd /nowhere-at-all 2>/dev/null; printf "no newline"',
    'cat; set -eu; false; echo never',
  ]);
  expect(one).toMatchObject({ exit: 3, text: 'first', stderr: 'oops\n' });
  expect(two).toMatchObject({ exit: 0, text: 'no newline' });
  expect(three).toMatchObject({ exit: 1, text: '' });
});

test('a script that the host did not come to has no answer', () => {
  expect(splitRound(`a\n\n${mark} 0\nhalf of the sec`, '', mark)).toHaveLength(1);
});
