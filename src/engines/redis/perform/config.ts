import { quote } from '../../../hosts/shell.ts';
import { asOwner, memberFolder } from '../../../hosts/supervise.ts';
import { StepFailed } from '../../engine.ts';
import { directives, drift } from '../directives.ts';
import { guardedBy } from '../guard.ts';
import { pairs, parseInfo } from '../info.ts';
import { unlogged } from '../kept.ts';
import { entryOf } from '../seats.ts';
import { users } from '../users.ts';
import { on, seatNamed, type World } from './world.ts';

/** Sets in the running member what differs from the file. All of it or nothing: CONFIG SET takes the whole list at once (Redis 7). */
export async function applyConfig(world: World, member: string): Promise<void> {
  const wanted = directives(world.service, world.cluster, seatNamed(world, member));
  await on(world, member, async (redis) => {
    const role = (await redis.call('ROLE')) as unknown[];
    const seen = { role: role[0] === 'slave' ? 'replica' : 'master', linkUp: role[3] === 'connected' };
    const guarded = guardedBy(world.service.spec, seen);
    const version = parseInfo(await redis.info('server'))['redis_version'];
    const differs = drift(wanted, pairs(await redis.config('GET', '*')), version, guarded);
    if (differs.length === 0) return;
    const logs = differs.find(({ name }) => name === 'appendonly')?.to;
    const saves = wanted.live['appendonly'] === 'no' && differs.some(({ name }) => name === 'save');
    const { persistence } = world.service.spec;
    const marked = (): Promise<void> => inFolder(world, member, `echo ${persistence} >${unlogged}`);
    // Cut short between the two, what a start finds of a log is compared with the snapshot, and what holds nothing yet is not taken for whole.
    const first = logs === 'no' || persistence === 'none';
    if (first && (logs === 'no' || saves)) await marked();
    await redis.call('CONFIG', 'SET', ...differs.flatMap(({ name, to }) => [name, to]));
    if (!first && saves) await marked();
    if (logs === 'yes') await inFolder(world, member, `rm -f ${unlogged}`);
  });
}

/** What a member's next start goes by (kept.ts). */
async function inFolder(world: World, member: string, script: string): Promise<void> {
  const { host } = seatNamed(world, member);
  const { root } = entryOf(world.cluster, host);
  const text = asOwner(
    { name: member },
    root,
    `cd ${quote(memberFolder({ name: member }, root))} && ${script}`,
  );
  const { exit, stderr } = await world.reach.host(host).run(text);
  if (exit !== 0)
    throw new StepFailed(
      `${member}: what it keeps its data in could not be written on ${host}: ${stderr.trim()}`,
    );
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
