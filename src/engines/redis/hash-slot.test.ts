import { expect, test } from 'vitest';
import { hashSlot } from './hash-slot.ts';

test('a key is in the slot that CLUSTER KEYSLOT of Redis 7.0 gives', () => {
  expect(hashSlot('123456789')).toBe(12_739);
  expect(hashSlot('foo')).toBe(12_182);
  expect(hashSlot('foo{hash_tag}')).toBe(hashSlot('hash_tag'));
  expect(hashSlot('foo{}{bar}')).toBe(8_363);
});
