import { describe, expect, it } from 'vitest';
import type { LiveMember, RedisLive } from './live.ts';
import { switchWith } from './switchover.ts';
import { following, sample, up } from './testing/sample.ts';
import { stub } from './testing/world.ts';

describe('mode replication: cart@d1 leads, cart@d2 copies it', () => {
  const of = sample({}, 2);

  /** As `INFO replication` of cart@d1 and cart@d2 has it, before and after; `linked` says whether the former master follows. */
  function pair(options: { refuses?: boolean; linked?: (done: string[]) => boolean }) {
    const { refuses = false, linked = () => true } = options;
    const before = (): LiveMember[] => {
      const master = up(of, 'cart@d1');
      return [master, following(of, 'cart@d2', master)];
    };
    const after = (): LiveMember[] => {
      const master = up(of, 'cart@d2');
      return [following(of, 'cart@d1', master), master];
    };
    let changed = false;
    const observe = (): RedisLive => ({ members: changed ? after() : before(), sentinels: [] });
    const world = stub(of, observe, (name, command) => {
      if (command.startsWith('FAILOVER')) {
        if (refuses) throw new Error('ERR FAILOVER is not possible');
        changed = true;
      }
      if (command === 'ROLE') return ['slave', '10.1.0.12', 6379, 'connected', 1000];
      if (!command.startsWith('INFO')) return command.startsWith('CONFIG GET') ? [] : 'OK';
      const leads = name === (changed ? 'cart@d2' : 'cart@d1');
      const [other] = changed ? ['10.1.0.12'] : ['10.1.0.11'];
      return leads
        ? 'role:master\r\nmaster_repl_offset:1000'
        : `role:slave\r\nmaster_host:${other}\r\nmaster_port:6379\r\nslave_repl_offset:1000\r\nmaster_link_status:${!changed || linked(world.done) ? 'up' : 'down'}`;
    });
    return world;
  }

  it('what their hosts remember is never that the new master follows the old one, wherever it is cut short', async () => {
    // Its link is up only once its host knows: a former master that is shut down in order at once is never seen to follow.
    const world = pair({ linked: (done) => done.includes('cart@d1 .role 10.1.0.12:6379') });
    await expect(switchWith(world, { to: 'cart@d2' })).resolves.toMatchObject({ to: 'cart@d2' });
    const told = world.done.filter((line) => /\.role|FAILOVER/.test(line));
    expect(told).toEqual([
      'cart@d2 .role master',
      'cart@d1 FAILOVER TO 10.1.0.12 6379 FORCE TIMEOUT 1',
      'cart@d1 .role 10.1.0.12:6379',
    ]);
  });

  it('a replica that did not take over is remembered as one', async () => {
    const world = pair({ refuses: true });
    await expect(switchWith(world, { to: 'cart@d2' })).rejects.toThrow('FAILOVER is not possible');
    expect(world.done.filter((line) => line.includes('.role'))).toEqual([
      'cart@d2 .role master',
      'cart@d2 .role 10.1.0.11:6379',
    ]);
  });
});
