import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidOf } from '../../src/engines/storage/seats.ts';
import type { Cluster } from '../../src/file/cluster.ts';
import { LabHost } from '../../src/hosts/lab/lab.ts';
import { type Row, TestCluster, until } from './cluster.ts';

const at = '/run/phalanx/stotest/files';
const yaml = (hosts = 'data1, data2, data3', extra = ''): string => `
cluster: stotest
network: 10.167.40.0/24
hosts: { data1: {}, data2: {}, data3: {}, data4: {}, app1: {}, app2: {}, app3: {} }
services:
  files: { type: storage, hosts: [${hosts}], timing: fast${extra} }
  web:
    type: app
    hosts: [app1, app2, app3]
    uses: [files]
    port: 8080
    command: exec python3 -m http.server 8080 --directory "$FILES_PATH"
`;

const cluster = new TestCluster(yaml());
const run = promisify(execFile);
const known = {
  name: 'stotest',
  home: '/var/lib/phalanx/stotest',
  hosts: {},
} as Cluster;
/** Runs sh on a host as it runs there: in its own mounts. Gives what it printed; fails with what it said. */
async function on(host: string, script: string, timeoutMs = 60_000): Promise<string> {
  const { exit, text, stderr } = await new LabHost(known, host).run(script, { timeoutMs });
  if (exit !== 0) throw new Error(`${host}: exit ${exit}: ${stderr.trim()}`);
  return text.trim();
}
const folder = (host: string): string => `/var/lib/phalanx/stotest/hosts/${host}/members/files@${host}`;
const powerOff = (host: string): Promise<unknown> =>
  run('sh', ['-c', `kill -9 $(cat /var/lib/phalanx/stotest/hosts/${host}/init.pid)`]);
const cable = (host: string, state: 'up' | 'down'): Promise<unknown> =>
  run('ip', ['-n', 'phalanx.stotest', 'link', 'set', 'dev', host, state]);
const rows = async (): Promise<Row[]> =>
  (await cluster.status()).rows.filter((row) => row.service === 'files');
/** Says what is not, where it does not become so. */
const healthy = () =>
  until(
    'healthy',
    async () => {
      const { health, rows: seen } = await cluster.status();
      if (health === 'healthy') return true;
      throw new Error(JSON.stringify(seen.filter((row) => row.health !== 'ok')));
    },
    60_000,
  );
const planned = async (): Promise<string[]> => {
  const { out } = await cluster.run(['plan', '--json']);
  return (JSON.parse(out) as { steps: { id: string }[] }).steps.map(({ id }) => id);
};
/** What a brick holds of a file, on its host's own disk. */
const copy = (host: string, name: string): Promise<string> =>
  on(host, `cat ${folder(host)}/data/brick/${name}`);

/** What the machine itself has of GlusterFS: its state, its socket, its logs. */
const ofTheMachine = (): string[] =>
  ['/var/lib/glusterd', '/var/log/glusterfs', '/run/gluster', '/run/glusterd.socket'].flatMap((path) => [
    `${path} ${existsSync(path)}`,
    ...(existsSync(path) && !path.endsWith('socket') ? readdirSync(path).sort() : []),
  ]);
let before: string[] = [];

beforeAll(async () => {
  await cluster.run(['down', '--purge']);
  before = ofTheMachine();
  await cluster.must('up');
});
afterAll(() => cluster.remove());

