import { expect, test } from 'vitest';
import type { Member } from '../engines/engine.ts';
import { machine } from './machine.ts';
import { parseObserved, releaseFragment, restartHash, stepScript, writeFragment } from './supervise.ts';

const web: Member = {
  name: 'web@app1',
  service: 'web',
  host: 'app1',
  command: 'node server.ts',
  env: { A: '1', B: '2' },
  files: [{ path: 'web.conf', content: 'x', mode: 0o644, onChange: 'restart' }],
  limits: {},
  ports: [],
  stop: { signal: 'TERM', timeoutMs: 10_000 },
  data: [],
  kind: 'app',
};

test('the hash of a restart follows all that needs one, and nothing else', () => {
  const same = restartHash(web);
  const file = (more: object) => restartHash({ ...web, files: [{ ...web.files[0]!, ...more }] });
  expect(restartHash({ ...web, env: { B: '2', A: '1' } })).toBe(same);
  expect(restartHash({ ...web, stop: { signal: 'INT', timeoutMs: 1 } })).toBe(same);
  expect(file({ onChange: 'hup', content: 'y' })).toBe(file({ onChange: 'hup' }));
  expect(file({ owned: 'engine', content: 'y' })).toBe(file({ owned: 'engine' }));
  const changed = [
    restartHash({ ...web, command: 'node other.ts' }),
    restartHash({ ...web, env: { A: '1' } }),
    restartHash({ ...web, cwd: 'current' }),
    restartHash({ ...web, limits: { memory: 1 } }),
    restartHash({ ...web, limits: { openFiles: 1 } }),
    restartHash(web, 'release'),
    file({ content: 'y' }),
  ];
  expect(new Set([same, ...changed]).size).toBe(8);
});

test("a file can neither leave the member's folder nor take the supervisor's place", () => {
  for (const path of [
    '../x',
    '/etc/passwd',
    'a/../../x',
    'a//b',
    'a\nb',
    '',
    'env',
    'service/run',
    'log/x',
    'ended',
    'current',
  ]) {
    const bad = { ...web, files: [{ ...web.files[0]!, path }] };
    expect(() => writeFragment(bad, '/r', []), path).toThrow('web@app1: a file of a member cannot be called');
  }
  expect(() => writeFragment({ ...web, env: { 'A B': '1' } }, '/r', [])).toThrow('A B is no name');
  expect(() => releaseFragment(web, '/r', '../x', { path: '/x' })).toThrow('no hash of a release');
});

test('steps are told as they go; a failed one stops only those that need it', async () => {
  const { exit, lines } = await machine.run(
    stepScript([
      { id: 'one', script: `x=1; cat; echo '{"own":"line"}'` },
      { id: 'it\'s "two"', script: `printf 'a\\tb"\\\\\\n\\001c' >&2; exit 3` },
      { id: 'three', script: 'echo never', needs: ['it\'s "two"', 'elsewhere'] },
      { id: 'four', script: 'echo never', needs: ['three'] },
      {
        id: 'five',
        script: `set -e\n[ "\${x-unset}" = unset ]\ncat <<'E' >/dev/null\n}\nE\n`,
        needs: ['one'],
      },
      { id: 'six', script: 'set -e\nfalse\necho never' },
    ]),
  );
  expect(exit).toBe(1);
  expect(lines).toEqual([
    { step: 'one', state: 'start' },
    { own: 'line' },
    { step: 'one', state: 'done' },
    { step: 'it\'s "two"', state: 'start' },
    { step: 'it\'s "two"', state: 'failed', stderr: 'a\tb"\\\nc' },
    { step: 'three', state: 'skipped' },
    { step: 'four', state: 'skipped' },
    { step: 'five', state: 'start' },
    { step: 'five', state: 'done' },
    { step: 'six', state: 'start' },
    { step: 'six', state: 'failed', stderr: '' },
  ]);
  expect((await machine.run(stepScript([{ id: 'x', script: ':' }]))).exit).toBe(0);
  expect((await machine.run(stepScript([]))).exit).toBe(0);
});

test('a step that needs a later one is a mistake of the planner', () => {
  const steps = [
    { id: 'a', script: ':', needs: ['b'] },
    { id: 'b', script: ':' },
  ];
  expect(() => stepScript(steps)).toThrow('step a needs b, which comes after it');
});

test('what a host says is read; what is unknown stays unknown', () => {
  const hash = (digit: string): string => digit.repeat(64);
  const lines = [
    { facts: { kernel: '6.1', memory: 1024 } },
    { member: 'web@app1', running: true, pid: 7, since: 3, restarts: 2, runningHash: 'abc' },
    { member: 'old@app1', running: false, pid: -1, since: -1, restarts: -1, runningHash: '' },
    { setting: 'VIP', ok: true },
    { something: 'else' },
  ];
  const text = `${hash('a')}  ../kept.json
${hash('e')}  web@app1/env
${hash('f')}  web@app1/odd  name/web.conf
something else`;
  const observed = parseObserved('app1', { lines, text });
  expect(observed).toEqual({
    members: [
      {
        name: 'web@app1',
        host: 'app1',
        reachable: true,
        present: true,
        running: true,
        pid: 7,
        since: 3,
        restarts: 2,
        files: { 'odd  name/web.conf': hash('f') },
        own: { env: hash('e') },
        runningHash: 'abc',
      },
      { name: 'old@app1', host: 'app1', reachable: true, present: true, running: false, files: {}, own: {} },
    ],
    handed: hash('a'),
    settings: { VIP: true },
    facts: { kernel: '6.1', memory: 1024 },
  });
});
