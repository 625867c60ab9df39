import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { Cart, lost, writers } from './redis-clients.ts';
import { type Fingerprint, fill, fingerprint } from './redis-fingerprint.ts';

const file = (spec: string): string => `
cluster: rdbackup
network: 10.162.10.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, hosts: [d1, d2, d3], timing: fast, ${spec} }
`;

describe('a backup', () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-backups-'));
  const cluster = new TestCluster(file('mode: cluster'));
  const cart = new Cart(cluster);
  let before: Fingerprint;
  let taken: string;
  afterAll(async () => {
    await cluster.remove();
    rmSync(folder, { recursive: true });
  });

  /** The same cluster made anew, empty, otherwise. */
  const anew = async (spec: string): Promise<void> => {
    await cluster.must('down', '--purge');
    cluster.write(file(spec));
    await cluster.must('up');
    await cart.session(true);
  };
  const keys = async (): Promise<number> =>
    (await cart.live()).members.reduce((sum, one) => sum + (one.keys ?? 0), 0);

  beforeAll(async () => {
    await cluster.must('up');
    await fill(cart);
    before = await fingerprint(cart);
  });

  it('is a file for each shard, taken from its replica, for its owner alone, and nothing beside it', async () => {
    const { path, rows } = JSON.parse(await cluster.must('backup', 'cart', '--to', folder, '--json'));
    taken = path;
    const replicas = (await cart.live()).members.filter((one) => one.role === 'replica');
    expect(rows.map((row: { from: string }) => row.from).sort()).toEqual(
      replicas.map((one) => one.name).sort(),
    );
    expect(rows.reduce((sum: number, row: { keys: number }) => sum + row.keys, 0)).toBe(before.keys);
    expect(readdirSync(taken).sort()).toEqual(['manifest.json', 'shard-1.rdb', 'shard-2.rdb', 'shard-3.rdb']);
    for (const name of readdirSync(taken)) expect(statSync(join(taken, name)).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual([taken.split('/').at(-1)]);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('taken twice within a second is two', async () => {
    const twice = [1, 2].map(() => cluster.must('backup', 'cart', '--to', folder, '--json'));
    const paths = (await Promise.all(twice)).map((out) => JSON.parse(out).path as string);
    expect(new Set(paths).size).toBe(2);
    for (const path of paths) rmSync(path, { recursive: true });
  });

  it('holds every write that was acknowledged before the command, while clients write on', async () => {
    const load = await writers(cart);
    const early = await writers(cart, 1);
    await until('some writes', async () => (await keys()) > 2 * before.keys + 200);
    const sure = await early.stop();
    const { path } = JSON.parse(await cluster.must('backup', 'cart', '--to', folder, '--json'));
    const { errors } = await load.stop();
    expect(errors).toEqual([]);
    await anew('mode: cluster');
    await cluster.must('restore', 'cart', path);
    expect(sure.acknowledged.length).toBeGreaterThan(0);
    expect(await lost(cart, sure)).toEqual([]);
  });

  it('of three shards goes into four: every key, type, value, end and function is the same', async () => {
    await anew('mode: cluster, shards: 4');
    await cluster.must('restore', 'cart', taken);
    expect(await fingerprint(cart)).toEqual(before);
    const { members } = await cart.live();
    for (const one of members) expect(one.keys).toBeGreaterThan(0);
    expect((await cluster.run(['plan'])).exit).toBe(0);
  });

  it('of four goes into three, and is refused where there are keys', async () => {
    const { path } = JSON.parse(await cluster.must('backup', 'cart', '--to', folder, '--json'));
    const { exit, out } = await cluster.run(['restore', 'cart', path]);
    expect(exit).toBe(1);
    expect(out).toMatch(/holds \d+ keys: restore is for an empty service/);
    await anew('mode: cluster');
    await cluster.must('restore', 'cart', path);
    expect(await fingerprint(cart)).toEqual(before);
    // Negative control: the proof sees one value more.
    const client = await cart.client();
    await client.hset('hash:3', 'f1', 'other');
    client.disconnect();
    expect((await fingerprint(cart)).sha256).not.toBe(before.sha256);
  });

  describe('that is not as it was taken is refused, and nothing is touched', () => {
    beforeAll(() => anew('mode: sentinel'));
    const spoilt = (spoil: (copy: string) => void): string => {
      const copy = join(mkdtempSync(join(folder, 'spoilt-')), 'backup');
      cpSync(taken, copy, { recursive: true });
      spoil(copy);
      return copy;
    };
    const flip = (path: string): void => {
      const bytes = readFileSync(path);
      bytes[bytes.length >> 1]! ^= 1;
      writeFileSync(path, bytes);
    };
    const edit = (copy: string, from: string, to: string): void => {
      const path = join(copy, 'manifest.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace(from, to));
    };

    it.each<[string, (copy: string) => void, RegExp]>([
      ['a bit turned', (copy) => flip(join(copy, 'shard-2.rdb')), /shard-2.rdb is damaged: its checksum/],
      [
        'a file cut off',
        (copy) => truncateSync(join(copy, 'shard-1.rdb'), 100),
        /shard-1.rdb is damaged: 100 bytes/,
      ],
      ['a file missing', (copy) => rmSync(join(copy, 'shard-3.rdb')), /shard-3.rdb is missing/],
      ['no manifest', (copy) => rmSync(join(copy, 'manifest.json')), /has no manifest.json: it is no backup/],
      ['a changed manifest', (copy) => edit(copy, '"cart"', '"tart"'), /was changed after it was written/],
    ])('%s', async (_, spoil, why) => {
      const { exit, out } = await cluster.run(['restore', 'cart', spoilt(spoil)]);
      expect(exit).toBe(1);
      expect(out).toMatch(why);
      expect(out).toContain('nothing of cart was changed');
      expect(await keys()).toBe(0);
    });

    it('one of another cluster, unless that is meant', async () => {
      const other = new TestCluster(readFileSync(cluster.file, 'utf8'));
      const { manifest } = await resealed(
        spoilt(() => {}),
        'elsewhere',
      );
      const { exit, out } = await other.run(['restore', 'cart', manifest]);
      expect(exit).toBe(1);
      expect(out).toContain('it is a backup of cart of cluster elsewhere');
      expect(await keys()).toBe(0);
      rmSync(other.folder, { recursive: true });
    });
  });

  it('goes from a cluster into one that Sentinel watches, and from there on into plain replication', async () => {
    await cluster.must('restore', 'cart', taken);
    expect(await fingerprint(cart)).toEqual(before);
    const { path, rows } = JSON.parse(await cluster.must('backup', 'cart', '--to', folder, '--json'));
    expect(rows).toMatchObject([{ role: 'replica' }]);
    // The copy left no trace: no sentinel took us for a replica.
    for (const one of (await cart.live()).sentinels) expect(one.replicas!.length).toBe(2);
    await anew('mode: replication');
    await cluster.must('restore', 'cart', path);
    expect(await fingerprint(cart)).toEqual(before);
  });

  it('killed half-way, the same restore goes on to the end; another backup is refused meanwhile', async () => {
    await anew('mode: replication');
    await fill(cart, 60_000);
    const whole = await fingerprint(cart);
    const { path } = JSON.parse(await cluster.must('backup', 'cart', '--to', folder, '--json'));
    await anew('mode: replication');
    const child = spawn(
      resolve(import.meta.dirname, '../../phalanx'),
      ['restore', 'cart', path, '-f', cluster.file],
      { stdio: 'ignore' },
    );
    const ended = once(child, 'close');
    await until('some keys are there', async () => (await keys()) > 0);
    child.kill('SIGKILL');
    await ended;
    const partly = await keys();
    expect(partly).toBeLessThan(3 * whole.keys);
    const { exit, out } = await cluster.run(['restore', 'cart', taken]);
    expect(exit).toBe(1);
    expect(out).toContain('of a restore of another backup that was cut off');
    await cluster.must('restore', 'cart', path);
    expect(await fingerprint(cart)).toEqual(whole);
  });

  it('that nobody named a place for outlives the cluster, its data and its secrets', async () => {
    const whole = await fingerprint(cart);
    const { path } = JSON.parse(await cluster.must('backup', 'cart', '--json'));
    expect(await cluster.must('down', '--purge')).toContain('its backups stay in ');
    const home = resolve(path, '../..');
    expect(readdirSync(home)).toEqual(['backups']);
    await cluster.must('up');
    await cart.session(true);
    await cluster.must('restore', 'cart', path);
    expect(await fingerprint(cart)).toEqual(whole);
    rmSync(join(home, 'backups'), { recursive: true });
  });
});

/** A copy of a backup that says it is of another cluster, and is otherwise whole. */
async function resealed(copy: string, name: string): Promise<{ manifest: string }> {
  const { parseManifest, sealed } = await import('../../src/engines/redis/backup/manifest.ts');
  const path = join(copy, 'manifest.json');
  const { seal: _, ...content } = parseManifest(readFileSync(path, 'utf8'));
  writeFileSync(path, sealed({ ...content, cluster: name }));
  return { manifest: copy };
}
