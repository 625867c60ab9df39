import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { removeSteps, unknownMember } from '../../src/cluster/members.ts';
import type { HostSetting, Member, MemberState, Step } from '../../src/engines/engine.ts';
import type { Cluster } from '../../src/file/cluster.ts';
import type { Host, RunResult } from '../../src/hosts/host.ts';
import { powerOff, powerOn } from '../../src/hosts/lab/faults.ts';
import { Lab } from '../../src/hosts/lab/lab.ts';
import { reachOf } from '../../src/hosts/reach.ts';
import {
  diedFragment,
  hupFragment,
  logFolder,
  memberFolder,
  observeScript,
  parseObserved,
  releaseFragment,
  removeFragment,
  restartFragment,
  restartHash,
  startFragment,
  stepScript,
  stopFragment,
  writeFragment,
} from '../../src/hosts/supervise.ts';
import { build, member, smallCluster, succeeded, until } from './small-cluster.ts';

let cluster: Cluster;
let host: Host;
let root: string;

beforeAll(async () => {
  cluster = smallCluster('hbsup', 10, ['a']);
  await build(cluster);
  host = reachOf(cluster).host('a');
  root = cluster.hosts['a']!.root;
});

afterAll(async () => {
  await new Lab().destroy(cluster, { purge: true });
  rmSync(cluster.home, { recursive: true, force: true });
});

const run = (...scripts: string[]): Promise<RunResult> =>
  succeeded(
    host.run(stepScript(scripts.map((script, at) => ({ id: `step ${at}`, script })))).then((result) => ({
      ...result,
      stderr: `${result.stderr}${JSON.stringify(result.lines)}`,
    })),
    'steps',
  );

async function observe(settings: HostSetting[] = []): Promise<ReturnType<typeof parseObserved>> {
  return parseObserved('a', await succeeded(host.run(observeScript(root, settings)), 'observe'));
}

async function stateOf(one: Member): Promise<MemberState | undefined> {
  return (await observe()).members.find(({ name }) => name === one.name);
}

async function begin(one: Member): Promise<MemberState> {
  await run(writeFragment(one, root, one.files), startFragment(one, root));
  return (await stateOf(one))!;
}

const logged = (one: Member): string => readFileSync(`${logFolder(one, root)}/current`, 'utf8');
/** Waits until the member has said so. */
const said = (one: Member, words: string): Promise<string> =>
  until(
    `${one.name} says ${words}`,
    () => logged(one),
    (log) => log.includes(words),
  );

test('a member that is killed is back, with its death counted; stopped, it stays down over a reboot of its host', async () => {
  const web = member('web@a', 'sleep 1000');
  const first = await begin(web);
  expect(first).toMatchObject({ running: true, restarts: 0, runningHash: restartHash(web) });
  await host.run(`kill -9 ${first.pid}`);
  const second = await until(
    'it is back',
    () => stateOf(web),
    (state) => state!.running && state!.pid !== first.pid,
  );
  expect(second!.restarts).toBe(1);

  await powerOff(cluster, 'a');
  await powerOn(cluster, 'a');
  await until(
    'it is back after a boot',
    () => stateOf(web),
    (state) => state!.running,
  );

  await run(stopFragment(web, root));
  expect((await stateOf(web))!.running).toBe(false);
  await powerOff(cluster, 'a');
  await powerOn(cluster, 'a');
  expect((await stateOf(web))!.running).toBe(false);
  await run(startFragment(web, root));
  expect(await stateOf(web)).toMatchObject({ running: true, restarts: 0 });
  await run(stopFragment(web, root), stopFragment(web, root));
});

test('what it is started with: environment, folder, limits, log; nothing of it in an argument list', async () => {
  const one = member('env@a', `sh -c 'echo "$ODD"; pwd; ulimit -n; exec sleep 1000'`, {
    env: { ODD: `it's "odd" $HOME \\ \`x\`` },
    files: [{ path: 'sub/dir/x.conf', content: 'x', mode: 0o644, onChange: 'restart' }],
    cwd: 'sub/dir',
    limits: { openFiles: 777 },
  });
  await begin(one);
  const text = await until(
    'it has spoken',
    () => logged(one),
    (log) => log.split('\n').length > 3,
  );
  const lines = text.trimEnd().split('\n');
  expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ {2}it's "odd" \$HOME \\ `x`$/);
  expect(lines.slice(1).map((line) => line.split('  ')[1])).toEqual([
    `${memberFolder(one, root)}/sub/dir`,
    '777',
  ]);
  expect(statSync(`${memberFolder(one, root)}/env`).mode & 0o777).toBe(0o600);
  await run(stopFragment(one, root));
});

