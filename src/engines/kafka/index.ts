import type { Engine } from '../engine.ts';
import { kafkaAddress } from './address.ts';
import { kafkaCheck } from './check.ts';
import type { KafkaLive } from './live.ts';
import { kafkaMembers } from './members.ts';
import { observeKafka } from './observe.ts';
import { performKafka } from './perform.ts';
import { planKafka } from './plan.ts';
import { type KafkaSpec, schema } from './schema.ts';
import { idNames } from './seats.ts';
import { showKafka } from './show.ts';
import { kafkaStatus } from './status.ts';
import { secretNames } from './users.ts';

/** `type: kafka`: brokers and controllers in KRaft mode, with the topics and users of the file. */
export const kafka: Engine<KafkaSpec, KafkaLive> = {
  type: 'kafka',
  schema,
  check: kafkaCheck,
  hosts: ({ hosts, spec }) => [...hosts, ...spec.controllers],
  // Kafka itself is no Debian package: the plan's step `fetch` brings it.
  packages: ({ spec }) => ['openjdk-17-jre-headless', ...(spec.tls ? ['openssl'] : [])],
  secrets: secretNames,
  ids: idNames,
  members: kafkaMembers,
  load: () => import('@platformatic/kafka'),
  observe: observeKafka,
  plan: planKafka,
  perform: performKafka,
  address: kafkaAddress,
  status: kafkaStatus,
  show: showKafka,
  // Loaded when asked for: its client library costs more than most commands' whole work.
  drills: async (...asked) => (await import('./drill.ts')).kafkaDrills(...asked),
};
