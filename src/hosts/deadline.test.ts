import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { within } from './deadline.ts';

test('what comes in time is what it is, an error too', async () => {
  expect(await within(Promise.resolve(7), 1_000)).toBe(7);
  await expect(within(Promise.reject(new Error('refused')), 1_000)).rejects.toThrow('refused');
});

test('what is late is said to be, and its own error ends nobody', async () => {
  const asked = wait(30).then(() => {
    throw new Error('too late');
  });
  await expect(within(asked, 1)).rejects.toThrow('no answer within 1 ms');
  await expect(within(new Promise(() => {}), 1, 'nothing came')).rejects.toThrow('nothing came');
  await wait(60);
});
