import type { Cluster, Problem, Service } from '../../file/cluster.ts';
import type { Engine } from '../engine.ts';
import { rolling } from '../rolling.ts';
import { appDrills, transactionDrills } from './drill.ts';
import { appMembers, usedEnvironment } from './members.ts';
import { lastOfMoved, lastOfRegistry, registerRules, registrars } from './register.ts';
import { type AppSpec, schema } from './schema.ts';

/** `type: app`: the user's own server processes. It must know the other engines, for what they give to an app that uses them. */
export const app = (engineOf: (type: string) => Engine): Engine<AppSpec> => ({
  type: 'app',
  schema,
  // What a registrar runs on; a lab host has the Node that runs Phalanx.
  packages: ({ spec, hosts, uses }, cluster) => [
    ...(spec.register !== undefined && hosts.some((host) => cluster.hosts[host]!.kind === 'ssh')
      ? ['nodejs']
      : []),
    ...uses.flatMap((name) => {
      const used = cluster.services[name];
      return used === undefined ? [] : (engineOf(used.type).usersPackages?.(used) ?? []);
    }),
  ],
  check: (service, cluster) => [...buildRules(service), ...registerRules(service, cluster)],
  members: (service, cluster) => [
    ...appMembers(service, cluster, usedEnvironment(service, cluster, engineOf)),
    ...registrars(service, cluster, engineOf),
  ],
  plan: (service, cluster, _live, base) => {
    const own = rolling(base);
    return [...own, ...lastOfMoved(service, cluster, base, own), ...lastOfRegistry(cluster, base)];
  },
  drills: appDrills,
  transactions: transactionDrills,
  address: (service, cluster) => ({ URL: urls(service, cluster).join(',') }),
});

const urls = (service: Service<AppSpec>, cluster: Cluster): string[] =>
  service.hosts.map((host) => `http://${cluster.hosts[host]!.address}:${service.spec.port}`);

function buildRules({ name, spec }: Service<AppSpec>): Problem[] {
  if (spec.build === undefined || spec.release !== undefined) return [];
  return [
    {
      path: ['services', name, 'build'],
      atKey: true,
      message: 'build without a release: there is nothing to be built',
      hint: 'name the folder that it is run in: `release: FOLDER`',
    },
  ];
}
