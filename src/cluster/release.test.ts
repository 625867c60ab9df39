import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packRelease, releaseOf } from './release.ts';

let home: string;
let folder: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'phalanx-release-'));
  folder = join(home, 'source');
  mkdirSync(folder);
  writeFileSync(join(folder, 'server.ts'), 'one');
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const listed = (tar: string): string[] =>
  execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).trim().split('\n').sort();

test('a folder is shipped as it is, and known by its content', () => {
  const first = releaseOf(home, 'web', { folder });
  packRelease({ folder }, first.tar);
  expect(listed(first.tar)).toEqual(['./', './server.ts']);
  writeFileSync(join(folder, 'server.ts'), 'two');
  expect(releaseOf(home, 'web', { folder }).hash).not.toBe(first.hash);
});

test('only its owner can look at what is shipped, which may be a key of mode 0600', () => {
  const { tar } = releaseOf(home, 'web', { folder });
  const open = (): number => statSync(dirname(tar)).mode & 0o077;
  packRelease({ folder }, tar);
  expect(open()).toBe(0);
  chmodSync(dirname(tar), 0o755);
  packRelease({ folder }, tar);
  expect(open()).toBe(0);
});

test('of a built one, what the command put into $OUT is shipped; the folder stays as it was', () => {
  const source = { folder, build: 'cp server.ts "$OUT"/made.ts && node --version > "$OUT"/node' };
  const { tar } = releaseOf(home, 'web', source);
  packRelease(source, tar);
  expect(listed(tar)).toEqual(['./', './made.ts', './node']);
  expect(readdirSync(folder)).toEqual(['server.ts']);
});

test('what was built is known by its sources and its command; node_modules is not looked through', () => {
  const source = { folder, build: 'true' };
  const { hash } = releaseOf(home, 'web', source);
  mkdirSync(join(folder, 'node_modules'));
  expect(releaseOf(home, 'web', source).hash).toBe(hash);
  expect(releaseOf(home, 'web', { folder, build: 'false' }).hash).not.toBe(hash);
  writeFileSync(join(folder, 'server.ts'), 'two');
  expect(releaseOf(home, 'web', source).hash).not.toBe(hash);
});

test.each([
  ['echo what is wrong >&2; exit 3', /ended with status 3:\nwhat is wrong$/],
  ['true', /put nothing into \$OUT/],
])('a build that fails (%s) says so, and ships nothing', (build, said) => {
  const source = { folder, build };
  const { tar } = releaseOf(home, 'web', source);
  expect(() => packRelease(source, tar)).toThrow(said);
  expect(existsSync(tar)).toBe(false);
});
