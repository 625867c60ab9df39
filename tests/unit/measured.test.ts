import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import { linesOf, table } from '../../bench/drills/rounds.ts';

const root = resolve(import.meta.dirname, '../..');

// `node bench/drills.ts --table --results bench/measured/drills.jsonl` prints it: no figure is written by hand.
it('the documented table of drills is what its command prints of the kept results', {
  tags: ['long'],
}, () => {
  const printed = table(linesOf(resolve(root, 'bench/measured/drills.jsonl'))).join('\n');
  expect(readFileSync(resolve(root, 'docs/performance.md'), 'utf8')).toContain(printed);
});
