import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bundle } from './bundle.ts';

const folder = mkdtempSync(join(tmpdir(), 'phalanx-bundle-'));
afterAll(() => rmSync(folder, { recursive: true }));

test.each(['agent', 'registrar'] as const)(
  'the %s is one file that needs nothing but node',
  { tags: ['long'] },
  async (program) => {
    const { path, hash } = await bundle(program, folder);
    const text = readFileSync(path, 'utf8');
    expect(path).toContain(hash);
    const imports = [...text.matchAll(/^import .* from ["'](.+)["'];$/gm)].map((match) => match[1]);
    expect(imports.length).toBeGreaterThan(3);
    for (const name of imports) expect(name).toMatch(/^node:/);
  },
);

test('when nothing has changed it is not made again', async () => {
  const first = await bundle('agent', folder);
  const made = statSync(first.path).mtimeMs;
  expect(await bundle('agent', folder)).toEqual(first);
  expect(statSync(first.path).mtimeMs).toBe(made);
});

test('a bundle that was removed is made again, byte for byte', async () => {
  const first = await bundle('agent', folder);
  rmSync(first.path);
  expect(await bundle('agent', folder)).toEqual(first);
  expect(statSync(first.path).size).toBeGreaterThan(10_000);
});
