import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { staticConfig } from './config.ts';
import { schema } from './schema.ts';
import { seatsOf, type ZooKeeperService } from './seats.ts';
import { easing, startScript, tightening } from './start.ts';

it('a member that is made patient keeps the rest of what the file says, and is as the file says afterwards', {
  tags: ['long'],
}, () => {
  const root = mkdtempSync(join(tmpdir(), 'start-'));
  const service = {
    name: 'locks',
    type: 'zookeeper',
    hosts: ['d1'],
    uses: [],
    spec: schema.parse({ timing: 'fast' }),
  } as ZooKeeperService;
  const cluster = {
    hosts: { d1: { name: 'd1', kind: 'lab', address: '10.0.0.1', root } },
    secrets: { 'locks/super': 'hidden', 'locks/app': 'secret' },
    ids: { 'locks/d1': 1 },
  } as unknown as Cluster;
  const [seat] = seatsOf(service, cluster);
  const folder = memberFolder(seat!, root);
  mkdirSync(join(folder, 'data'), { recursive: true });
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin/java'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(folder, 'start'), startScript(service, cluster, seat!));
  writeFileSync(join(folder, 'zoo.static'), staticConfig(service, cluster, 'd1'));
  writeFileSync(join(folder, 'data/first.cfg'), 'server.1=10.0.0.1:2888:3888:participant;10.0.0.1:2181\n');
  const sh = (...args: string[]) =>
    execFileSync('sh', args, { cwd: folder, env: { PATH: `${folder}/bin:${process.env['PATH']}` } });
  const started = (): string[] => {
    sh('./start');
    return readFileSync(join(folder, 'data/zoo.cfg'), 'utf8').trim().split('\n').sort();
  };
  const asTheFileSays = started();
  expect(asTheFileSays).toContain('syncLimit=4');
  sh('-c', easing(20));
  expect(started()).toEqual(asTheFileSays.map((line) => line.replace('syncLimit=4', 'syncLimit=20')));
  sh('-c', tightening);
  expect(started()).toEqual(asTheFileSays);
});
