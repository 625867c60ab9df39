import { expect, test } from 'vitest';
import { notRoot } from './ssh-host.ts';

test.each([
  ['env: ‘sudo’: No such file or directory', 127, 'the host has no sudo'],
  ["env: can't execute 'sudo': No such file or directory", 127, 'the host has no sudo'],
  ['sudo: a password is required', 1, 'sudo refuses: a password is required. Let'],
  [
    'sudo: unable to resolve host g: Name or service not known\nsudo: a password is required\n',
    1,
    'sudo refuses: a password is required. Let',
  ],
])('%s', (stderr, exit, sentence) => {
  expect(notRoot(stderr, exit)).toContain(sentence);
});

test.each([
  ['sudo: unable to resolve host g: Name or service not known\nsh: nothing such', 1],
  ['sudo: unable to resolve host g: Name or service not known', 0],
  ['sh: 1: thing: not found', 127],
])('the script itself ended so: %s', (stderr, exit) => {
  expect(notRoot(stderr, exit)).toBeUndefined();
});
