import type { Engine } from '../engine.ts';
import { redisAddress } from './address.ts';
import { redisCheck } from './check.ts';
import type { RedisLive } from './live.ts';
import { redisMembers } from './members.ts';
import { observeRedis } from './observe.ts';
import { perform } from './perform/perform.ts';
import { worldOf } from './perform/world.ts';
import { redisPlan } from './plan.ts';
import { type RedisSpec, redisSchema } from './schema.ts';
import { redisStatus } from './status.ts';
import { secretsOf } from './users.ts';

/** `type: redis`: replication with a chain, Sentinel, or Cluster. */
export const redis: Engine<RedisSpec, RedisLive> = {
  type: 'redis',
  schema: redisSchema,
  check: redisCheck,
  packages: () => ['redis-server', 'redis-tools'],
  secrets: secretsOf,
  members: redisMembers,
  load: () => import('./client-library.ts'),
  observe: observeRedis,
  plan: redisPlan,
  perform: (action, service, cluster, reach, say) => perform(worldOf(service, cluster, reach, say), action),
  address: redisAddress,
  status: redisStatus,
  // Loaded when asked for: most commands never do, and a client library costs more than all their work.
  drills: async (...asked) => (await import('./drill.ts')).redisDrills(...asked),
  switchover: async (...asked) => (await import('./switchover.ts')).switchover(...asked),
  doctor: async (...asked) => (await import('./doctor/doctor.ts')).redisDoctor(...asked),
  backup: async (...asked) => (await import('./backup/backup.ts')).backupRedis(...asked),
  restore: async (...asked) => (await import('./backup/restore.ts')).restoreRedis(...asked),
  repair: async (...asked) => (await import('./repair.ts')).repairRedis(...asked),
};
