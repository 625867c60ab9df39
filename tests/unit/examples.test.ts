import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { engines } from '../../src/engines/index.ts';
import { readClusterFile } from '../../src/file/read.ts';

const checkout = join(import.meta.dirname, '../..');
const state = { home: '/nowhere', addresses: {}, secrets: {}, releases: {} };

test.each(globSync('examples/*.yaml', { cwd: checkout }))('%s has no mistake', (file) => {
  expect(readClusterFile(join(checkout, file), engines, state).name).not.toBe('');
});

test('the shop is built with the libraries that Phalanx itself installs', () => {
  const read = (path: string) => JSON.parse(readFileSync(join(checkout, path), 'utf8'));
  expect(read('package.json').dependencies).toMatchObject(read('examples/shop/package.json').dependencies);
});
