import { expect, test } from 'vitest';
import { Channel } from './channel.ts';

test('a channel whose connection is lost while it is being opened, or after it was given up, is told once and ends nothing else', async () => {
  const opening = new Channel(1, () => {});
  const waiting = opening.open('session', Buffer.alloc(0), 1_000);
  opening.lost(new Error('closed'));
  await expect(waiting).rejects.toThrow('closed');
  const late = new Channel(2, () => {});
  await expect(late.open('session', Buffer.alloc(0), 1)).rejects.toThrow('no answer within 1 ms');
  late.lost(new Error('closed'));
  await new Promise((resolve) => setImmediate(resolve));
});
