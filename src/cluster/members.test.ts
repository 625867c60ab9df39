import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Member, MemberState } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import { memberSteps, removeSteps, unknownMember } from './members.ts';

it('a release that has to travel is given the time for it, one that is there is not', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-members-'));
  try {
    const tar = join(folder, 'r.tar');
    writeFileSync(tar, '');
    truncateSync(tar, 60 * 2 ** 20);
    const member = {
      ...{ name: 'web@a', service: 'web', host: 'a', command: 'true', release: 'web', env: {}, files: [] },
      ...{ limits: {}, ports: [], stop: { signal: 'TERM', timeoutMs: 1_000 }, data: [], kind: 'app' },
    } as Member;
    const cluster = {
      hosts: { a: { name: 'a', kind: 'ssh', address: '10.9.0.1', root: '/var/lib/phalanx/c' } },
      releases: { web: { hash: 'h', tar } },
    } as unknown as Cluster;
    const write = (releases: string[]): number => {
      const state = { present: true, running: false, files: {}, releases } as unknown as MemberState;
      const { do: what } = memberSteps(member, state, cluster).find(({ verb }) => verb === 'write')!;
      return what.kind === 'script' ? what.timeoutMs : 0;
    };
    // 81 MB as base64, on 20 Mbit/s: 32 s.
    expect(write([])).toBeGreaterThan(300_000);
    expect(write(['h'])).toBe(30_000);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('a member that leaves has as long to stop as its host says, which may be an hour', () => {
  const leaving = { why: 'the file no longer has it', purge: false };
  for (const root of ['/var/lib/phalanx/c/hosts/a', '/var/lib/phalanx/c']) {
    const [stop, remove] = removeSteps(unknownMember('web@a'), 'a', root, leaving);
    if (stop!.do.kind !== 'script' || remove!.do.kind !== 'script') throw new Error('no scripts');
    expect(stop!.do.timeoutMs).toBeGreaterThan(3_600_000);
    // Its own 10 s and ours are only what is waited where the host does not say.
    expect(stop!.do.script).toContain(`<${root}/members/web@a/service/timeout-kill`);
    expect(stop!.do.script).not.toContain('20 s after its stop');
  }
});
