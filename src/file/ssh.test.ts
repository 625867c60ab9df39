import { expect, test } from 'vitest';
import { sshName } from './ssh.ts';

test.each([
  ['root@203.0.113.7', { destination: 'root@203.0.113.7', host: '203.0.113.7' }],
  ['lb1', { destination: 'lb1', host: 'lb1' }],
  ['root@127.0.0.1:2222', { destination: 'ssh://root@127.0.0.1:2222', host: '127.0.0.1' }],
  ['lb1:22', { destination: 'ssh://lb1:22', host: 'lb1' }],
  ['root@[fd00::1]:2222', { destination: 'ssh://root@[fd00::1]:2222', host: 'fd00::1' }],
  ['root@[fd00::1]', { destination: 'root@fd00::1', host: 'fd00::1' }],
  ['root@fd00::1', { destination: 'root@fd00::1', host: 'fd00::1' }],
])('%s is taken apart as ssh takes it', (written, name) => {
  expect(sshName(written)).toEqual(name);
});
