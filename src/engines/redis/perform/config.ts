import { directives, drift } from '../directives.ts';
import { guardedBy } from '../guard.ts';
import { pairs } from '../info.ts';
import { users } from '../users.ts';
import { on, seatNamed, type World } from './world.ts';

/** Sets in the running member what differs from the file. All of it or nothing: CONFIG SET takes the whole list at once (Redis 7). */
export async function applyConfig(world: World, member: string): Promise<void> {
  const wanted = directives(world.service, world.cluster, seatNamed(world, member));
  await on(world, member, async (redis) => {
    const role = (await redis.call('ROLE')) as unknown[];
    const seen = { role: role[0] === 'slave' ? 'replica' : 'master', linkUp: role[3] === 'connected' };
    const guarded = guardedBy(world.service.spec, seen);
    const differs = drift(wanted, pairs(await redis.config('GET', '*')), guarded);
    if (differs.length > 0)
      await redis.call('CONFIG', 'SET', ...differs.flatMap(({ name, to }) => [name, to]));
  });
}

/**
 * Makes the running member's users those of the file. One by one, because ACL LOAD would cut the connections of all but the default user,
 * the replicas' among them.
 */
export async function applyUsers(world: World, member: string): Promise<void> {
  const wanted = users(world.service, world.cluster);
  await on(world, member, async (redis) => {
    for (const [name, rules] of Object.entries(wanted))
      await redis.call('ACL', 'SETUSER', name, 'reset', ...rules);
    const running = (await redis.call('ACL', 'USERS')) as string[];
    const extra = running.filter((name) => !(name in wanted));
    if (extra.length > 0) await redis.call('ACL', 'DELUSER', ...extra);
  });
}
