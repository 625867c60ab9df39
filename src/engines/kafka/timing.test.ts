import { expect, it } from 'vitest';
import { schema } from './schema.ts';
import type { KafkaService } from './seats.ts';
import { silenceOf, timingOf } from './timing.ts';

const of = (timing: unknown): KafkaService =>
  ({ name: 'events', type: 'kafka', hosts: [], uses: [], spec: schema.parse({ timing }) }) as KafkaService;

it('a session of the file’s own has controllers that are quick enough for it', () => {
  const quick = timingOf(of({ session: '1s' })).keys;
  expect(quick).toEqual(timingOf(of('fast')).keys);
  const calm = timingOf(of({ session: '20s' }));
  expect(calm.keys).toEqual({ 'broker.heartbeat.interval.ms': 200, 'broker.session.timeout.ms': 20_000 });
  expect(calm.keeperKeys).toEqual({ 'zookeeper.session.timeout.ms': 20_000 });
  expect([of('default'), of('fast'), of({ session: '3s' })].map(silenceOf)).toEqual([9_000, 1_000, 3_000]);
});

it('from any timing to any other, brokers that have the new one are not lost for a controller that has the old', () => {
  const all = ['default', 'fast', { session: '1s' }, { session: '3s' }, { session: '20s' }].map(of);
  for (const old of all)
    for (const now of all)
      expect(timingOf(now).keys['broker.heartbeat.interval.ms']! * 2).toBeLessThanOrEqual(silenceOf(old));
});

it.each(['500ms', '2m'])('a session of %s is refused', (session) => {
  expect(schema.safeParse({ timing: { session } }).success).toBe(false);
});
