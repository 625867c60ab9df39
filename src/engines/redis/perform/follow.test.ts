import { describe, expect, it } from 'vitest';
import { down, sample, up } from '../testing/sample.ts';
import { stub } from '../testing/world.ts';
import { promote } from './follow.ts';

const of = sample({}, 2);
const live = () => ({ members: [down(of, 'cart@d1'), up(of, 'cart@d2')], sentinels: [] });
const replica = 'role:slave\r\nmaster_host:10.1.0.11\r\nmaster_port:6379\r\nmaster_link_status:down';

describe('a replica is made the master', () => {
  it('its host is told first: started again it never follows the old one', async () => {
    const world = stub(of, live, () => 'OK');
    await promote(world, 'cart@d2');
    expect(world.done).toEqual(['cart@d2 .role master', 'cart@d2 REPLICAOF NO ONE']);
  });

  it('not where its host cannot be told', async () => {
    const world = stub(of, live, () => 'OK', 1);
    await expect(promote(world, 'cart@d2')).rejects.toThrow(/\.role on d2: no space left/);
    expect(world.done).not.toContain('cart@d2 REPLICAOF NO ONE');
  });

  it('one that stayed a replica is remembered as one', async () => {
    const world = stub(of, live, (_, command) => {
      if (command.startsWith('REPLICAOF')) throw new Error('NOPERM');
      return replica;
    });
    await expect(promote(world, 'cart@d2')).rejects.toThrow('NOPERM');
    expect(world.done.at(-1)).toBe('cart@d2 .role 10.1.0.11:6379');
  });
});