test('more open files than the machine allows is a sentence, and what runs goes on', async () => {
  const one = member('files@a', 'sleep 1000');
  const before = await begin(one);
  // Above fs.nr_open of every Linux as it comes: not even root may.
  const greedy = { ...one, limits: { openFiles: 2_000_000_000 } };
  const { lines } = await host.run(
    stepScript([{ id: 'write', script: writeFragment(greedy, root, greedy.files) }]),
  );
  expect(JSON.stringify(lines)).toMatch(
    /files@a: files: 2000000000 is more than this machine lets a process open \(\d+\)/,
  );
  expect(await stateOf(one)).toEqual(before);
  await run(stopFragment(one, root));
});

test('the memory limit ends a process that takes more, and node lives within it', async () => {
  const limits = { memory: 256 * 1024 * 1024 };
  const grab = (size: string) =>
    `${process.execPath} -e 'const x = Buffer.alloc(${size}, 1); console.log("got", x.length); setInterval(() => {}, 1e6)'`;
  const modest = member('modest@a', grab('64e6'), { limits });
  const greedy = member('greedy@a', grab('600e6'), { limits });
  await run(
    writeFragment(modest, root, []),
    startFragment(modest, root),
    writeFragment(greedy, root, []),
    startFragment(greedy, root),
  );
  await said(modest, 'got 64000000');
  await until(
    'the greedy one dies',
    () => stateOf(greedy),
    (state) => state!.restarts! > 0,
  );
  expect(logged(greedy)).not.toContain('got');
  expect(logged(greedy)).not.toContain('not in force');
  await run(stopFragment(modest, root), stopFragment(greedy, root));
  const groups = () =>
    execFileSync('sh', ['-c', 'ls /sys/fs/cgroup/memory /sys/fs/cgroup'], { encoding: 'utf8' });
  expect(groups()).not.toMatch(/phalanx-\w+-(modest|greedy)@a/);
  await run(startFragment(modest, root));
  // Its process is there before it has gone into its group.
  await until(
    'the group is made again',
    async () => groups(),
    (found) => /phalanx-\w+-modest@a/.test(found),
  );
  await powerOff(cluster, 'a');
  expect(groups()).not.toMatch(/phalanx-\w+-modest@a/);
  await powerOn(cluster, 'a');
  await run(stopFragment(modest, root));
});

test('secrets are never readable for others, files that are no longer wanted go, strange content arrives unharmed', async () => {
  const content = `a\0b\n'quote' $(rm -rf x) PHALANX_FILE\nPHALANX_FILE\n\u{1f600} no newline at the end`;
  const one = member('files@a', 'sleep 1000', {
    files: [
      { path: 'conf/secret', content: 'hush', mode: 0o644, onChange: 'nothing', secret: true },
      { path: 'odd name', content, mode: 0o640, onChange: 'restart' },
    ],
  });
  await run(writeFragment(one, root, one.files));
  const folder = memberFolder(one, root);
  expect(statSync(`${folder}/conf/secret`).mode & 0o777).toBe(0o600);
  expect(statSync(`${folder}/odd name`).mode & 0o777).toBe(0o640);
  expect(readFileSync(`${folder}/odd name`, 'utf8')).toBe(content);
  const sum = execFileSync('sha256sum', [`${folder}/odd name`], { encoding: 'utf8' }).slice(0, 64);
  expect((await stateOf(one))!.files['odd name']).toBe(sum);
  expect(Object.keys((await stateOf(one))!.files).sort()).toEqual(['conf/secret', 'odd name']);

  const fewer = { ...one, files: [one.files[1]!] };
  await run(writeFragment(fewer, root, []));
  expect(existsSync(`${folder}/conf/secret`)).toBe(false);
  expect((await stateOf(one))!.files).toEqual({ 'odd name': sum });
});

