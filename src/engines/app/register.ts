import type { Check } from '../../check/check.ts';
import type { Cluster, Problem, Service } from '../../file/cluster.ts';
import { suggestion } from '../../file/nearest.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import type { BasePlan, Engine, Member, Step } from '../engine.ts';
import { configFile, type RegistrarConfig, stateFile, userFile } from './registrar/files.ts';
import type { AppSpec } from './schema.ts';

type AppService = Service<AppSpec>;

const part = 'registrar';
const registrarName = (service: { name: string }, host: string): string => `${service.name}.${part}@${host}`;

/** How long a member's node outlives its registrar, within the ensemble's bounds, milliseconds. */
const sessionMs = 2_000;

/** Where a service's members are registered: the ensemble as its users are told of it, and the node that theirs are below. */
export interface Registry {
  url: string;
  path: string;
}

/** The registry of a service whose file says `register`; undefined of any other. Its nodes can be read by anybody. */
export function registryOf(
  service: Service,
  cluster: Cluster,
  engineOf: (type: string) => Engine,
): Registry | undefined {
  const { register } = (service.spec ?? {}) as Partial<AppSpec>;
  const ensemble = register === undefined ? undefined : cluster.services[register];
  const url = ensemble && engineOf(ensemble.type).address?.(ensemble, cluster)['URL'];
  if (url === undefined) return undefined;
  return { url, path: `${url.slice(url.indexOf('/'))}/registry/${service.name}` };
}

/** `register` names a zookeeper that the service uses. */
export function registerRules(service: AppService, cluster: Cluster): Problem[] {
  const { register } = (service.spec ?? {}) as Partial<AppSpec>;
  if (register === undefined) return [];
  const problem = (message: string, hint?: string): Problem[] => [
    { path: ['services', service.name, 'register'], message, ...(hint === undefined ? {} : { hint }) },
  ];
  const target = Object.hasOwn(cluster.services, register) ? cluster.services[register] : undefined;
  if (target === undefined) {
    const ensembles = Object.values(cluster.services).filter(({ type }) => type === 'zookeeper');
    return problem(
      `no service "${register.slice(0, 60)}" is declared`,
      suggestion(
        register,
        ensembles.map(({ name }) => name),
      ),
    );
  }
  if (target.type !== 'zookeeper')
    return problem(
      `"${register}" is of type ${target.type}`,
      'members register in a service of type zookeeper',
    );
  if (!service.uses.includes(register))
    return problem(
      `"${register}" is not among the services that ${service.name} uses`,
      `uses: [${[...service.uses, register].join(', ')}]`,
    );
  return [];
}

/** A registrar beside each member; see registrar/registrar.ts. None where the service is not registered. */
export function registrars(
  service: AppService,
  cluster: Cluster,
  engineOf: (type: string) => Engine,
): Member[] {
  const registry = registryOf(service, cluster, engineOf);
  if (registry === undefined) return [];
  const ensemble = cluster.services[service.spec.register!]!;
  const user = engineOf(ensemble.type).address!(ensemble, cluster)['AUTH'] ?? '';
  const { check, port, start } = service.spec;
  return service.hosts.map((hostName): Member => {
    const host = cluster.hosts[hostName]!;
    const config: RegistrarConfig = {
      member: `${service.name}@${hostName}`,
      ...registry,
      address: host.address,
      port,
      check,
      sessionMs,
    };
    const name = registrarName(service, hostName);
    const node = host.kind === 'lab' ? process.execPath : 'node';
    return {
      name,
      service: service.name,
      part,
      host: hostName,
      kind: part,
      command: `${node} --max-old-space-size=64 registrar.mjs .`,
      env: {},
      files: [
        {
          path: 'registrar.mjs',
          content: cluster.programs?.['registrar'] ?? '',
          mode: 0o644,
          onChange: 'restart',
        },
        {
          path: configFile,
          content: `${JSON.stringify(config, null, 1)}\n`,
          mode: 0o644,
          onChange: 'restart',
        },
        { path: userFile, content: user, mode: 0o600, onChange: 'restart', secret: true },
      ],
      limits: {},
      ports: [],
      stop: { signal: 'TERM', timeoutMs: 5_000 },
      ready: {
        check: registered(`${memberFolder({ name }, host.root)}/${stateFile}`),
        port,
        timeoutMs: start + 15_000,
      },
      data: [],
    };
  });
}

