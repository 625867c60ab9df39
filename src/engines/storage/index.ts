import type { Engine } from '../engine.ts';
import { storageCheck } from './check.ts';
import type { StorageLive } from './live.ts';
import { storageMembers, storageSettings } from './members.ts';
import { observeStorage } from './observe.ts';
import { performStorage } from './perform.ts';
import { planStorage } from './plan.ts';
import { type StorageSpec, schema } from './schema.ts';
import { isMount, mountPoint } from './seats.ts';
import { storageStatus } from './status.ts';

/** `type: storage`: one directory that is the same on all hosts of the services that use it, by GlusterFS. */
export const storage: Engine<StorageSpec, StorageLive> = {
  type: 'storage',
  schema,
  check: storageCheck,
  packages: () => ['glusterfs-server', 'glusterfs-client'],
  usersPackages: () => ['glusterfs-client'],
  // Which hosts ever had a copy is remembered for life: one that cannot be asked may have it still.
  ids: ({ hosts }) => hosts,
  members: storageMembers,
  settings: storageSettings,
  carries: isMount,
  observe: observeStorage,
  plan: planStorage,
  perform: performStorage,
  address: (service, cluster) => ({ PATH: mountPoint(service, cluster) }),
  status: storageStatus,
};
