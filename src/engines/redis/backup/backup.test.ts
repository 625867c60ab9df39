import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { named } from './backup.ts';

it('backups of the same millisecond are as many', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-backup-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const taken: string[] = [];
  for (const word of ['one', 'two', 'three']) {
    const draft = join(folder, `.${word}`);
    mkdirSync(draft);
    writeFileSync(join(draft, 'word'), word);
    taken.push(await named(draft, join(folder, 'cart-1')));
  }
  expect(readdirSync(folder)).toEqual(['cart-1', 'cart-1-2', 'cart-1-3']);
  expect(taken.map((path) => readFileSync(join(path, 'word'), 'utf8'))).toEqual(['one', 'two', 'three']);
  await expect(named(join(folder, '.none'), join(folder, 'cart-2'))).rejects.toThrow('ENOENT');
});
