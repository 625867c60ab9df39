import { expect, it } from 'vitest';
import { redisSchema } from './schema.ts';
import { timingOf } from './timing.ts';

it.each(['default', 'fast'] as const)(
  '%s: a sentinel reaches a new master before its patience ends, and takes replicas it has heard of',
  (name) => {
    const { downAfter, sentinelPeriods } = timingOf(redisSchema.parse({ mode: 'sentinel', timing: name }));
    const ping = sentinelPeriods['ping-period'] ?? 1_000;
    expect(ping).toBeLessThanOrEqual(downAfter / 2);
    // In a failover it asks for INFO once a second, and an answer counts for five ping-periods.
    expect(5 * ping).toBeGreaterThanOrEqual(2_000);
  },
);
