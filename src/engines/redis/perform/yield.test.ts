import { afterEach, expect, it, vi } from 'vitest';
import { following, sample, up } from '../testing/sample.ts';
import { stub } from '../testing/world.ts';
import { synced } from './yield.ts';

afterEach(() => vi.restoreAllMocks());

const of = sample({}, 2);

/** What becomes of the wait for a replica that needs three minutes for its copy, so many bytes of it a second. */
async function waited(bytes: number): Promise<string> {
  let seconds = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => seconds * 1000);
  const live = () => {
    // Each look is half a minute after the one before.
    seconds += 30;
    const master = up(of, 'cart@d1');
    const info = { master_sync_read_bytes: String(seconds * bytes) };
    const replica = following(of, 'cart@d2', master, { linkUp: seconds >= 180, info });
    return { members: [master, replica], sentinels: [] };
  };
  const world = stub(of, live, () => 'OK');
  // What comes after the wait.
  world.dial = async () => {
    throw new Error('it has its data');
  };
  return synced(world, 'cart@d2').then(
    () => '',
    (error: Error) => error.message,
  );
}

it('a copy that makes progress is waited for, however long it takes', async () => {
  expect(await waited(1000)).toContain('it has its data');
});

it('one that makes none is not', async () => {
  expect(await waited(0)).toMatch(/^held after 60 s: cart@d2: its link to 10\.1\.0\.11:6379 is down/);
});
