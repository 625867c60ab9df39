import { dirname } from 'node:path';
import type { Check } from '../../check/check.ts';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Engine, Member } from '../engine.ts';
import type { AppSpec } from './schema.ts';

/** Readiness is asked often: a new member joins as soon as it answers. */
const readiness = (check: Check): Check => ({ ...check, intervalMs: 50 });

/** What the services in `uses` give: CART_URL and so on, from each one's engine. */
export function usedEnvironment(
  service: Service,
  cluster: Cluster,
  engineOf: (type: string) => Engine,
): Record<string, string> {
  const entries = service.uses.flatMap((name) => {
    const other = cluster.services[name]!;
    const prefix = name.toUpperCase().replaceAll('-', '_');
    const given = engineOf(other.type).address?.(other, cluster) ?? {};
    return Object.entries(given).map(([key, value]) => [`${prefix}_${key}`, value] as const);
  });
  return Object.fromEntries(entries);
}

/**
 * One process on each of the service's hosts, told by its environment where to listen (ADDRESS, PORT), who it is
 * (MEMBER), and where the services are that it uses. An app behind a director with forwarding `dr` is addressed by
 * the VIP: it must listen on every address, which is why ADDRESS is 0.0.0.0 (or :: on an IPv6 cluster).
 */
export function appMembers(
  service: Service<AppSpec>,
  cluster: Cluster,
  used: Record<string, string>,
): Member[] {
  const { spec } = service;
  return service.hosts.map((hostName): Member => {
    const host = cluster.hosts[hostName]!;
    const name = `${service.name}@${hostName}`;
    return {
      name,
      service: service.name,
      host: hostName,
      kind: 'app',
      command: spec.command,
      // Without a release: the file's own folder in the lab; a real machine has no such thing, so the member's.
      ...(spec.release
        ? { cwd: `${host.root}/members/${name}/current` }
        : host.kind === 'lab'
          ? { cwd: cluster.folder }
          : {}),
      env: {
        // In the lab `node` is the Node that runs Phalanx: the same on every machine, and nothing to install.
        ...(host.kind === 'lab'
          ? {
              PATH: `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
            }
          : {}),
        ADDRESS: host.address6 ? '::' : '0.0.0.0',
        PORT: String(spec.port),
        MEMBER: name,
        ...used,
        ...spec.env,
      },
      files: [],
      limits: {
        ...(spec.memory === undefined ? {} : { memory: spec.memory }),
        ...(spec.files === undefined ? {} : { openFiles: spec.files }),
      },
      ports: [{ proto: 'tcp', port: spec.port }],
      stop: { signal: 'TERM', timeoutMs: spec.stop },
      ready: { check: readiness(spec.check), port: spec.port, timeoutMs: spec.start },
      data: ['data'],
      ...(spec.release ? { release: service.name } : {}),
    };
  });
}
