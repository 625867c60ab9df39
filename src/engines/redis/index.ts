import type { Engine } from '../engine.ts';
import { redisAddress } from './address.ts';
import { backupRedis } from './backup/backup.ts';
import { restoreRedis } from './backup/restore.ts';
import { redisCheck } from './check.ts';
import { redisDoctor } from './doctor/doctor.ts';
import { redisDrills } from './drill.ts';
import type { RedisLive } from './live.ts';
import { redisMembers } from './members.ts';
import { observeRedis } from './observe.ts';
import { perform } from './perform/perform.ts';
import { worldOf } from './perform/world.ts';
import { redisPlan } from './plan.ts';
import { repairRedis } from './repair.ts';
import { type RedisSpec, redisSchema } from './schema.ts';
import { redisStatus } from './status.ts';
import { switchover } from './switchover.ts';
import { secretsOf } from './users.ts';

/** `type: redis`: replication with a chain, Sentinel, or Cluster. */
export const redis: Engine<RedisSpec, RedisLive> = {
  type: 'redis',
  schema: redisSchema,
  check: redisCheck,
  packages: () => ['redis-server', 'redis-tools'],
  secrets: secretsOf,
  members: redisMembers,
  observe: observeRedis,
  plan: redisPlan,
  perform: (action, service, cluster, reach, say) => perform(worldOf(service, cluster, reach, say), action),
  address: redisAddress,
  status: redisStatus,
  drills: redisDrills,
  switchover,
  doctor: redisDoctor,
  backup: backupRedis,
  restore: restoreRedis,
  repair: repairRedis,
};
