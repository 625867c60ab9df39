import type { StorageService } from './seats.ts';

/** What decides how soon a silent data host counts as lost. Seconds. */
export interface Timing {
  name: 'default' | 'fast';
  /** network.ping-timeout: a client that has waited so long for a brick gives it up. */
  pingTimeout: number;
  /** cluster.heal-timeout: how often the self-heal daemon looks for what is left to heal; it also does when a brick comes back. */
  healTimeout: number;
  /** TCP keepalive between the glusterds, by which they notice each other's loss: idle time, interval, count. */
  keepalive: [time: number, interval: number, count: number];
}

/**
 * `default` are GlusterFS's own values. Under `fast` a brick that is silent for 3 s (swap, a stolen CPU, a lost cable) is given up: what was
 * written meanwhile is healed to it afterwards, and its clients take up their locks and open files anew. A brick that dies closes its
 * connections and is noticed at once in both.
 */
const timings: Record<Timing['name'], Timing> = {
  default: { name: 'default', pingTimeout: 42, healTimeout: 600, keepalive: [10, 2, 9] },
  fast: { name: 'fast', pingTimeout: 3, healTimeout: 10, keepalive: [2, 1, 3] },
};

/** The timing that the file names; without one, `fast` where the promise cannot be kept otherwise. */
export function timingOf({ spec, promise }: StorageService): Timing {
  return timings[spec.timing ?? ((promise?.rto ?? Number.POSITIVE_INFINITY) < 50_000 ? 'fast' : 'default')];
}
