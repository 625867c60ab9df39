import { durationText } from '../../file/units.ts';
import type { ZooKeeperService } from './seats.ts';

/** What decides how soon a silent server counts as lost. Milliseconds, or ticks where it says so. */
export interface Timing {
  /** 'default', 'fast', or what the file says exactly: 'tickTime 500ms'. */
  name: string;
  tickTime: number;
  /** Ticks that a follower may take to connect and copy the leader's snapshot: must outlast the largest snapshot. */
  initLimit: number;
  /** Ticks of silence after which a follower leaves its leader, and a leader its followers. */
  syncLimit: number;
  /** Session timeouts that clients may ask for. */
  minSessionTimeout: number;
  maxSessionTimeout: number;
  /** How long a server waits for another one's election port. */
  cnxTimeout: number;
}

/**
 * `default` are ZooKeeper's own values (Administrator's Guide, "Minimum Configuration"): a frozen leader is noticed
 * after 10 s. `fast` notices after 800 ms; a pause that long (swap, a stolen CPU, a slow disk) elects a new leader for
 * nothing, and followers have 10 s to copy a snapshot. A leader that dies closes its connections and is noticed at once in both.
 *
 * leaderConnectDelayDuringRetryMs stays at its 100: a follower asks a new leader five times, and one that gives up too soon
 * leaves that leader waiting for it for the whole of initLimit (20 ms were measured to cost 20 s on a busy machine).
 */
const timings: Record<'default' | 'fast', Timing> = {
  default: {
    name: 'default',
    tickTime: 2_000,
    initLimit: 10,
    syncLimit: 5,
    minSessionTimeout: 4_000,
    maxSessionTimeout: 40_000,
    cnxTimeout: 5_000,
  },
  fast: {
    name: 'fast',
    tickTime: 200,
    initLimit: 50,
    syncLimit: 4,
    minSessionTimeout: 400,
    maxSessionTimeout: 40_000,
    cnxTimeout: 500,
  },
};

/** A follower may take this long to copy a snapshot however short the tick is, milliseconds. */
const copying = 10_000;

/**
 * The timing that the file names; without one, `fast` where the promise cannot be kept otherwise. With a tick of the file's own, clients may ask
 * for sessions of two ticks or more, as ZooKeeper has it.
 */
export function timingOf({ spec, promise }: ZooKeeperService): Timing {
  if (typeof spec.timing === 'object') {
    const { tickTime } = spec.timing;
    return {
      ...timings.fast,
      name: `tickTime ${durationText(tickTime)}`,
      tickTime,
      initLimit: Math.max(10, Math.ceil(copying / tickTime)),
      minSessionTimeout: 2 * tickTime,
      maxSessionTimeout: Math.max(40_000, 20 * tickTime),
      cnxTimeout: Math.min(5_000, Math.max(500, 2.5 * tickTime)),
    };
  }
  return timings[spec.timing ?? ((promise?.rto ?? Number.POSITIVE_INFINITY) < 12_000 ? 'fast' : 'default')];
}

/** After how long a silent leader is left, milliseconds. */
export const silenceOf = (service: ZooKeeperService): number => {
  const { tickTime, syncLimit } = timingOf(service);
  return tickTime * syncLimit;
};
