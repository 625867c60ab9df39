import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Cluster } from '../file/cluster.ts';
import type { Reach } from '../hosts/host.ts';
import { forget, healAll, leftOver, remember, type Standing, standingFault } from './standing.ts';

const home = mkdtempSync(join(tmpdir(), 'phalanx-standing-'));
const cluster = { home } as Cluster;
afterAll(() => rmSync(home, { recursive: true }));

test('a fault of a drill that runs is no left-over; one whose drill is gone is, also when its process id is used again', () => {
  expect(leftOver(cluster)).toBeUndefined();
  remember(cluster, { service: 'front', fault: 'cut-owner', host: 'lb1' });
  expect(standingFault(cluster)).toMatchObject({ running: true, fault: { host: 'lb1' } });
  expect(leftOver(cluster)).toBeUndefined();

  const path = join(home, 'fault.json');
  const mine = JSON.parse(readFileSync(path, 'utf8')) as Standing;
  writeFileSync(path, JSON.stringify({ ...mine, started: '1' }));
  expect(leftOver(cluster)).toContain('cut-owner of front on lb1');

  forget(cluster);
  expect(leftOver(cluster)).toBeUndefined();
});

test('a member of a real machine is let go on although its service, and its machine, have left the file', async () => {
  const machine = {
    name: 'data1',
    kind: 'ssh',
    ssh: 'data1',
    address: '10.0.0.1',
    root: '/var/lib/phalanx/shop',
  };
  const asked: string[] = [];
  const reach = {
    host: (name: string) => ({
      run: async (script: string) => {
        asked.push(`${name}: ${script}`);
        return { exit: 0, text: '7', lines: [], stderr: '' };
      },
    }),
  } as unknown as Reach;
  const left = {
    ...cluster,
    name: 'shop',
    hosts: {},
    services: {},
    former: { data1: machine },
  } as unknown as Cluster;
  remember(left, { service: 'cart', fault: 'freeze-master', host: 'data1', member: 'cart@data1' });
  await healAll(left, reach);
  expect(asked).toEqual([expect.stringMatching(/^data1: .*kill -CONT/s)]);
  expect(standingFault(left)).toBeUndefined();
});