test('stopping is graceful for as long as it was given, then it is not; orphans go with it', async () => {
  const polite = member(
    'polite@a',
    `sh -c 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done'`,
  );
  await begin(polite);
  await said(polite, 'up');
  await run(stopFragment(polite, root));
  await said(polite, 'bye');

  const deaf = member(
    'deaf@a',
    `sh -c 'trap "" TERM; setsid sleep 4712 & (sleep 4713 &) ; echo up; while :; do sleep 0.05; done'`,
    {
      stop: { signal: 'TERM', timeoutMs: 300 },
    },
  );
  await begin(deaf);
  await said(deaf, 'up');
  const orphans = async () => (await host.run('ps -e -o args= | grep -c "^sleep 471[23]"')).text;
  expect(await orphans()).toBe('2');
  const began = performance.now();
  await run(stopFragment(deaf, root));
  expect(performance.now() - began).toBeGreaterThan(250);
  expect(await orphans()).toBe('0');
});

test('a member that leaves has the time to stop that it was given, which the file no longer tells', async () => {
  const slow = member(
    'slow@a',
    `sh -c 'trap "sleep 22; echo ended; exit 0" TERM; echo up; while :; do sleep 0.05; done'`,
    {
      stop: { signal: 'TERM', timeoutMs: 25_000 },
    },
  );
  await begin(slow);
  await said(slow, 'up');
  const [stop, remove] = removeSteps(unknownMember(slow.name), 'a', root, { why: 'it left', purge: false });
  const text = (step: Step): string => (step.do.kind === 'script' ? step.do.script : '');
  const timeoutMs = stop!.do.kind === 'script' ? stop!.do.timeoutMs : 0;
  const stopped = await host.run(stepScript([{ id: 'stop', script: text(stop!) }]), { timeoutMs });
  expect(stopped.lines.at(-1)).toEqual({ step: 'stop', state: 'done' });
  await said(slow, 'ended');
  await run(text(remove!));
  expect(await stateOf(slow)).toBeUndefined();
});

test('an orphan of a member that was killed does not keep its port from the next one', async () => {
  const command = `bash -c '${process.execPath} -e "require(\\"net\\").createServer().listen(7000, () => console.log(\\"listening\\"))" & wait'`;
  const one = member('port@a', command);
  const { pid } = await begin(one);
  const listens = () => logged(one).split('listening').length - 1;
  await until('it listens', listens, (times) => times === 1);
  await host.run(`kill -9 ${pid}`);
  await until('it listens again', listens, (times) => times === 2);
  expect(logged(one)).not.toContain('EADDRINUSE');
  await run(stopFragment(one, root));
});

test('a change takes effect by restart, and the hash says what runs; a hang-up goes to the process', async () => {
  const one = member('change@a', `sh -c 'trap "echo hup" HUP; echo one; while :; do sleep 0.05; done'`);
  const before = await begin(one);
  await said(one, 'one');
  await run(hupFragment(one, root));
  await said(one, 'hup');
  const next = { ...one, command: one.command.replace('echo one', 'echo two') };
  await run(writeFragment(next, root, []));
  expect(await stateOf(one)).toMatchObject({ pid: before.pid, runningHash: restartHash(one) });
  await run(restartFragment(next, root));
  const after = await stateOf(one);
  expect(after).toMatchObject({ running: true, restarts: 0, runningHash: restartHash(next) });
  expect(after!.pid).not.toBe(before.pid);
  await run(stopFragment(next, root));
  const { exit, lines } = await host.run(stepScript([{ id: 'reload', script: hupFragment(next, root) }]));
  expect(exit).toBe(1);
  expect(lines.at(-1)).toMatchObject({
    state: 'failed',
    stderr: expect.stringContaining('change@a does not run'),
  });
});

test('a member that dies at once is reported with the last lines of its log', async () => {
  const one = member('crash@a', `sh -c 'for n in 1 2 3 4 5 6 7; do echo "line $n"; done; exit 3'`);
  await run(writeFragment(one, root, []), startFragment(one, root));
  await until(
    'it died',
    () => stateOf(one),
    (state) => state!.restarts! > 0,
  );
  const { exit, stderr } = await host.run(diedFragment(one, root));
  expect(exit).toBe(1);
  expect(stderr).toMatch(/^crash@a dies after its start: \d+ times so far/);
  expect(stderr.match(/line \d/g)).toEqual(['line 3', 'line 4', 'line 5', 'line 6', 'line 7']);
  await run(removeFragment(one, root, { purge: true }));
  const steady = member('steady@a', 'sleep 1000');
  await begin(steady);
  expect((await host.run(diedFragment(steady, root))).exit).toBe(0);
  await run(stopFragment(steady, root));
});

