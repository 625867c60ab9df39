import type { Engine } from '../engine.ts';
import { appUser, chroot, proof, superUser } from './acl.ts';
import { zooKeeperCheck } from './check.ts';
import type { ZooKeeperLive } from './live.ts';
import { zooKeeperMembers } from './members.ts';
import { observeZooKeeper } from './observe.ts';
import { performZooKeeper } from './perform.ts';
import { planZooKeeper } from './plan.ts';
import { schema, type ZooKeeperSpec } from './schema.ts';
import { seatsOf } from './seats.ts';
import { zooKeeperStatus } from './status.ts';

/** `type: zookeeper`: an ensemble, for locks, elections and registries. */
export const zookeeper: Engine<ZooKeeperSpec, ZooKeeperLive> = {
  type: 'zookeeper',
  schema,
  check: zooKeeperCheck,
  hosts: ({ hosts, spec }) => [...hosts, ...spec.observers],
  // The library alone: Debian's package `zookeeper` would bring a system service of its own.
  packages: () => ['openjdk-17-jre-headless', 'libzookeeper-java', 'libslf4j-java', 'libcommons-cli-java'],
  secrets: () => [appUser, superUser],
  ids: (service) => [...service.hosts, ...service.spec.observers],
  members: zooKeeperMembers,
  observe: observeZooKeeper,
  plan: planZooKeeper,
  perform: performZooKeeper,
  address: (service, cluster) => ({
    URL: `${seatsOf(service, cluster)
      .map(({ address, port }) => `${address}:${port}`)
      .join(',')}${chroot(service)}`,
    AUTH: proof(cluster, service, appUser),
  }),
  status: zooKeeperStatus,
  // Loaded when asked for: its client library costs more than most commands' whole work.
  drills: async (...asked) => (await import('./drill.ts')).zooKeeperDrills(...asked),
};
