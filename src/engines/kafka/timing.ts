import { durationText } from '../../file/units.ts';
import type { KafkaService } from './seats.ts';

/** What decides how soon a silent member counts as lost; keys of server.properties, milliseconds. */
export interface Timing {
  /** 'default', 'fast', or what the file says exactly: 'session 3s'. */
  name: string;
  /** What is not there is Kafka's own. */
  keys: Record<string, number>;
  /** The same with the metadata in ZooKeeper, which says when a broker is lost: its session there has ended. */
  keeperKeys: Record<string, number>;
}

/**
 * How often a broker says that it is there: in every timing as often as the shortest session wants. Whether it is lost the active controller decides, by
 * its own session, and that one restarts last: while another timing rolls, brokers that have the new one are judged by the old.
 */
const heartbeat = { 'broker.heartbeat.interval.ms': 200 };

/**
 * `default` are Kafka's own values, all but the heartbeat (2 s): a broker is fenced 9 s after its last one; a controller quorum
 * elects after 2 s without its leader. A killed broker is noticed no sooner than a frozen one: in KRaft only missing heartbeats
 * count. When the active controller dies, the next one first has to be elected and then gives every broker a whole session.
 * `fast` fences after 1 s, and elects after 0.8 s.
 *
 * The active controller holds a follower's fetch for up to 500 ms while there is nothing new (KafkaRaftClient.MAX_FETCH_WAIT_MS, not configurable):
 * with a fetch timeout near that, two controllers of three depose each other again and again (28 s without a controller, at 500 ms).
 * So there is something new every 100 ms, a record of a few bytes, and the timeout is well above both.
 */
const timings: Record<'default' | 'fast', Timing> = {
  default: { name: 'default', keys: heartbeat, keeperKeys: {} },
  fast: {
    name: 'fast',
    keys: {
      ...heartbeat,
      'broker.session.timeout.ms': 1_000,
      'metadata.max.idle.interval.ms': 100,
      'controller.quorum.fetch.timeout.ms': 800,
      'controller.quorum.election.timeout.ms': 250,
      'controller.quorum.election.backoff.max.ms': 100,
      'controller.quorum.request.timeout.ms': 500,
      'controller.quorum.retry.backoff.ms': 20,
    },
    // No shorter than the ZooKeeper allows: 4 s with its default timing.
    keeperKeys: { 'zookeeper.session.timeout.ms': 2_000 },
  },
};

/** Below this session the controllers have to be as quick as those of `fast`, milliseconds. */
const swift = 5_000;

/**
 * The timing that the file names; without one, `fast` where the promise cannot be kept otherwise. With a session of the file's own the controllers are
 * those of `fast` or of `default`, whichever is like it.
 */
export function timingOf({ spec, promise }: KafkaService): Timing {
  if (typeof spec.timing === 'object') {
    const { session } = spec.timing;
    return {
      name: `session ${durationText(session)}`,
      keys: {
        ...timings[session < swift ? 'fast' : 'default'].keys,
        'broker.session.timeout.ms': session,
      },
      keeperKeys: { 'zookeeper.session.timeout.ms': session },
    };
  }
  return timings[spec.timing ?? ((promise?.rto ?? Number.POSITIVE_INFINITY) < 12_000 ? 'fast' : 'default')];
}

/** After how much silence a broker counts as lost, milliseconds; 9 s is Kafka's own. */
export const silenceOf = (service: KafkaService): number =>
  timingOf(service).keys['broker.session.timeout.ms'] ?? 9_000;
