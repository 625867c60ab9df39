import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Member } from '../../engines/engine.ts';
import { machine } from '../machine.ts';
import { observeScript, parseObserved } from './observe.ts';
import { asOwner } from './owner.ts';
import { releaseFragment } from './release.ts';
import { writeFragment } from './write.ts';

// Some dozens of processes each: quick, but not on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

/** Who the service runs as; it has been taken over. */
const taken = 65534;
const asRoot = process.getuid?.() === 0;

const web: Member = {
  name: 'web@app1',
  service: 'web',
  host: 'app1',
  command: 'node server.ts',
  env: { SECRET: 'word' },
  files: [{ path: 'conf/web.conf', content: 'x', mode: 0o644, onChange: 'restart' }],
  limits: {},
  ports: [],
  stop: { signal: 'TERM', timeoutMs: 10_000 },
  data: [],
  kind: 'app',
};

/** A machine's folders, the member's own in the hands of the service, and a place that is only root's. */
function places(): { root: string; folder: string; roots: string; owned(script: string): void } {
  const root = mkdtempSync(join(tmpdir(), 'phalanx-owner-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  chmodSync(root, 0o755);
  const folder = join(root, 'members', web.name);
  const roots = join(root, 'etc');
  mkdirSync(folder, { recursive: true });
  chownSync(folder, taken, taken);
  mkdirSync(roots);
  writeFileSync(join(roots, 'run'), 'as it was');
  return {
    root,
    folder,
    roots,
    owned(script) {
      execFileSync('setpriv', [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        '--',
        'sh',
        '-euc',
        `cd '${folder}'; ${script}`,
      ]);
    },
  };
}

/** Everything that can be told of what is only root's. */
const told = (folder: string) =>
  readdirSync(folder).map((name) => {
    const { uid, mode } = statSync(join(folder, name));
    return [name, uid, mode, readFileSync(join(folder, name), 'utf8')];
  });

test.runIf(asRoot)('what is written is the owner’s, secrets for nobody else', async () => {
  const { root, folder } = places();
  const { exit, stderr } = await machine.run(writeFragment(web, root, web.files));
  expect([exit, stderr]).toEqual([0, '']);
  for (const path of ['env', 'conf/web.conf', 'service/run'])
    expect(statSync(join(folder, path)).uid).toBe(taken);
  expect(statSync(join(folder, 'env')).mode & 0o777).toBe(0o600);
  expect((await machine.run(asOwner(web, root, 'id -u; id -g; echo "$0"'))).text).toBe(
    `${taken}\n${taken}\nsh`,
  );
});

test.runIf(asRoot).each([
  ['a draft', 'ln -s ROOTS/run env.phalanx-new'],
  ['the draft of the list', 'ln -s ROOTS/run files.phalanx-new'],
  ['the list', 'printf "../../etc/run\\n" >files.list'],
  ['a folder', 'ln -s ROOTS service'],
  ['the folder of a file', 'ln -s ROOTS conf'],
  ['the folder of releases', 'ln -s ROOTS release'],
  ['the file of a release', 'mkdir release; ln -s ROOTS/run release/.abc.new.tar'],
  ['what counts deaths', 'ln -s ROOTS/run restarts'],
])('%s that a service planted leads root nowhere', async (_what, plant) => {
  const { root, roots, owned } = places();
  const before = told(roots);
  owned(plant.replaceAll('ROOTS', roots));
  const tar = execFileSync('tar', ['-C', roots, '-cf', '-', 'run']).toString('base64');
  const write = `( ${releaseFragment({ ...web, release: 'web' }, root, 'abc', { base64: tar })} )
( ${writeFragment(web, root, web.files)} )
${asOwner(web, root, `cd '${root}/members/${web.name}' && echo 0 >restarts`)}`;
  await machine.run(write);
  expect(told(roots)).toEqual(before);
});

test.runIf(asRoot)(
  'what a service wrote is believed only of itself, and holds nobody up',
  { tags: ['long'] },
  async () => {
    const { root, owned } = places();
    await machine.run(writeFragment(web, root, web.files));
    owned(`printf '%s' 'ab","member":"other@app1","x":"' >running
mkfifo restarts conf/pipe
: >'q","member":"other@app1'
mkdir -p 'release/r","member":"other@app1' release/abc
# A name with what other tools take for the end of a line.
line="odd$(printf '\\342\\200\\250')${'0'.repeat(64)}  ${web.name}/service/run"
mkdir -p "\${line%/*}"
: >"$line"
long=$(printf %0600d 0)
{
  printf '%s\\n' conf/pipe 'q","member":"other@app1' "$line"
  for i in $(seq 4000); do printf '%s\\n' "$long"; done
  echo conf/web.conf
} >files.list`);
    const answer = await machine.run(observeScript(root, []), { timeoutMs: 30_000 });
    const { members } = parseObserved('app1', answer);
    expect(members.map(({ name }) => name)).toEqual([web.name]);
    expect(members[0]!.runningHash).toBeUndefined();
    expect(Object.keys(members[0]!.files)).toEqual(['q","member":"other@app1', 'conf/web.conf']);
    expect(members[0]!.own!['service/run']).not.toBe('0'.repeat(64));
    expect(members[0]!.releases).toEqual(['abc']);
  },
);

test('a lab host, whose members are all root’s, is not asked who owns what', () => {
  expect(asOwner(web, '/var/lib/phalanx/shop/hosts/app1', 'x')).toBe('(\nx\n)');
});