/** Passes while the registrar that runs now holds the node. */
const registered = (file: string): Check => ({
  kind: 'script',
  command: `read -r word process <'${file}' && [ "$word" = registered ] && [ -d "/proc/$process" ] || { cat '${file}' >&2; exit 1; }`,
  intervalMs: 50,
  timeoutMs: 2_000,
  rise: 1,
  fall: 1,
});

/** Ids of the steps that start registrars anew: a director follows the registry only when members are in it. */
export const registering = (service: Service): string[] =>
  service.hosts.map((host) => `ready ${registrarName(service, host)}`);

/** Ids of the steps that tell directors of a change in the pools. */
const toldOf = (cluster: Cluster): string[] =>
  Object.values(cluster.services)
    .filter(({ type }) => type === 'director')
    .flatMap((director) =>
      director.hosts.flatMap((host) =>
        ['write', 'start', 'reload', 'restart'].map((verb) => `${verb} ${director.name}.agent@${host}`),
      ),
    );

const isRegistrar = (member: string): boolean => member.includes(`.${part}@`);

/**
 * Registrars that the file no longer has go when the directors have been told: one that still follows the registry would lose
 * every server. While a director cannot be told, they stay; and where the member leaves with its registrar, they go after it.
 */
export function lastOfRegistry(cluster: Cluster, base: BasePlan): Step[] {
  const stops = new Set([...base.leaving.keys()].map((name) => `stop ${name}`));
  return [...base.leaving]
    .filter(([name]) => isRegistrar(name))
    .flatMap(([name, steps]) => {
      const member = `stop ${name.replace(`.${part}@`, '@')}`;
      const needs = [...toldOf(cluster), ...(stops.has(member) ? [member] : [])];
      return steps.map((step) => ({ ...step, needs: [...step.needs, ...needs] }));
    });
}

/**
 * Members that the file no longer has go last: when those that stay, or come in their place, are ready and the directors send them nothing
 * any more. `own` are the steps of these. At once only where another app of the file is to listen on the same port of that host.
 */
export function lastOfMoved(service: AppService, cluster: Cluster, base: BasePlan, own: Step[]): Step[] {
  const going = [...base.leaving].filter(([name]) => !isRegistrar(name));
  if (going.length === 0) return [];
  // Also of those that an earlier change has started and did not see ready.
  const asked = base.members.flatMap((member) => {
    const idle = (base.byMember.get(member.name) ?? []).length === 0;
    const ready = idle && base.observed.get(member.name)?.running ? base.ready(member) : undefined;
    return ready && !own.some(({ id }) => id === ready.id) ? [ready] : [];
  });
  const ready = [...own, ...asked]
    .filter(({ verb }) => verb === 'start' || verb === 'restart' || verb === 'ready')
    .map(({ id }) => id);
  const first = [...ready, ...toldOf(cluster)];
  const moved = going.flatMap(([name, steps]) => {
    if (isTaken(service, cluster, name.split('@')[1]!)) return steps;
    const dismissed = base.dismiss(name).map((step) => ({ ...step, needs: [...step.needs, ...first] }));
    const needs = [...first, ...dismissed.map(({ id }) => id)];
    return [...dismissed, ...steps.map((step) => ({ ...step, needs: [...step.needs, ...needs] }))];
  });
  return [...asked, ...moved];
}

/** Whether another app of the file listens on the service's port of that host. */
const isTaken = ({ name, spec }: AppService, { services }: Cluster, host: string): boolean =>
  Object.values(services).some(
    (other) =>
      other.name !== name &&
      other.hosts.includes(host) &&
      (other.spec as { port?: unknown } | undefined)?.port === spec.port,
  );
