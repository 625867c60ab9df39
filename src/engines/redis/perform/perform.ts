import { type EngineAction, StepFailed, StepHeld } from '../../engine.ts';
import type { Range } from '../slots.ts';
import { switchWith } from '../switchover.ts';
import { applyConfig, applyUsers } from './config.ts';
import { follow, promote } from './follow.ts';
import { forget, meet } from './meet.ts';
import { migrate } from './migrate.ts';
import { ready } from './ready.ts';
import { forgetStrangers, monitor, syncSentinel, tune } from './sentinels.ts';
import { settle } from './settle.ts';
import { giveSlots, replicate } from './slots.ts';
import type { World } from './world.ts';
import { synced, yieldPlace } from './yield.ts';

type Args = Record<string, unknown>;
const text = (args: Args, name: string): string => String(args[name]);
const list = (args: Args, name: string): string[] => (args[name] as string[] | undefined) ?? [];

/** Every action that a step of this engine may name. */
const actions: Record<string, (world: World, args: Args) => Promise<unknown>> = {
  settle: (world) => settle(world),
  hold: (_, args) => Promise.reject(new StepHeld(text(args, 'why'))),
  wait: (world) => settle(world),
  follow: (world, args) => follow(world, text(args, 'member'), text(args, 'upstream')),
  promote: (world, args) => promote(world, text(args, 'member')),
  ready: (world, args) => ready(world, text(args, 'member')),
  switchover: (world, args) =>
    switchWith(world, {
      to: text(args, 'to'),
      force: args['force'] === true,
      allowDataLoss: args['allowDataLoss'] === true,
    }),
  yield: (world, args) => yieldPlace(world, text(args, 'member')),
  sync: (world, args) => synced(world, text(args, 'member')),
  monitor: (world, args) => monitor(world, text(args, 'sentinel'), text(args, 'master')),
  'sync-sentinel': (world, args) => syncSentinel(world, text(args, 'sentinel')),
  tune: (world, args) => tune(world, text(args, 'sentinel')),
  'forget-strangers': (world, args) => forgetStrangers(world, text(args, 'sentinel')),
  meet: (world, args) => meet(world, list(args, 'members')),
  slots: (world, args) =>
    giveSlots(world, args['slots'] as Record<string, Range[]>, list(args, 'meet'), list(args, 'forget')),
  replicate: (world, args) => replicate(world, text(args, 'member'), text(args, 'master')),
  migrate: (world, args) => migrate(world, text(args, 'from'), text(args, 'to'), args['slots'] as Range[]),
  forget: (world, args) => forget(world, list(args, 'ids'), args['leaving'] as string | undefined),
  config: (world, args) => applyConfig(world, text(args, 'member')),
  users: (world, args) => applyUsers(world, text(args, 'member')),
};

/** Does what a step says. Safe to repeat. */
export async function perform(world: World, action: EngineAction): Promise<void> {
  const run = actions[action.name];
  if (!run) throw new StepFailed(`the redis engine has no action ${action.name}`);
  await run(world, action.args);
}
