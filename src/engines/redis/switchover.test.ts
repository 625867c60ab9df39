import { describe, expect, it } from 'vitest';
import type { LiveMember, RedisLive } from './live.ts';
import { switchWith } from './switchover.ts';
import { down, following, sample, up } from './testing/sample.ts';
import { stub } from './testing/world.ts';

describe('mode replication: cart@d1 leads, cart@d2 copies it', () => {
  const of = sample({}, 2);

  /** As `INFO replication` of cart@d1 and cart@d2 has it, before and after; `linked` says whether the former master follows. */
  function pair(options: { refuses?: boolean; gone?: boolean; linked?: (done: string[]) => boolean }) {
    const { refuses = false, gone = false, linked = () => true } = options;
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
        if (gone) throw new Error('Connection is closed');
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

  it('one that did, while the old master went without a word, is the one that is followed', async () => {
    const world = pair({ gone: true });
    await expect(switchWith(world, { to: 'cart@d2' })).rejects.toThrow('Connection is closed');
    expect(world.done.filter((line) => line.includes('.role'))).toEqual([
      'cart@d2 .role master',
      'cart@d1 .role 10.1.0.12:6379',
    ]);
  });
});

describe('mode cluster: the master cart@d1 is dead, and nobody is elected', () => {
  const of = sample({ mode: 'cluster', replicas: 2 });
  const upstream = { address: '10.1.0.11', port: 6379 };
  const replica = (name: string, offset: number, guarded = false): LiveMember => {
    const one = up(of, name, { role: 'replica', upstream, linkUp: false, offset });
    return { ...one, config: { ...one.config, 'cluster-replica-no-failover': guarded ? 'yes' : 'no' } };
  };
  const forced = async (members: LiveMember[], allowDataLoss = false) => {
    const live = { members: [down(of, 'cart@d1'), ...members], sentinels: [] };
    const world = stub(
      of,
      () => live,
      () => 'role:master',
    );
    const said = await switchWith(world, { to: 'cart.2@d2', force: true, allowDataLoss }).then(
      () => '',
      ({ message }: Error) => message,
    );
    return { said, taken: world.done.includes('cart.2@d2 CLUSTER FAILOVER TAKEOVER') };
  };

  it('a replica that is behind another does not take over unless a person gives up what it lacks', async () => {
    const members = [replica('cart.2@d2', 500), replica('cart.3@d3', 700)];
    expect(await forced(members)).toEqual({
      said: expect.stringMatching(/^cart.3@d3 holds writes that cart.2@d2 lacks: .*--to cart.3@d3 --force/),
      taken: false,
    });
    expect(await forced(members, true)).toEqual({ said: '', taken: true });
  });

  it('the one that has everything takes over, and so does one beside a replica that has copied nothing', async () => {
    for (const other of [replica('cart.3@d3', 500), replica('cart.3@d3', 700, true)])
      expect(await forced([replica('cart.2@d2', 500), other])).toEqual({ said: '', taken: true });
  });

  it('one that has copied nothing does not, whatever its offset', async () => {
    const behind = replica('cart.2@d2', 900, true);
    expect(await forced([behind, replica('cart.3@d3', 700)])).toMatchObject({ taken: false });
    expect(await forced([behind])).toEqual({
      said: expect.stringMatching(/^cart.2@d2 has not copied its master/),
      taken: false,
    });
  });
});
