import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { controlPath, explained, Master, masterArguments } from './master.ts';

test('a control socket fits into a Unix address, with what ssh adds while it makes it', () => {
  const near = controlPath('/var/lib/phalanx/shop', 'root@203.0.113.7');
  expect(near).toMatch(/^\/var\/lib\/phalanx\/shop\/ssh\/[0-9a-f]{12}$/);
  const far = controlPath(`/home/${'someone/'.repeat(20)}shop`, 'root@203.0.113.7');
  expect(Buffer.byteLength(far)).toBeLessThanOrEqual(107 - 17);
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
