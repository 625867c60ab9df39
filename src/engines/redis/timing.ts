import { durationText } from '../../file/units.ts';
import type { RedisSpec } from './schema.ts';

/** What decides how soon a dead master is replaced; milliseconds. */
export interface Timing {
  /** 'default', 'fast', or what the file says exactly: 'nodeTimeout 500ms'. */
  name: string;
  /** cluster-node-timeout. Election adds 500 ms, up to 500 ms at random, and a second for each rank (Redis Cluster specification, "Replica election and promotion"). */
  nodeTimeout: number;
  /**
   * SENTINEL SET down-after-milliseconds. A sentinel connects to one place at most once in its ping-period, a second unless it is told
   * otherwise, also after it has switched to a new master. With less patience than that it takes the new master for dead before it
   * has even connected, and a second failover, to a replica that is behind, throws away acknowledged writes (seen here at 650 ms: 2027 of
   * 5266). So less than 1.1 s needs a shorter ping-period.
   */
  downAfter: number;
  /**
   * SENTINEL DEBUG (Redis 7.0 and later), milliseconds: how often it pings and connects, and how often it
   * asks members for their INFO. Empty: Redis's own. In a failover it asks once a second, and takes no replica whose answer is older than five
   * ping-periods (sentinelSelectSlave in sentinel.c of 7.0): with 200 ms it found none, one time in ten, and tried again after ten seconds.
   */
  sentinelPeriods: Record<string, number>;
  /** SENTINEL SET failover-timeout: how long until a failover that failed is tried again (twice this). */
  failoverTimeout: number;
  /** min-replicas-max-lag, seconds: a replica not heard of for longer does not count. Replicas report each second. */
  maxLag: number;
}

const timings: Record<'default' | 'fast', Timing> = {
  default: {
    ...{ name: 'default', nodeTimeout: 5_000, downAfter: 5_000, failoverTimeout: 60_000, maxLag: 10 },
    sentinelPeriods: {},
  },
  fast: {
    ...{ name: 'fast', nodeTimeout: 500, downAfter: 800, failoverTimeout: 5_000, maxLag: 2 },
    sentinelPeriods: { 'ping-period': 400, 'info-period': 1_000 },
  },
};

/** A silence below this is not `default`'s kind any more, milliseconds. */
const swift = 2_000;

/**
 * The timing that the file names; without one, `fast` where the promise cannot be kept otherwise. Where the file says the silence
 * exactly, all else is that of `fast` below 2 s, and that of `default` from there on.
 */
export function timingOf({ timing, promise }: RedisSpec): Timing {
  if (typeof timing === 'object') {
    const [said] = Object.entries(timing).filter(([, ms]) => ms !== undefined) as [string, number][];
    const [key, ms] = said!;
    const like = timings[ms < swift ? 'fast' : 'default'];
    return { ...like, name: `${key} ${durationText(ms)}`, [key]: ms };
  }
  return timings[timing ?? ((promise?.rto ?? Number.POSITIVE_INFINITY) < 10_000 ? 'fast' : 'default')];
}

/** After how much silence a master counts as dead, milliseconds. */
export const silenceOf = (spec: RedisSpec): number => {
  const { nodeTimeout, downAfter } = timingOf(spec);
  return spec.mode === 'cluster' ? nodeTimeout : downAfter;
};

/**
 * down-after-milliseconds of the nth sentinel: each waits a little longer than the one before. Sentinels that find the master dead at the same moment each vote for
 * themselves, nobody is elected, and the next attempt comes only after twice failover-timeout.
 */
export const downAfterOf = (spec: RedisSpec, nth: number): number => timingOf(spec).downAfter + nth * 100;
