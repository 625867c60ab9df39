import type { Engine } from '../engine.ts';
import { rabbitRules } from './check.ts';
import { rabbitAddress } from './fronts.ts';
import type { RabbitLive } from './live.ts';
import { rabbitMembers } from './members.ts';
import { secretNames } from './names.ts';
import { observeRabbit } from './observe.ts';
import { performRabbit } from './perform.ts';
import { planRabbit } from './plan.ts';
import { type RabbitSpec, schema } from './schema.ts';
import { rabbitStatus } from './status.ts';

/** `type: rabbitmq`: a cluster of RabbitMQ nodes with the users, queues, exchanges, bindings and policies of the file. */
export const rabbitmq: Engine<RabbitSpec, RabbitLive> = {
  type: 'rabbitmq',
  schema,
  check: rabbitRules,
  packages: () => ['rabbitmq-server'],
  secrets: secretNames,
  members: rabbitMembers,
  load: () => import('node:http'),
  observe: observeRabbit,
  plan: planRabbit,
  perform: performRabbit,
  address: rabbitAddress,
  status: rabbitStatus,
  // Loaded when asked for: its client library costs more than most commands' whole work.
  drills: async (...asked) => (await import('./drill.ts')).rabbitDrills(...asked),
};
