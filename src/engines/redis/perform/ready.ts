import { setTimeout as sleep } from 'node:timers/promises';
import { logFragment } from '../../../hosts/supervise.ts';
import { StepFailed, StepHeld } from '../../engine.ts';
import { damageScript, parseDamages } from '../damage.ts';
import { explained } from '../explain.ts';
import { entryOf } from '../seats.ts';
import { seatNamed, type World } from './world.ts';

const patience = 60_000;
/** How often its host is asked why it does not listen yet; a start takes less. */
const askEvery = 1_000;

/** Waits until a member listens. StepHeld as soon as its data is found to be damaged; StepFailed, with the end of its log, after a minute. */
export async function ready(world: World, member: string): Promise<void> {
  const { host, port } = seatNamed(world, member);
  const { root } = entryOf(world.cluster, host);
  const began = performance.now();
  let asked = began;
  for (;;) {
    try {
      (await world.reach.connect(host, port, 1_000)).destroy();
      return;
    } catch (error) {
      if (performance.now() - began > patience)
        throw new StepFailed(
          `not ready after ${patience / 1000} s: ${(error as Error).message}${await logTail(world, member)}`,
        );
    }
    if (performance.now() - asked >= askEvery) {
      asked = performance.now();
      const { text } = await world.reach.host(host).run(damageScript(root, [member]), { timeoutMs: 3_000 });
      if (parseDamages(text).size > 0) await held(world, member);
    }
    await sleep(50);
  }
}

async function held(world: World, member: string): Promise<void> {
  const live = await world.observe();
  const found = live.members.find((one) => one.name === member);
  if (found?.damage) throw new StepHeld(explained(world.service, live, found));
}

async function logTail(world: World, member: string): Promise<string> {
  const { host } = seatNamed(world, member);
  const log = logFragment({ name: member }, entryOf(world.cluster, host).root, 20);
  const tail = await world.reach
    .host(host)
    .run(`( ${log} ) | cut -d ' ' -f 3-`, { timeoutMs: 3_000 })
    .then((run) => run.text.trim())
    .catch(() => '');
  return tail ? `\nlast lines of its log:\n${tail.replace(/^/gm, '    ')}` : '';
}
