import { expect, it } from 'vitest';
import { saysYes } from './question.ts';

it.each([
  ['y', true],
  [' Yes ', true],
  ['', false],
  ['n', false],
  ['yesterday', false],
])('%j is taken for %s', async (answer, yes) => {
  expect(await saysYes('Go on?', async () => answer)).toBe(yes);
});

it('Ctrl-C and Ctrl-D at the question are a no, and another error is one', async () => {
  const rejects = (error: Error) => saysYes('Go on?', () => Promise.reject(error));
  expect(await rejects(Object.assign(new Error('Aborted with Ctrl+C'), { name: 'AbortError' }))).toBe(false);
  await expect(rejects(new Error('EIO'))).rejects.toThrow('EIO');
});