test('removal keeps data, and only data; purge nothing; both may be repeated', async () => {
  const one = member(
    'gone@a',
    `sh -c 'mkdir -p data/deep other; echo x >data/deep/x; echo y >other/y; exec sleep 1000'`,
    {
      data: ['data/', 'log'],
    },
  );
  const { pid } = await begin(one);
  const folder = memberFolder(one, root);
  await until('it wrote', () => existsSync(`${folder}/other/y`), Boolean);
  await run(removeFragment(one, root, { purge: false }), removeFragment(one, root, { purge: false }));
  expect(execFileSync('ls', ['-A', folder], { encoding: 'utf8' })).toBe('data\nlog\n');
  expect(readFileSync(`${folder}/data/deep/x`, 'utf8')).toBe('x\n');
  expect((await host.run(`kill -0 ${pid}`)).exit).not.toBe(0);
  expect((await host.run('ps -e -o args= | grep "[s]upervise gone@a"')).text).toBe('');
  expect(await stateOf(one)).toBeUndefined();
  await begin(one);
  await run(removeFragment(one, root, { purge: true }), removeFragment(one, root, { purge: true }));
  expect(existsSync(folder)).toBe(false);
});

test('releases: unpacked once, switched at once, the three newest kept', async () => {
  const one = member('rel@a', 'cat current/version', { release: 'rel' });
  const tar = (version: string): string => {
    const folder = `${cluster.home}/src-${version}`;
    mkdirSync(folder);
    writeFileSync(`${folder}/version`, version);
    execFileSync('tar', ['-czf', `${folder}.tar`, '-C', folder, '.']);
    return `${folder}.tar`;
  };
  await run(writeFragment(one, root, []));
  for (const version of ['v1', 'v2', 'v3', 'v4']) {
    await run(releaseFragment(one, root, version, { path: tar(version) }));
    expect(readFileSync(`${memberFolder(one, root)}/current/version`, 'utf8')).toBe(version);
  }
  const base64 = readFileSync(tar('v5')).toString('base64');
  await run(
    releaseFragment(one, root, 'v5', { base64 }),
    releaseFragment(one, root, 'v3', { path: '/not/needed' }),
  );
  expect(readFileSync(`${memberFolder(one, root)}/current/version`, 'utf8')).toBe('v3');
  expect(execFileSync('ls', ['-A', `${memberFolder(one, root)}/release`], { encoding: 'utf8' })).toBe(
    'v3\nv4\nv5\n',
  );
});

test('settings and facts are told with the members, in one script', async () => {
  const setting = (title: string, check: string): HostSetting => ({
    host: 'a',
    service: 's',
    title,
    check,
    apply: '',
    undo: '',
  });
  const { settings, facts } = await observe([
    setting(`it's "so"`, 'x=1; [ $x = 1 ]'),
    setting('it is not', 'echo noise; exit 7'),
    setting('it reads', 'read -r x'),
  ]);
  expect(settings).toEqual({ [`it's "so"`]: true, 'it is not': false, 'it reads': false });
  expect(facts.kernel).toBe(execFileSync('uname', ['-r'], { encoding: 'utf8' }).trim());
  expect(facts.memory).toBeGreaterThan(100e6);
});

test('writing killed anywhere leaves each file whole, and writing again completes it', async () => {
  const one = member('torn@a', 'sleep 1000', {
    files: Array.from({ length: 40 }, (_, at) => ({
      path: `f${at}`,
      content: `${at}`.repeat(5_000),
      mode: 0o644,
      onChange: 'restart' as const,
    })),
  });
  const script = stepScript([{ id: 'write', script: writeFragment(one, root, one.files) }]);
  for (const ms of [5, 20, 40, 60]) {
    await host.run(script, { timeoutMs: ms }).catch(() => {});
    for (const { path, content } of one.files) {
      const file = `${memberFolder(one, root)}/${path}`;
      if (existsSync(file)) expect(readFileSync(file, 'utf8')).toBe(content);
    }
    rmSync(memberFolder(one, root), { recursive: true, force: true });
  }
  await host.run(script, { timeoutMs: 30 }).catch(() => {});
  await succeeded(host.run(script), 'write');
  expect(Object.keys((await stateOf(one))!.files)).toHaveLength(40);
});
