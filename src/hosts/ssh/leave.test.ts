import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { leaveScript } from './leave.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'phalanx-leave-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const put = (path: string, text = ''): void => {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
};
const there = (path: string): boolean => existsSync(join(root, path));

it('a machine with a member that was not removed is not left, purge or not, and it is told which', () => {
  put('members/web@a/service/run');
  put('members/web@a/data/x');
  put('kept.json');
  const { status, stderr } = spawnSync('sh', ['-c', leaveScript(root, true)], { encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toContain('web@a was not stopped and removed');
  expect([there('members/web@a/data/x'), there('kept.json')]).toEqual([true, true]);
});

it('settings are taken back, data stays without purge and is told, and with it goes', () => {
  put('settings/one', `a setting\nrm -f '${root}/made'\n`);
  put('made');
  put('members/cart@a/data/x');
  expect(execFileSync('sh', ['-c', leaveScript(root, false)], { encoding: 'utf8' })).toBe(
    '{"kept":"cart@a"}\n',
  );
  expect([there('made'), there('settings'), there('members/cart@a/data/x')]).toEqual([false, false, true]);
  execFileSync('sh', ['-c', leaveScript(root, true)]);
  expect(existsSync(root)).toBe(false);
});

it("a control machine that is one of the hosts keeps the cluster's state", () => {
  put('secrets.json', '{}');
  put('backups/cart/x');
  put('members/web@a/log/current');
  put('scan.log');
  execFileSync('sh', ['-c', leaveScript(root, true)]);
  expect([there('members'), there('scan.log')]).toEqual([false, false]);
  expect([there('secrets.json'), there('backups/cart/x')]).toEqual([true, true]);
});
