import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { placeScript } from './machines.ts';

const asked = (root: string, name: string): { used: boolean; named: boolean; mark: string } => {
  const { stdout, stderr } = spawnSync('sh', ['-eu'], { input: placeScript(root, name), encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout).place;
};

it('a machine tells whether it has anything of the cluster, and members of the name that is asked for', () => {
  const root = mkdtempSync(join(tmpdir(), 'phalanx-place-'));
  expect(asked(join(root, 'absent'), 'p1')).toMatchObject({ used: false, named: false });
  expect(asked(root, 'p1')).toMatchObject({ used: false, named: false });
  writeFileSync(join(root, 'kept.json'), '{}');
  expect(asked(root, 'p1')).toMatchObject({ used: true, named: false });
  mkdirSync(join(root, 'members/web@lp1'), { recursive: true });
  expect(asked(root, 'p1')).toMatchObject({ used: true, named: false });
  mkdirSync(join(root, 'members/cart.sentinel@p1'));
  const { mark } = asked(root, 'p1');
  expect(asked(root, 'p1')).toEqual({ used: true, named: true, mark });
  expect(asked(mkdtempSync(join(tmpdir(), 'phalanx-place-')), 'p1').mark).not.toBe(mark);
});
