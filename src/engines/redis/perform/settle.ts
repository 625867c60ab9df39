import { setTimeout as sleep } from 'node:timers/promises';
import { StepFailed, StepHeld } from '../../engine.ts';
import { directives, drift } from '../directives.ts';
import { guardedBy } from '../guard.ts';
import type { RedisLive } from '../live.ts';
import { blocks, type Move } from '../move.ts';
import { decide } from '../plan.ts';
import { applyConfig } from './config.ts';
import { perform } from './perform.ts';
import { seatNamed, type World } from './world.ts';

/**
 * Takes the plan's own decisions over what is seen now, and again over what comes of them, until there is nothing to do. A cluster that only
 * started again is left as it is.
 */
export async function settle(world: World): Promise<void> {
  let until = performance.now() + 60_000;
  let last = '';
  for (let rounds = 0; ; ) {
    const live = await world.observe();
    const moves = decide(world.service, world.cluster, live, new Set());
    if (moves.length === 0) return lowerGuards(world, live);
    const blocked = moves.filter(blocks);
    const text = blocked.map((one) => `${one.target}: ${one.why}`).join('; ');
    if (blocked.some((one) => one.action.name === 'wait')) {
      if (text !== last) until = performance.now() + 60_000;
      last = text;
      if (performance.now() > until) throw new StepHeld(`held after 60 s: ${text}`);
      await sleep(100);
      continue;
    }
    const destroys = moves.find((one) => one.destroys !== undefined);
    if (destroys)
      throw new StepHeld(
        `${destroys.target}: ${destroys.why}. Run up again with --allow-data-loss ${destroys.destroys}`,
      );
    const doable = moves.filter((one) => !blocks(one));
    if (doable.length === 0) throw new StepHeld(text);
    if (++rounds > 8)
      throw new StepFailed(`still not settled after 8 rounds: ${doable.map((one) => one.id).join(', ')}`);
    await inOrder(world, doable);
  }
}

/** What members started with until they had their place (start.ts) becomes what the file says: up, and up again has nothing to do. */
async function lowerGuards(world: World, live: RedisLive): Promise<void> {
  const { service, cluster } = world;
  const differing = live.members.filter((member) => {
    const { name, up, config, info } = member;
    if (!up || !config) return false;
    const wanted = directives(service, cluster, seatNamed(world, name));
    return drift(wanted, config, info?.['redis_version'], guardedBy(service.spec, member)).length > 0;
  });
  await Promise.all(differing.map(({ name }) => applyConfig(world, name)));
}

/** Each move as soon as those that it needs are done, side by side where they are independent. */
async function inOrder(world: World, moves: Move[]): Promise<void> {
  const done = new Map<string, Promise<void>>();
  const run = async (one: Move): Promise<void> => {
    await Promise.all(one.needs.map((id) => done.get(id)));
    world.say(`${one.verb} ${one.target}: ${one.why}`);
    await perform(world, one.action);
  };
  for (const one of moves) done.set(one.id, run(one));
  const ends = await Promise.allSettled(done.values());
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
}
