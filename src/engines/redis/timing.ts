import type { RedisSpec } from './schema.ts';

/** What decides how soon a dead master is replaced; milliseconds. */
export interface Timing {
  name: 'default' | 'fast';
  /** cluster-node-timeout. Election adds 500 ms, up to 500 ms at random, and a second for each rank (Redis Cluster specification, "Replica election and promotion"). */
  nodeTimeout: number;
  /**
   * SENTINEL SET down-after-milliseconds. Never near or under a second: a sentinel connects to one place at most once a second
   * (SENTINEL_PING_PERIOD), also after it has switched to a new master. With less patience than that it takes the
   * new master for dead before it has even connected, and a second failover, to a replica that is behind, throws away
   * acknowledged writes (seen here at 650 ms: 2027 of 5266).
   */
  downAfter: number;
  /** SENTINEL SET failover-timeout: how long until a failover that failed is tried again (twice this). */
  failoverTimeout: number;
  /** min-replicas-max-lag, seconds: a replica not heard of for longer does not count. Replicas report each second. */
  maxLag: number;
}

const timings: Record<'default' | 'fast', Timing> = {
  default: { name: 'default', nodeTimeout: 5_000, downAfter: 5_000, failoverTimeout: 60_000, maxLag: 10 },
  fast: { name: 'fast', nodeTimeout: 600, downAfter: 1_200, failoverTimeout: 5_000, maxLag: 2 },
};

/** The timing that the file names; without one, `fast` where the promise cannot be kept otherwise. */
export function timingOf(spec: RedisSpec): Timing {
  return timings[
    spec.timing ?? ((spec.promise?.rto ?? Number.POSITIVE_INFINITY) < 10_000 ? 'fast' : 'default')
  ];
}

/**
 * down-after-milliseconds of the nth sentinel: each waits a little longer than the one before. Sentinels that find the master dead at the same moment each vote for
 * themselves, nobody is elected, and the next attempt comes only after twice failover-timeout.
 */
export const downAfterOf = (spec: RedisSpec, nth: number): number => timingOf(spec).downAfter + nth * 100;
