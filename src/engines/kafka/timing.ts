import type { KafkaService } from './seats.ts';

/** What decides how soon a silent member counts as lost; keys of server.properties, milliseconds. */
export interface Timing {
  name: 'default' | 'fast';
  /** Empty: Kafka's own. */
  keys: Record<string, number>;
}

/**
 * `default` are Kafka's own values: a broker is fenced 9 s after its last heartbeat, which comes every 2 s; a controller quorum
 * elects after 2 s without its leader. A killed broker is noticed no sooner than a frozen one: in KRaft only missing heartbeats
 * count. When the active controller dies, the next one first has to be elected and then gives every broker a whole session.
 * `fast` notices after 1.2 s, and elects after half a second.
 */
const timings: Record<Timing['name'], Timing> = {
  default: { name: 'default', keys: {} },
  fast: {
    name: 'fast',
    keys: {
      'broker.heartbeat.interval.ms': 250,
      'broker.session.timeout.ms': 1_200,
      'controller.quorum.fetch.timeout.ms': 500,
      'controller.quorum.election.timeout.ms': 400,
      'controller.quorum.election.backoff.max.ms': 200,
      'controller.quorum.request.timeout.ms': 500,
      'controller.quorum.retry.backoff.ms': 20,
    },
  },
};

/** The timing that the file names; without one, `fast` where the promise cannot be kept otherwise. */
export function timingOf({ spec, promise }: KafkaService): Timing {
  return timings[spec.timing ?? ((promise?.rto ?? Number.POSITIVE_INFINITY) < 12_000 ? 'fast' : 'default')];
}
