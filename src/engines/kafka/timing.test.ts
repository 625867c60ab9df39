import { expect, it } from 'vitest';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';
import { silenceOf, timingOf } from './timing.ts';

const of = (timing: unknown): KafkaService =>
  ({ name: 'events', type: 'kafka', hosts: [], uses: [], spec: schema.parse({ timing }) }) as KafkaService;

it('a session of the file’s own has room for heartbeats, and controllers that are quick enough for it', () => {
  const quick = timingOf(of({ session: '1s' })).keys;
  expect(quick).toEqual(timingOf(of('fast')).keys);
  const calm = timingOf(of({ session: '20s' }));
  expect(calm.keys).toEqual({ 'broker.heartbeat.interval.ms': 2_000, 'broker.session.timeout.ms': 20_000 });
  expect(calm.keeperKeys).toEqual({ 'zookeeper.session.timeout.ms': 20_000 });
  expect([of('default'), of('fast'), of({ session: '3s' })].map(silenceOf)).toEqual([9_000, 1_000, 3_000]);
});

it.each(['500ms', '2m', '1003ms'])('a session of %s is refused', (session) => {
  expect(schema.safeParse({ timing: { session } }).success).toBe(false);
});
