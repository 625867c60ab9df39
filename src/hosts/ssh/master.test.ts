import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { controlPath, explained, Master, masterArguments } from './master.ts';

test('a control socket fits into a Unix address, with what ssh adds while it makes it', () => {
  const near = controlPath('/var/lib/phalanx/shop', 'root@203.0.113.7');
  expect(near).toMatch(/^\/var\/lib\/phalanx\/shop\/ssh\/[0-9a-f]{12}$/);
  const far = controlPath(`/home/${'someone/'.repeat(20)}shop`, 'root@203.0.113.7');
  expect(Buffer.byteLength(far)).toBeLessThanOrEqual(107 - 17 - '.4194304'.length);
  expect(controlPath(`/home/${'someone/'.repeat(20)}other`, 'root@203.0.113.7')).not.toBe(far);
});

test('host keys are never skipped, and nothing is asked', () => {
  const given = masterArguments('/run/x', 'root@h').join(' ');
  expect(given).not.toMatch(/StrictHostKeyChecking|UserKnownHostsFile|CheckHostIP/i);
  expect(given).toContain('BatchMode=yes');
  expect(given.endsWith('-- root@h')).toBe(true);
});

test.each([
  [
    'No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.',
    'its host key is not known here',
  ],
  [
    '@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.',
    'its host key is not the one in known_hosts',
  ],
  ['root@h: Permission denied (publickey).', 'ssh is not let in (root@h: Permission denied (publickey).)'],
  ['ssh: connect to host h port 22: No route to host', 'ssh: connect to host h port 22: No route to host'],
  ['', 'ssh ended without a word'],
])('%s', (stderr, sentence) => {
  expect(explained(stderr, 'root@h')).toContain(sentence);
});

/** A folder, and an ssh in PATH that does as the script says. */
function withSsh(script: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-master-'));
  const path = process.env['PATH'];
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin/ssh'), `#!/bin/sh\ncd ${folder}\n${script}\n`, { mode: 0o755 });
  process.env['PATH'] = `${folder}/bin:${path}`;
  onTestFinished(() => {
    process.env['PATH'] = path;
    rmSync(folder, { recursive: true });
  });
  return folder;
}

test('who has given up waits no longer, and neither do others; ssh goes on', async () => {
  const folder = withSsh('echo $$ >pid\nexec sleep 1000');
  const pid = (): number => Number(readFileSync(join(folder, 'pid'), 'utf8'));
  onTestFinished(() => {
    process.kill(pid());
  });
  const master = new Master(folder, 'root@nowhere');
  const waiting = master.mux();
  await expect.poll(() => existsSync(join(folder, 'pid')) && pid() > 0).toBe(true);
  master.giveUp();
  await expect(waiting).rejects.toThrow('no connection yet');
  await expect(master.mux()).rejects.toThrow('no connection yet');
  expect(() => process.kill(pid(), 0)).not.toThrow();
});

test('given up before ssh was even started, it is given up', async () => {
  const master = new Master(withSsh('exit 255'), 'root@nowhere');
  const waiting = master.mux();
  master.giveUp();
  await expect(waiting).rejects.toThrow('no connection yet');
});

test('many who wait for a connection that fails are told of the one attempt', async () => {
  const folder = withSsh(
    'echo once >>attempts\nsleep 0.2\necho "ssh: connect to host h port 22: No route to host" >&2\nexit 255',
  );
  const master = new Master(folder, 'root@nowhere');
  const first = master.mux();
  await expect.poll(() => existsSync(join(folder, 'attempts'))).toBe(true);
  for (const waiting of [first, master.mux(), master.mux()])
    await expect(waiting).rejects.toThrow('No route to host');
  expect(readFileSync(join(folder, 'attempts'), 'utf8')).toBe('once\n');
});

/** A program that listens as a master does in proxy mode: hello of version 4, then the proxy that was asked for is granted (PROTOCOL.mux). */
const listener = `
import { createServer } from 'node:net';
const words = (...all) => {
  const bytes = Buffer.alloc(4 * (all.length + 1));
  [4 * all.length, ...all].forEach((word, i) => bytes.writeUInt32BE(word, 4 * i));
  return bytes;
};
createServer((socket) => {
  socket.once('data', () => socket.write(Buffer.concat([words(1, 4), words(0x8000000f, 0)])));
}).listen(process.argv[2]);
`;

test('a socket that a killed master left is replaced, and ssh is not told of it', async () => {
  const folder = withSsh(`path=$(printf '%s\\n' "$@" | sed -n 's/^ControlPath=//p')
[ ! -e "$path" ] || exit 0
'${process.execPath}' listener.mjs "$path" </dev/null >/dev/null 2>&1 &
echo $! >>pids
until [ -S "$path" ]; do sleep 0.01; done`);
  writeFileSync(join(folder, 'listener.mjs'), listener);
  onTestFinished(() => {
    for (const pid of readFileSync(join(folder, 'pids'), 'utf8').trim().split('\n'))
      process.kill(Number(pid));
  });
  const path = controlPath(folder, 'root@h');
  mkdirSync(join(path, '..'), { recursive: true });
  // What a process that was killed leaves: the name is there, and nobody behind it.
  const stale = createServer().listen(`${path}.old`);
  await once(stale, 'listening');
  renameSync(`${path}.old`, path);
  await new Promise((resolve) => stale.close(resolve));
  expect(existsSync(path)).toBe(true);
  const { mux, fresh } = await new Master(folder, 'root@h').mux();
  expect([mux.alive, fresh]).toEqual([true, true]);
  mux.close();
  // The next command finds it warm.
  const again = await new Master(folder, 'root@h').mux();
  expect(again.fresh).toBe(false);
  again.mux.close();
});
