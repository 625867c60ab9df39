import { describe, expect, it } from 'vitest';
import { redisCheck } from './check.ts';
import { redisSchema } from './schema.ts';
import { sample } from './testing/sample.ts';
import { timingOf } from './timing.ts';

const of = (mode: string, timing: unknown) => timingOf(redisSchema.parse({ mode, timing }));

it.each(['default', 'fast', { downAfter: '800ms' }, { downAfter: '1999ms' }, { downAfter: '2s' }])(
  '%j: a sentinel reaches a new master before its patience ends, and takes replicas it has heard of',
  (timing) => {
    const { downAfter, sentinelPeriods } = of('sentinel', timing);
    const ping = sentinelPeriods['ping-period'] ?? 1_000;
    expect(ping).toBeLessThanOrEqual(downAfter / 2);
    // In a failover it asks for INFO once a second, and an answer counts for five ping-periods.
    expect(5 * ping).toBeGreaterThanOrEqual(2_000);
  },
);

describe('a timing said exactly', () => {
  it('is that, and for the rest the one of the two that it is like', () => {
    expect(of('cluster', { nodeTimeout: '200ms' })).toMatchObject({ nodeTimeout: 200, maxLag: 2 });
    expect(of('cluster', { nodeTimeout: '5s' })).toEqual({
      ...of('cluster', 'default'),
      name: 'nodeTimeout 5s',
    });
    expect(of('sentinel', { downAfter: '800ms' })).toEqual({
      ...of('sentinel', 'fast'),
      name: 'downAfter 800ms',
    });
  });

  it.each([
    [{ nodeTimeout: '100ms' }, /too short: at least 200ms/],
    [{ downAfter: '500ms' }, /too short: at least 800ms/],
    [{ nodeTimeout: '2m' }, /too long: at most 1m/],
    [{}, /says one of nodeTimeout/],
    [{ nodeTimeout: '1s', downAfter: '1s' }, /says one of nodeTimeout/],
    ['slow', /./],
  ])('%j is refused', (timing, why) => {
    const { success, error } = redisSchema.safeParse({ mode: 'cluster', timing });
    expect(success).toBe(false);
    expect(JSON.stringify(error!.issues)).toMatch(why);
  });

  it.each([
    ['sentinel', 'nodeTimeout'],
    ['cluster', 'downAfter'],
    ['replication', 'downAfter'],
    ['replication', 'nodeTimeout'],
  ])('in mode %s says nothing about %s', (mode, key) => {
    const { service, cluster } = sample({ mode, timing: { [key]: '1s' } });
    expect(redisCheck(service, cluster)).toMatchObject([
      { path: ['services', 'cart', 'timing', key], atKey: true },
    ]);
  });
});
