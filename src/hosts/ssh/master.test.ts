import { expect, test } from 'vitest';
import { controlPath, explained, masterArguments } from './master.ts';

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
