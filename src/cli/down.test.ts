import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Observed } from '../cluster/observe.ts';
import type { Cluster } from '../file/cluster.ts';
import { writtenMembers } from '../hosts/lab/lab-host.ts';
import { machine } from '../hosts/machine.ts';
import { stopSteps } from './down.ts';

test('members of lab hosts that are off leave nothing but their data', async () => {
  const home = mkdtempSync(join(tmpdir(), 'phalanx-down-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const root = join(home, 'hosts/a');
  const write = (path: string): void => {
    mkdirSync(join(root, 'members', path, '..'), { recursive: true });
    writeFileSync(join(root, 'members', path), 'x');
  };
  for (const path of ['web@a/env', 'web@a/service/run', 'web@a/release/h/key', 'web@a/log/current'])
    write(path);
  for (const path of ['db@a/env', 'db@a/data/deep/x', 'kept@a/data/x']) write(path);
  const cluster = {
    ...{ name: 'c', home, services: {} },
    hosts: { a: { name: 'a', kind: 'lab', address: '10.9.0.1', root } },
  } as unknown as Cluster;
  const observed = { members: new Map(), lying: { a: writtenMembers(root) } } as unknown as Observed;
  const steps = stopSteps(cluster, observed, false);
  expect(steps.map(({ id }) => id).sort()).toEqual(['remove db@a', 'remove web@a']);
  for (const { do: what } of steps)
    expect(what.kind === 'machine' && (await machine.run(what.script)).exit).toBe(0);
  const files = readdirSync(join(root, 'members'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + '/members/'.length));
  expect(files.sort()).toEqual(['db@a/data/deep/x', 'kept@a/data/x']);
  expect(readdirSync(join(root, 'members')).sort()).toEqual(['db@a', 'kept@a']);
});
