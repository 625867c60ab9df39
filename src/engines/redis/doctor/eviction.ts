import { type Facts, number } from './facts.ts';
import type { Found } from './finding.ts';
import { expiring } from './limits.ts';
import { bytes, count, percent } from './numbers.ts';

/** Commands that take work from a list or a stream: whoever uses them keeps a queue there. */
const takes = [
  'lpop',
  'rpop',
  'blpop',
  'brpop',
  'blmove',
  'brpoplpush',
  'blmpop',
  'lmove',
  'rpoplpush',
  'xreadgroup',
];

/**
 * Eviction that throws away what somebody counts on, or that refuses what somebody could spare. What a service is for is not guessed from its
 * name: a queue is what clients take work from (INFO commandstats, and lists or streams without a time to live among the keys that were looked at), a cache is
 * where nearly every key has a time to live, and a promise of no lost writes is the file's own word.
 */
export function eviction({ service, live, keys }: Facts): Found[] {
  const masters = live.members.filter((one) => one.up && one.role === 'master');
  const key = ['services', service.name, 'eviction'];
  const found: Found[] = [];
  for (const master of masters) {
    const { name, info } = master;
    const policy = info?.['maxmemory_policy'] ?? 'noeviction';
    const limit = number(info, 'maxmemory');
    const evicted = number(info, 'evicted_keys');
    const gone = evicted > 0 ? `; it has thrown ${count(evicted)} keys away since it was started` : '';
    const used = takes
      .map((command) => ({ command, calls: callsOf(info, command) }))
      .filter(({ calls }) => calls > 0);
    const lasting = keys.filter((one) => one.shard === name).reduce((sum, one) => sum + one.lasting, 0);
    const all = policy.startsWith('allkeys') && limit > 0;
    if (all && used.length > 0 && lasting > 0) {
      found.push({
        rule: 'eviction-of-a-queue',
        risk: 'data',
        where: name,
        what: `eviction ${policy} may throw away any key, and clients take work from lists or streams here (${used.map(({ command, calls }) => `${command.toUpperCase()} ${count(calls)} times`).join(', ')})${gone}`,
        why: 'When maxmemory is reached a whole queue goes at once, with all that waits in it.',
        mend: 'eviction: noeviction, or volatile-lru if the cached keys have a time to live; best a service of its own for the queue',
        key,
      });
      continue;
    }
    if (service.spec.promise?.lostWrites === 0 && (evicted > 0 || all)) {
      found.push({
        rule: 'eviction-breaks-promise',
        risk: 'data',
        where: name,
        what: `the file promises lostWrites: 0, and eviction ${policy} throws keys away at ${bytes(limit)}${gone}`,
        why: 'An evicted key is an acknowledged write that is gone.',
        mend: 'eviction: noeviction, or take lostWrites out of the promise',
        key,
      });
      continue;
    }
    const total = master.keys ?? 0;
    const mortal = expiring(info);
    if (
      policy === 'noeviction' &&
      limit > 0 &&
      total >= 1_000 &&
      mortal >= 0.95 * total &&
      number(info, 'used_memory') >= limit / 2
    )
      found.push({
        rule: 'cache-without-eviction',
        risk: 'service',
        where: name,
        what: `${percent(mortal, total)} of its ${count(total)} keys have a time to live, as in a cache, and eviction is noeviction at ${percent(number(info, 'used_memory'), limit)} of maxmemory`,
        why: 'At the limit a cache refuses what is new instead of dropping what is old.',
        mend: 'eviction: allkeys-lru (any key may go), or volatile-lru (only those with a time to live)',
        key,
      });
  }
  return found;
}

const callsOf = (info: Record<string, string> | undefined, command: string): number =>
  Number(/calls=(\d+)/.exec(info?.[`cmdstat_${command}`] ?? '')?.[1] ?? 0);

export const evictionRules = [eviction];