describe('storage', () => {
  it('three copies and three mounts, the packaged service untouched, and up again has nothing to do', async () => {
    expect((await rows()).map(({ role }) => role)).toEqual([
      'copy',
      'copy',
      'copy',
      'mount',
      'mount',
      'mount',
    ]);
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
    // The machine's own folders of GlusterFS hold nothing of the lab's, and nothing is mounted in the machine itself.
    expect(ofTheMachine()).toEqual(before);
    expect(existsSync(at)).toBe(false);
  });

  it('what app1 writes is read on app2 and app3, by the app itself as well', async () => {
    await on('app1', `echo one >${at}/first && mkdir ${at}/folder && echo two >${at}/folder/second`);
    for (const host of ['app2', 'app3']) {
      expect(await on(host, `cat ${at}/first ${at}/folder/second`)).toBe('one\ntwo');
      expect(await on(host, 'curl -s http://127.0.0.1:8080/first')).toBe('one');
    }
    await on('app3', `echo more >>${at}/first`);
    expect(
      await until('app1 sees it', async () => (await on('app1', `cat ${at}/first`)) === 'one\nmore'),
    ).toBe(true);
    for (const host of ['data1', 'data2', 'data3']) expect(await copy(host, 'first')).toBe('one\nmore');
  });

  it('the negative control: a folder that is not the shared one is not the same elsewhere', async () => {
    await on('app1', 'mkdir -p /run/own && echo mine >/run/own/file');
    await expect(on('app2', 'cat /run/own/file')).rejects.toThrow('No such file');
  });

  it('a lock that app1 holds is one that app2 does not get', async () => {
    await on('app1', 'mkfifo /run/gate');
    const held = on('app1', `flock ${at}/lock sh -c ': >/run/held; read -r go </run/gate'`);
    await until('app1 has it', () => on('app1', '[ -e /run/held ]').then(() => true));
    await expect(on('app2', `flock -n ${at}/lock true`)).rejects.toThrow('exit 1');
    await on('app1', 'echo go >/run/gate');
    await held;
    await on('app2', `flock -n ${at}/lock true`);
  });

  it('a mount that dies is mounted again by itself', async () => {
    await on('app2', `s6-svc -k /var/lib/phalanx/stotest/hosts/app2/scan/files.mount@app2`);
    await until('mounted again', async () => (await on('app2', `cat ${at}/folder/second`)) === 'two');
  });

  it('without the mount nothing can be written in its place', async () => {
    await on('app3', `s6-svc -wD -T 10000 -d /var/lib/phalanx/stotest/hosts/app3/scan/files.mount@app3`);
    await expect(on('app3', `echo lost >${at}/lost`)).rejects.toThrow('Read-only file system');
    expect((await rows()).find(({ name }) => name === 'files.mount@app3')).toMatchObject({
      health: 'down',
    });
    await cluster.must('up');
    expect(await on('app3', `cat ${at}/first`)).toBe('one\nmore');
  });

  it('a data host without power: reads and writes go on; up brings it back, and it is healed', async () => {
    await powerOff('data2');
    for (const n of [1, 2, 3, 4, 5]) await on('app1', `echo ${n} >${at}/off${n} && sync ${at}/off${n}`);
    expect(await on('app2', `cat ${at}/off*`)).toBe('1\n2\n3\n4\n5');
    const found = await rows();
    expect(found.find(({ name }) => name === 'files@data2')).toMatchObject({ health: 'down' });
    expect(found.find(({ name }) => name === 'files.mount@app1')).toMatchObject({
      health: 'degraded',
      facts: { copies: '2/3' },
    });
    expect(await cluster.must('up')).toContain('serve files');
    for (const n of [1, 2, 3, 4, 5]) expect(await copy('data2', `off${n}`)).toBe(String(n));
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('a data host without its cable: writes go on after the ping timeout, and it is healed by itself', async () => {
    await cable('data3', 'down');
    await on('app1', `echo cut >${at}/cut && sync ${at}/cut`);
    expect(await on('app2', `cat ${at}/cut`)).toBe('cut');
    await expect(copy('data3', 'cut')).rejects.toThrow('No such file');
    await cable('data3', 'up');
    await until('healed', async () => (await copy('data3', 'cut')) === 'cut', 60_000);
    await healthy();
  });

  it('a killed brick is noticed, and started and healed by up', async () => {
    await on('data1', 'kill -9 $(pidof glusterfsd)');
    await on('app2', `echo without >${at}/without && sync ${at}/without`);
    const row = await until('noticed', async () =>
      (await rows()).find(({ name, health }) => name === 'files@data1' && health === 'down'),
    );
    expect(row.why).toContain('its brick does not run');
    expect(await planned()).toEqual(['serve files']);
    await cluster.must('up');
    expect(await copy('data1', 'without')).toBe('without');
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('most copies lost: reads and writes are refused, status says so, and they are back with the second copy', async () => {
    await Promise.all([powerOff('data1'), powerOff('data3')]);
    await until('refused', () =>
      on('app1', `echo no >${at}/refused`).then(
        () => false,
        () => true,
      ),
    );
    const found = await until('status says so', async () => {
      const now = await rows();
      return now.find(({ name }) => name === 'files.mount@app1')?.why?.includes('quorum lost')
        ? now
        : undefined;
    });
    expect(found.find(({ name }) => name === 'files.mount@app1')).toMatchObject({ health: 'down' });
    expect(found.find(({ name }) => name === 'files@data2')?.why).toMatch(
      /quorum lost: \d of 3 copies are there and 2 are needed: reads and writes are refused/,
    );
    await cluster.must('up');
    await on('app1', `echo yes >${at}/back`);
    expect(await on('app3', `cat ${at}/back`)).toBe('yes');
    await expect(on('app3', `cat ${at}/refused`)).rejects.toThrow('No such file');
    await healthy();
  });

  it('a lost disk: the host takes its place again, and its copy is made anew', async () => {
    await powerOff('data3');
    await run('rm', ['-rf', folder('data3')]);
    await on('app1', `echo new >${at}/first && sync ${at}/first`);
    await cluster.must('up');
    expect(await copy('data3', 'first')).toBe('new');
    expect(await copy('data3', 'folder/second')).toBe('two');
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('a change of timing restarts one glusterd after the other, and a writer sees no error', async () => {
    const writer = on(
      'app1',
      `set -e; n=0; while [ ! -e /run/enough ]; do n=$((n + 1)); echo $n >${at}/roll && sync ${at}/roll; done; echo $n`,
    );
    cluster.write(yaml().replace('fast', 'default'));
    await cluster.must('up');
    await on('app1', 'touch /run/enough');
    const last = await writer;
    for (const host of ['data1', 'data2', 'data3']) expect(await copy(host, 'roll')).toBe(last);
  });

  it('with the default timing up leaves mounts alone that only wait for a silent data host: files stay open in them', async () => {
    const holder = on(
      'app1',
      `exec 3>${at}/held; until [ -e /run/release ]; do sleep 0.2; done; echo kept >&3 && sync ${at}/held`,
      280_000,
    );
    await until('it is open', async () => (await on('app1', `ls ${at}/held`)).length > 0);
    await cable('data3', 'down');
    const slow = on('app1', `echo slow >${at}/slow`, 120_000);
    await cluster.run(['up']);
    await cable('data3', 'up');
    await on('app1', 'touch /run/release');
    await Promise.all([holder, slow]);
    expect(await on('app2', `cat ${at}/held`)).toBe('kept');
    cluster.write(yaml());
    await cluster.must('up');
    await healthy();
  }, 300_000);

  it('another host takes a copy in the place of one that leaves; the file has it, status shows it', async () => {
    cluster.write(yaml('data1, data2, data4'));
    await cluster.must('up');
    expect(await copy('data4', 'first')).toBe('new');
    expect((await rows()).map(({ name }) => name)).not.toContain('files@data3');
    expect(await on('data1', `${folder('data1')}/gluster pool list`)).not.toMatch(/data3|10\.167\.40\.13/);
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('a host that is dead for good is replaced, with what was written since', async () => {
    await powerOff('data4');
    await on('app1', `echo since >${at}/since && sync ${at}/since`);
    const without = yaml('data1, data2, data3').replace('data4: {}, ', '');
    cluster.write(without);
    await cluster.must('up');
    for (const name of ['since', 'first'])
      expect(await copy('data3', name)).toBe(name === 'since' ? 'since' : 'new');
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('a copy that lacks something is not the one that is kept', async () => {
    await cable('data1', 'down');
    await on('app1', `echo later >${at}/later && sync ${at}/later`);
    // Nobody heals it meanwhile.
    await on('data2', `${folder('data2')}/gluster volume set files cluster.self-heal-daemon off`);
    await cable('data1', 'up');
    cluster.write(yaml('data1'));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toContain('entries that a copy on data1 lacks yet');
    // Until then three copies are what they were.
    const option = `${folder('data2')}/gluster volume get files cluster.server-quorum-type`;
    expect(await on('data2', option)).toMatch(/server-quorum-type\s+server/);
    await on('data2', `${folder('data2')}/gluster volume set files cluster.self-heal-daemon on`);
    await cluster.must('up');
    expect(await copy('data1', 'later')).toBe('later');
    cluster.write(yaml());
    await cluster.must('up');
  }, 400_000);

  it('one copy, then three again', async () => {
    cluster.write(yaml('data1'));
    await cluster.must('up');
    expect(await on('app2', `cat ${at}/first`)).toBe('new');
    expect((await rows()).filter(({ role }) => role === 'copy')).toHaveLength(1);
    cluster.write(yaml());
    await cluster.must('up');
    for (const host of ['data2', 'data3']) expect(await copy(host, 'first')).toBe('new');
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('a host that is still in the pool after it left is told, and the next up takes it out', async () => {
    // As an up that was killed between the last copy and the pool leaves it: a member of the pool without a brick, and dead.
    const uuid = uuidOf({ name: 'files' }, known, 'data4');
    const address = await on('data4', `hostname -I | cut -d' ' -f1`);
    const peer = `uuid=${uuid}\\nstate=3\\nhostname1=${address}\\n`;
    await on(
      'data1',
      `printf '${peer}' >${folder('data1')}/data/state/peers/${uuid} && s6-svc -r ${folder('data1')}/service`,
    );
    await until('status says so', async () =>
      (await rows()).find(({ name }) => name === 'files@data1')?.why?.startsWith('data4 left, and counts'),
    );
    await cluster.must('up');
    expect(await on('data1', `${folder('data1')}/gluster pool list`)).not.toContain(uuid);
    await healthy();
    expect(await cluster.must('up')).toContain('nothing to do');
  });

  it('hosts that are all new are refused, and those that have the data go on', async () => {
    cluster.write(yaml('data4'));
    const { exit, out } = await cluster.run(['up']);
    expect(exit).toBe(1);
    expect(out).toMatch(/leave one (of them )?in the file/);
    expect(await on('app1', `cat ${at}/first`)).toBe('new');
    for (const host of ['data1', 'data2', 'data3'])
      expect(await on(host, `s6-svstat -o up ${folder(host)}/service`)).toBe('true');
    cluster.write(yaml());
    await cluster.must('up');
    await healthy();
  });

  it('down takes every process and mount; up again has the files', async () => {
    await cluster.must('down');
    const { stdout } = await run('sh', [
      '-c',
      'grep -lsz PHALANX_FOLDER=/var/lib/phalanx/stotest /proc/[0-9]*/environ || :',
    ]);
    expect(stdout).toBe('');
    await cluster.must('up');
    expect(await on('app3', `cat ${at}/first ${at}/folder/second`)).toBe('new\ntwo');
    await healthy();
  });
});
