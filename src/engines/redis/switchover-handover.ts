import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { StepHeld } from '../engine.ts';
import { parseInfo } from './info.ts';
import { at, type LiveMember } from './live.ts';
import { gate, on, type World } from './perform/world.ts';

/** Longest that writes are held, milliseconds: Redis itself lets them go then, also when this command was killed. */
const holdMs = 3_000;
/** An `ask` that works does so sooner. */
const insistMs = 250;
/** Longest wait for the last bytes, of those. */
const catchUpMs = 1_000;

/** Waits until the member is a master. */
export const becomesMaster = (world: World, heir: string, ms: number): Promise<void> =>
  on(world, heir, (redis) =>
    gate(
      async () => {
        const info = parseInfo(await redis.info('replication'));
        return info['role'] === 'master'
          ? undefined
          : `${heir} is still a replica of ${info['master_host']}:${info['master_port']}`;
      },
      ms,
      3,
    ),
  );

/** How the two are made to change roles once both have the same bytes. */
export interface Change {
  ask(old: Redis, next: Redis): Promise<unknown>;
  /** What is asked where `ask` had no effect for a while; writes are still held, and the offsets the same. */
  insist?(next: Redis): Promise<unknown>;
  /** Makes an `ask` that had no effect in time never have one. */
  takeBack?(old: Redis): Promise<unknown>;
  /** What is to be done before clients are let go. */
  before?(old: Redis): Promise<void>;
}

/**
 * Redis's own FAILOVER (6.2 and later) of a master to a direct replica. By itself it takes up to a second, because it goes by the replica's reports,
 * and these come once a second; with FORCE it does not wait for them, which is safe where the offsets have been compared.
 */
export const failover = (heir: LiveMember): Change => ({
  ask: (old) => old.call('FAILOVER', 'TO', heir.address, String(heir.port), 'FORCE', 'TIMEOUT', '1'),
  takeBack: (old) => old.call('FAILOVER', 'ABORT'),
});

/**
 * Makes a replica the master while the old one holds writes (CLIENT PAUSE), and the old one its replica, without a byte lost, and lets go. A held write
 * is then refused (READONLY, MOVED), or `before` closed its connection; none was carried out. CLIENT PAUSE and a failover hold
 * writes each for its own reason (Redis 7.0, pause_purpose), so there is no gap between them. Gives the milliseconds that it held.
 *
 * Throws StepHeld when the replica does not catch up or does not take over; the master then goes on as before.
 */
export async function handOver(
  world: World,
  master: LiveMember,
  heir: LiveMember,
  change: Change,
): Promise<number> {
  return on(world, master.name, (old) =>
    on(world, heir.name, async (next) => {
      const began = performance.now();
      await old.call('CLIENT', 'PAUSE', String(holdMs), 'WRITE');
      try {
        await sameOffset(old, next, heir);
        await change.ask(old, next);
        await changed(old, next, heir, change, began);
        await change.before?.(old);
        return performance.now() - began;
      } finally {
        await old.call('CLIENT', 'UNPAUSE').catch(() => {});
      }
    }),
  );
}

async function sameOffset(old: Redis, next: Redis, heir: LiveMember): Promise<void> {
  const until = performance.now() + catchUpMs;
  for (;;) {
    // The master's first: what the replica has afterwards can only be more.
    const wanted = Number(parseInfo(await old.info('replication'))['master_repl_offset']);
    const info = parseInfo(await next.info('replication'));
    if (Number(info['slave_repl_offset']) === wanted && info['master_link_status'] === 'up') return;
    if (performance.now() > until)
      throw new StepHeld(
        `${heir.name} did not catch up within ${catchUpMs} ms while writes were held; nothing changed`,
      );
    await sleep(1);
  }
}

/** Waits until one is master and the other a replica. A master whose heir leads already is held for as long as it takes: what it acknowledged would be lost. */
async function changed(
  old: Redis,
  next: Redis,
  heir: LiveMember,
  change: Change,
  began: number,
): Promise<void> {
  let insisted = change.insist === undefined;
  let renewed = began;
  for (;;) {
    // Asking them also wakes them: Redis looks at its failover whenever anything comes in.
    const [was, is] = (await Promise.all([old.info('replication'), next.info('replication')])).map(parseInfo);
    const leads = is!['role'] === 'master';
    if (leads && was!['role'] === 'slave') return;
    const now = performance.now();
    if (leads && now - renewed > holdMs / 3) {
      await old.call('CLIENT', 'PAUSE', String(holdMs), 'WRITE');
      renewed = now;
    }
    if (leads && now - began > 10_000)
      throw new StepHeld(`${heir.name} leads, and the former master does not follow it: phalanx up`);
    if (!leads && !insisted && now - began > insistMs) {
      insisted = true;
      await change.insist!(next);
    }
    if (!leads && now - began > holdMs - 500) {
      await change.takeBack?.(old).catch(() => {});
      throw new StepHeld(
        `${heir.name} did not take over within ${holdMs - 500} ms while writes were held; the master goes on`,
      );
    }
    await sleep(2);
  }
}

/** Waits until the former master follows the new one without a gap. */
export const follows = (world: World, former: string, heir: LiveMember): Promise<void> =>
  gate(async () => {
    const info = await on(world, former, async (redis) => parseInfo(await redis.info('replication')));
    return info['role'] === 'slave' && info['master_link_status'] === 'up'
      ? undefined
      : `${former} does not follow ${heir.name} (${at(heir)}) yet`;
  }, 20_000);
