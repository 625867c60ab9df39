import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Cluster } from '../../file/cluster.ts';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';
import { fetchSoftware, hasSoftware, libraries, notFetched } from './software.ts';

const jar = 'kafka_2.13-4.3.1.jar';
let home: string;
let cluster: Cluster;
let server: Server;
let tarball: string;
let asked: string[];
const before = { path: process.env['PATH'], cache: process.env['PHALANX_CACHE'] };

const service = (spec: Record<string, unknown> = {}): KafkaService => ({
  name: 'events',
  type: 'kafka',
  hosts: ['d1'],
  uses: [],
  spec: schema.parse(spec),
});
const lab = { kind: 'lab', root: '/nowhere' } as const;
const fetched = (of: KafkaService): Promise<void> => fetchSoftware(of, cluster, () => {});
/** What gave the jar that a member would run. */
const gave = (of: KafkaService): string => {
  const libs = libraries(of, lab).find((folder) => existsSync(join(folder, jar)));
  return libs === undefined ? 'nothing' : readFileSync(join(libs, jar), 'utf8').trim();
};
const mavenWasAsked = (): boolean => existsSync(join(home, 'maven-asked'));
const sums = (): string =>
  createHash('sha256')
    .update(readFileSync(join(home, 'kafka.tgz')))
    .digest('hex');

/** A Maven of our own: it gives a jar, or says that it reaches nothing. */
function maven(reaches: boolean): void {
  const gives = `for one; do case $one in -DoutputDirectory=*) libs=\${one#*=} ;; esac; done
mkdir -p "$libs"; echo maven >"$libs/${jar}"`;
  writeFileSync(
    join(home, 'bin/mvn'),
    `#!/bin/sh\ntouch '${home}/maven-asked'\n${reaches ? gives : 'echo "[ERROR] repository: Network is unreachable"; exit 1'}\n`,
  );
  chmodSync(join(home, 'bin/mvn'), 0o755);
}

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'phalanx-kafka-'));
  for (const folder of ['bin', 'made/kafka_2.13-4.3.1/libs', 'named/libs'])
    mkdirSync(join(home, folder), { recursive: true });
  writeFileSync(join(home, 'made/kafka_2.13-4.3.1/libs', jar), 'tarball\n');
  execFileSync('tar', ['-C', join(home, 'made'), '-czf', join(home, 'kafka.tgz'), 'kafka_2.13-4.3.1']);
  process.env['PATH'] = `${join(home, 'bin')}:${before.path}`;
  process.env['PHALANX_CACHE'] = join(home, 'cache');
  asked = [];
  server = createServer((request, answer) => {
    asked.push(request.url ?? '');
    answer.end(readFileSync(join(home, 'kafka.tgz')));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  tarball = `http://127.0.0.1:${(server.address() as AddressInfo).port}/kafka_2.13-4.3.1.tgz`;
  cluster = { name: 'shop', home } as Cluster;
  maven(true);
});

afterEach(() => {
  server.close();
  process.env['PATH'] = before.path;
  if (before.cache === undefined) delete process.env['PHALANX_CACHE'];
  else process.env['PHALANX_CACHE'] = before.cache;
  rmSync(home, { recursive: true, force: true });
});

describe('where Kafka comes from', { timeout: 60_000, tags: ['long'] }, () => {
  it('a path in the file comes before everything, and nothing is asked for', async () => {
    writeFileSync(join(home, 'named/libs', jar), 'path\n');
    const named = service({ path: join(home, 'named'), tarball });
    await fetched(named);
    expect(gave(named)).toBe('path');
    expect(asked).toEqual([]);
    expect(mavenWasAsked()).toBe(false);
  });

  it('then the cache: what was fetched once is not fetched again', async () => {
    const named = service({ tarball });
    await fetched(named);
    await fetched(named);
    expect(asked).toHaveLength(1);
    expect(gave(named)).toBe('tarball');
  });

  it('then the tarball, with the checksum of every file kept; Maven is not asked', async () => {
    const named = service({ tarball, checksum: sums() });
    expect(hasSoftware(named)).toBe(false);
    await fetched(named);
    expect(hasSoftware(named)).toBe(true);
    expect(gave(named)).toBe('tarball');
    expect(mavenWasAsked()).toBe(false);
    const folder = join(libraries(named, lab).at(-1)!, '..');
    expect(execFileSync('sha256sum', ['-c', 'checksums'], { cwd: folder, encoding: 'utf8' })).toContain(
      `libs/${jar}: OK`,
    );
  });

  it('then Maven: where no tarball is named, cannot be had, or is not what its checksum says', async () => {
    for (const spec of [
      {},
      { tarball: 'http://127.0.0.1:9/kafka_2.13-4.3.1.tgz' },
      { tarball, checksum: '0'.repeat(64) },
    ]) {
      rmSync(join(home, 'cache'), { recursive: true, force: true });
      const named = service(spec);
      await fetched(named);
      expect(gave(named), JSON.stringify(spec)).toBe('maven');
    }
  });

  it('nowhere: it says all that was tried, remembers it for status, and leaves nothing half', async () => {
    maven(false);
    const named = service({ path: join(home, 'named'), tarball, checksum: '0'.repeat(64) });
    await expect(fetched(named)).rejects.toThrow(
      /named\/libs holds no kafka_.*cache.*is not there; the tarball .*: its checksum is .*; Maven .*Network is unreachable/,
    );
    expect(hasSoftware(named)).toBe(false);
    expect(gave(named)).toBe('nothing');
    expect(notFetched(named, cluster)).toContain('events is skipped');
    maven(true);
    await fetched(named);
    expect(notFetched(named, cluster)).toBeUndefined();
  });
});
