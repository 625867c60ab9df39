import { afterEach, describe, expect, it, vi } from 'vitest';
import { KeptSession, placesOf } from './kept.ts';
import { Pretender } from './pretender.ts';
import type { Session } from './session.ts';
import type { SessionKey } from './wire.ts';

const patience = { timeout: 10_000, interval: 5 };
let ensemble: Pretender;
let kept: KeptSession | undefined;

async function servers(count: number, timeoutMs = 300): Promise<void> {
  ensemble = new Pretender(timeoutMs);
  for (let i = 0; i < count; i++) await ensemble.listen();
}

/** A session that is kept, and what it has said so far. */
function keep(key?: SessionKey) {
  const heard = { session: undefined as Session | undefined, key, opened: 0, closed: [] as string[] };
  kept = new KeptSession({
    servers: placesOf(ensemble.url).servers,
    sessionMs: 300,
    ...(key ? { key } : {}),
    opened: (session, now) => {
      heard.session = session;
      heard.key = now;
      heard.opened++;
    },
    closed: (why) => {
      heard.session = undefined;
      heard.closed.push(why);
    },
    watched: () => {},
  });
  return heard;
}
/** Where its session is, other than at `before`; throws while it has none. */
function at(heard: ReturnType<typeof keep>, before?: number): number {
  expect(heard.session).toBeDefined();
  const nth = ensemble.connections().indexOf(1);
  expect(nth).toBeGreaterThanOrEqual(0);
  expect(nth).not.toBe(before);
  return nth;
}

describe('a session that is kept', { tags: ['long'] }, () => {
  afterEach(() => {
    kept?.stop();
    ensemble.close();
  });

  it('goes on at another server when its own is frozen', async () => {
    await servers(3);
    const heard = keep();
    const first = await vi.waitFor(() => at(heard), patience);
    ensemble.freeze(first);
    const second = await vi.waitFor(() => at(heard, first), patience);
    expect(second).not.toBe(first);
    expect(heard.closed.some((why) => why.includes('it has said nothing for 200 ms'))).toBe(true);
    expect(new Set(ensemble.opened).size).toBe(1);
  });

  it('does not wait for one that accepts and opens no session', async () => {
    await servers(3);
    ensemble.freeze(0, 1);
    const heard = keep();
    expect(await vi.waitFor(() => at(heard), patience)).toBe(2);
  });

  it('stays where it is while it has nothing to ask: it is pinged', async () => {
    await servers(1, 2_000);
    const heard = keep();
    // Six in each timeout: more than once it would have been left by then.
    await vi.waitFor(() => expect(ensemble.pings).toBeGreaterThan(6), patience);
    expect(heard).toMatchObject({ opened: 1, closed: [] });
  });

  it('begins anew when it has expired', async () => {
    await servers(2);
    const heard = keep();
    await vi.waitFor(() => expect(heard.session).toBeDefined(), patience);
    ensemble.expire(heard.key!.id);
    await vi.waitFor(() => expect(new Set(ensemble.opened).size).toBe(2), patience);
  });

  it('is back in time after an election, however long that took and though a server is frozen', async () => {
    await servers(3, 900);
    const heard = keep();
    await vi.waitFor(() => expect(heard.session).toBeDefined(), patience);
    ensemble.freeze(0);
    ensemble.elect(1, 2);
    await new Promise((done) => setTimeout(done, 3_500));
    expect(heard.session).toBeUndefined();
    ensemble.elect();
    const began = performance.now();
    await vi.waitFor(() => expect(heard.session).toBeDefined(), patience);
    expect(performance.now() - began).toBeLessThan(900);
    expect(new Set(ensemble.opened).size).toBe(1);
  });

  it('is gone on with by whoever has its key', async () => {
    await servers(1);
    const heard = keep();
    await vi.waitFor(() => expect(heard.session).toBeDefined(), patience);
    kept!.stop();
    const next = keep(heard.key);
    await vi.waitFor(() => expect(next.session).toBeDefined(), patience);
    expect(next.key!.id).toBe(heard.key!.id);
  });
});

it('takes apart what users are told of an ensemble', () => {
  expect(placesOf('10.0.0.1:2181,10.0.0.2:2182/locks')).toEqual({
    servers: [
      { host: '10.0.0.1', port: 2181 },
      { host: '10.0.0.2', port: 2182 },
    ],
    chroot: '/locks',
  });
});
