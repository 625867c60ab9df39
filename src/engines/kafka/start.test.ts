import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { schema } from './schema.ts';
import { type KafkaService, seatsOf } from './seats.ts';
import { startScript } from './start.ts';

let folder: string;
const at = (path: string): string => join(folder, path);
const put = (path: string, content: string, mode = 0o644): void => {
  mkdirSync(join(at(path), '..'), { recursive: true });
  writeFileSync(at(path), content);
  chmodSync(at(path), mode);
};
/** Runs the start script; gives what the stand-in for Java was called for: format, serve. */
const start = (): string[] => {
  rmSync(at('calls'), { force: true });
  try {
    execFileSync('sh', ['./start'], {
      cwd: folder,
      env: { PATH: `${at('bin')}:${process.env['PATH']}` },
      stdio: 'pipe',
    });
  } catch {}
  return existsSync(at('calls')) ? readFileSync(at('calls'), 'utf8').trim().split('\n') : [];
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phalanx-start-'));
  const service: KafkaService = {
    name: 'events',
    type: 'kafka',
    hosts: ['d1'],
    uses: [],
    spec: schema.parse({ path: at('kafka') }),
  };
  const cluster = {
    ids: { 'events/d1': 1 },
    hosts: { d1: { name: 'd1', kind: 'lab', address: '10.0.0.1', root: folder } },
  } as unknown as Cluster;
  put('start', startScript(service, cluster, seatsOf(service, cluster)[0]!), 0o755);
  put('server.properties', '');
  put('controllers', '10.0.0.1:9093\n');
  put('kafka/libs/kafka_2.13-4.3.1.jar', '');
  put(
    'bin/java',
    `#!/bin/sh
case "$*" in
*StorageTool*) echo format >>calls; mkdir -p data/log/__cluster_metadata-0; echo cluster.id=c >data/log/meta.properties ;;
*) echo serve >>calls ;;
esac
`,
    0o755,
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the start of a member', () => {
  it('formats its disk once, for what it was told, and forgets what it was told', () => {
    put('data/first', '--cluster-id c --initial-controllers 1@10.0.0.1:9093:x\n');
    expect(start()).toEqual(['format', 'serve']);
    expect(existsSync(at('data/first'))).toBe(false);
    expect(start()).toEqual(['serve']);
    // Its log is lost: it does not begin the cluster again by itself.
    rmSync(at('data/log'), { recursive: true });
    expect(start()).toEqual([]);
  });

  it('it looks for the cluster where the file has controllers, and where they were that it was told to join', () => {
    put('data/log/meta.properties', 'cluster.id=c\n');
    const servers = (): string => {
      expect(start()).toEqual(['serve']);
      return readFileSync(at('data/server.properties'), 'utf8');
    };
    expect(servers()).toBe('controller.quorum.bootstrap.servers=10.0.0.1:9093\n');
    put('data/voters', '10.0.0.8:9093,10.0.0.9:9093\n');
    expect(servers()).toBe('controller.quorum.bootstrap.servers=10.0.0.1:9093,10.0.0.8:9093,10.0.0.9:9093\n');
  });

  it('one that was formatted before it was asked to forget forgets at its next start', () => {
    put('data/log/meta.properties', 'cluster.id=c\n');
    put('data/first', '--cluster-id c --initial-controllers 1@10.0.0.1:9093:x\n');
    expect(start()).toEqual(['serve']);
    expect(existsSync(at('data/first'))).toBe(false);
  });

  it('formats over no records without meta.properties, be they of a topic or of the metadata', () => {
    for (const partition of ['orders-0', '__cluster_metadata-0']) {
      put('data/first', '--cluster-id c --no-initial-controllers\n');
      put(`data/log/${partition}/00000000000000000000.log`, 'records');
      expect(start()).toEqual([]);
      rmSync(at('data/log'), { recursive: true });
    }
  });
});
