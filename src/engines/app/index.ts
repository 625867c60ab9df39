import type { Cluster, Service } from '../../file/cluster.ts';
import type { Engine } from '../engine.ts';
import { rolling } from '../rolling.ts';
import { appDrills } from './drill.ts';
import { appMembers, usedEnvironment } from './members.ts';
import { type AppSpec, schema } from './schema.ts';

/** `type: app`: the user's own server processes. It must know the other engines, for what they give to an app that uses them. */
export const app = (engineOf: (type: string) => Engine): Engine<AppSpec> => ({
  type: 'app',
  schema,
  packages: () => [],
  members: (service, cluster) => appMembers(service, cluster, usedEnvironment(service, cluster, engineOf)),
  plan: (_service, _cluster, _live, base) => rolling(base),
  drills: appDrills,
  address: (service, cluster) => ({ URL: urls(service, cluster).join(',') }),
});

const urls = (service: Service<AppSpec>, cluster: Cluster): string[] =>
  service.hosts.map((host) => `http://${cluster.hosts[host]!.address}:${service.spec.port}`);
