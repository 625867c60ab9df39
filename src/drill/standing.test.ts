import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Cluster } from '../file/cluster.ts';
import { forget, leftOver, remember, type Standing, standingFault } from './standing.ts';

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
