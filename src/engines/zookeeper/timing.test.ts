import { expect, it } from 'vitest';
import { schema } from './schema.ts';
import type { ZooKeeperService } from './seats.ts';
import { silenceOf, timingOf } from './timing.ts';

const of = (timing: unknown): ZooKeeperService =>
  ({
    name: 'locks',
    type: 'zookeeper',
    hosts: [],
    uses: [],
    spec: schema.parse({ timing }),
  }) as ZooKeeperService;

it('a tick of the file’s own leaves time to copy a snapshot, and sessions that ZooKeeper takes', () => {
  const { name: _fast, ...fast } = timingOf(of('fast'));
  expect(timingOf(of({ tickTime: '200ms' }))).toMatchObject(fast);
  for (const tickTime of ['100ms', '500ms', '2s', '10s']) {
    const timing = timingOf(of({ tickTime }));
    expect(timing.initLimit * timing.tickTime).toBeGreaterThanOrEqual(10_000);
    // ZooKeeper's own rule: at least two ticks, at most twenty unless it is told otherwise.
    expect(timing.minSessionTimeout).toBe(2 * timing.tickTime);
    expect(timing.maxSessionTimeout).toBeGreaterThanOrEqual(20 * timing.tickTime);
  }
  expect(silenceOf(of({ tickTime: '500ms' }))).toBe(2_000);
});
