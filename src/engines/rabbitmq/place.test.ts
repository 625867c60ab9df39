import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { parsePlace, placeScript } from './place.ts';
import { sample } from './sample.ts';

const root = mkdtempSync(join(tmpdir(), 'rabbit-place-'));
afterAll(() => rmSync(root, { recursive: true }));
const { service, cluster } = sample(['h1']);
cluster.hosts['h1']!.root = root;

/** What is found when the script is run here; no node is started. */
const found = () => {
  const text = execFileSync('sh', ['-c', placeScript(service, cluster, 'h1')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  return parsePlace({ lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>), text });
};

it('data of a node that had another address is told, and what RabbitMQ keeps beside a node is none', () => {
  expect(found()).toMatchObject({ present: false, blank: true, idle: true });
  const mnesia = join(root, 'members/jobs@h1/data/mnesia');
  mkdirSync(join(mnesia, 'rabbit-jobs@10.93.9.11'), { recursive: true });
  mkdirSync(join(mnesia, 'rabbit-jobs@10.93.9.12-plugins-expand/x'), { recursive: true });
  expect(found()).not.toHaveProperty('others');
  writeFileSync(join(mnesia, 'rabbit-jobs@10.93.9.11/schema.DAT'), '');
  expect(found()).toMatchObject({ present: true, blank: true, others: ['rabbit-jobs@10.93.9.11'] });
});

it('a node that does not answer is known to serve nothing only when its process is not there, or says so', () => {
  const line = (runs: boolean, port: number | null) => [
    { present: true, blank: false, admitted: false, runs, port, others: [] },
  ];
  expect(parsePlace({ lines: line(true, 25672), text: 'why: {error, enospc}\n' }).idle).toBeUndefined();
  expect(parsePlace({ lines: line(true, 25672), text: 'why: {ok, starting}\n' }).idle).toBe(true);
  expect(parsePlace({ lines: line(false, null), text: 'why: failed to connect\n' }).idle).toBe(true);
  // Whoever answers serves, whatever its supervisor knows.
  expect(parsePlace({ lines: [...line(false, null), { me: 'x' }], text: '' }).idle).toBeUndefined();
});
