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

test('who has given up waits no longer, and neither do others; ssh goes on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-master-'));
  const path = process.env['PATH'];
  mkdirSync(join(folder, 'bin'));
  writeFileSync(join(folder, 'bin/ssh'), `#!/bin/sh\necho $$ >${folder}/pid\nexec sleep 1000\n`, {
    mode: 0o755,
  });
  process.env['PATH'] = `${folder}/bin:${path}`;
  onTestFinished(() => {
    process.env['PATH'] = path;
    process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')));
    rmSync(folder, { recursive: true });
  });
  const master = new Master(folder, 'root@nowhere');
  const waiting = master.mux();
  await expect.poll(() => existsSync(join(folder, 'pid'))).toBe(true);
  master.giveUp();
  await expect(waiting).rejects.toThrow('no connection yet');
  await expect(master.mux()).rejects.toThrow('no connection yet');
  expect(() => process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 0)).not.toThrow();
});
