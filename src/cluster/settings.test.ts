import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { HostSetting, Step } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import { rememberedScript, settingSteps } from './settings.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'phalanx-settings-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const nothing = { ok: {}, remembered: {} };
const cluster = (): Cluster =>
  ({
    name: 'c',
    hosts: { h1: { name: 'h1', kind: 'lab', address: '10.9.0.1', root } },
  }) as unknown as Cluster;

/** A file that is there while the setting is. */
const setting = (title: string, path: string): HostSetting => ({
  host: 'h1',
  service: 'front',
  title,
  check: `[ -e '${root}/${path}' ]`,
  apply: `: > '${root}/${path}'`,
  undo: `rm -f '${root}/${path}'`,
});

function carryOut(steps: Step[]): void {
  for (const step of steps)
    if (step.do.kind === 'script') execFileSync('sh', ['-ec', step.do.script], { stdio: 'pipe' });
}

it('a setting that is to be made differently is taken back first, as it was made', () => {
  carryOut(settingSteps(cluster(), [setting('a route', 'table1')], nothing));
  carryOut(settingSteps(cluster(), [setting('a route', 'table2')], nothing));
  expect(existsSync(join(root, 'table1'))).toBe(false);
  expect(existsSync(join(root, 'table2'))).toBe(true);
  // Made again as it was: it is not taken away for a moment.
  const again = { ...setting('a route', 'table2'), apply: `[ -e '${root}/table2' ]` };
  carryOut(settingSteps(cluster(), [again], nothing));
  const [told] = execFileSync('sh', ['-c', rememberedScript(root)], { encoding: 'utf8' })
    .trim()
    .split('\n');
  const remembered = { h1: [(JSON.parse(told!) as { remembered: string }).remembered] };
  carryOut(settingSteps(cluster(), [], { ok: {}, remembered }));
  expect(existsSync(join(root, 'table2'))).toBe(false);
});
