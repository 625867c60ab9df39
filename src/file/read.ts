import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Engine } from '../engines/engine.ts';
import type { HostAddresses } from './addresses.ts';
import type { Cluster, Problem } from './cluster.ts';
import { inOrder, isTooLarge, type Located, locate, tooLarge } from './document.ts';
import { examine } from './issues.ts';
import { FileErrors, type Mistake, mostMistakes } from './mistakes.ts';
import { place } from './places.ts';
import { clashes } from './ports.ts';
import { clusterName, root } from './schema.ts';
import { cycles, readServices } from './services.ts';
import { isRecord, salvage } from './shape.ts';

export { FileErrors, type Mistake } from './mistakes.ts';

/** What a cluster has from its earlier runs, and where it keeps it. */
export interface FileState {
  /** Folder of all clusters' state, e.g. /var/lib/phalanx; the cluster's own is `home/NAME`. */
  home: string;
  /** Addresses that lab hosts of this cluster were given before; they keep them. */
  addresses: Record<string, HostAddresses>;
  secrets: Cluster['secrets'];
  releases: Cluster['releases'];
  /** A second file whose `hosts` (and `network`) stand in for those of the first. */
  hosts?: string;
}

/**
 * Reads the file and checks all of it; `edit` gives its text as it is to be taken. Throws FileErrors with every mistake that there
 * is, also when the file is not there or is no text. Changes nothing.
 */
export function readClusterFile(
  path: string,
  engines: Record<string, Engine> | Engine[],
  state: FileState,
  edit = (text: string): string => text,
): Cluster {
  const { hosts } = state;
  const second = hosts === undefined ? undefined : { file: hosts, text: contentOf(hosts) };
  return parseCluster(edit(contentOf(path)), path, engines, state, second);
}

function contentOf(path: string): string {
  const refuse = (message: string, hint?: string): never => {
    const mistake: Mistake = { file: path, line: 1, column: 1, width: 1, message };
    throw new FileErrors([hint === undefined ? mistake : { ...mistake, hint }], '');
  };
  let handle: number | undefined;
  try {
    // O_NONBLOCK: opening a named pipe must not wait for whoever might write to it.
    handle = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const about = fstatSync(handle);
    if (!about.isFile())
      refuse(about.isDirectory() ? 'this is a folder' : 'this is no regular file', 'name a YAML file');
    if (isTooLarge(about.size)) refuse(tooLarge(about.size));
    return new TextDecoder().decode(readFileSync(handle));
  } catch (error) {
    if (error instanceof FileErrors) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EACCES' ? 'the file may not be read' : message;
    return refuse(why, code === 'ENOENT' ? 'name one: phalanx up FILE' : undefined);
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}

/**
 * The cluster that the text describes. `file` is named in mistakes as it is given. Throws FileErrors, and nothing else,
 * whatever the text is; rules that need a part which is wrong are left out, all others are still looked at.
 */
export function parseCluster(
  text: string,
  file: string,
  engines: Record<string, Engine> | Engine[],
  state: FileState,
  second?: { file: string; text: string },
): Cluster {
  const located = locate(text, file);
  const elsewhere = second === undefined ? undefined : locate(second.text, second.file);
  const byType = new Map(Object.values(engines).map((engine) => [engine.type, engine]));
  const ofFirst = ownKeys(located);
  const ofSecond = elsewhere === undefined ? {} : ownKeys(elsewhere);
  const written: Record<string, unknown> = { ...ofFirst, ...ofSecond };
  const strange = Object.keys(ofSecond).filter((key) => key !== 'hosts' && key !== 'network');
  for (const key of strange) written[key] = ofFirst[key];
  const problems: Problem[] = [...examine(root, written, []).problems];
  const parts = salvage(root, written) as Partial<ReturnType<typeof root.parse>>;

  const hostNames = isRecord(written['hosts']) ? new Set(Object.keys(written['hosts'])) : undefined;
  const writtenServices = isRecord(written['services']) ? written['services'] : {};
  const { services, problems: inServices } = readServices(writtenServices, byType, hostNames);
  problems.push(...inServices);

  const name = clusterName.safeParse(written['cluster']).data ?? 'cluster';
  const home = join(state.home, name);
  const {
    network,
    hosts,
    problems: inPlaces,
  } = place({
    name,
    home,
    hosts: parts.hosts ?? {},
    network: parts.network,
    services,
    existing: state.addresses,
    networkKnown: !problems.some(({ path }) => path[0] === 'network' || path[2] === 'vip'),
  });
  const round = cycles(services, writtenServices);
  problems.push(...inPlaces, ...round);

  const cluster: Cluster = {
    name,
    file: resolve(file),
    folder: dirname(resolve(file)),
    home,
    network,
    hosts,
    services,
    secrets: state.secrets,
    releases: state.releases,
  };
  const broken = located.mistakes.length + problems.length > 0;
  const seen = rendered(cluster, byType, broken, round.length > 0);
  problems.push(...byEngines(seen, byType, broken, problems.length));
  problems.push(...onPorts(seen, byType, broken || problems.length > 0, located));

  const inSecond = ({ path: [key] }: Problem): boolean => key !== undefined && Object.hasOwn(ofSecond, key);
  const shown = problems.slice(0, mostMistakes);
  const mistakes = [...located.mistakes, ...shown.filter((problem) => !inSecond(problem)).map(located.place)];
  const others = [
    ...(elsewhere?.mistakes ?? []),
    ...shown.filter(inSecond).map((problem) => elsewhere!.place(problem)),
    ...strange.map((key) =>
      elsewhere!.place({
        path: [key],
        atKey: true,
        message: `"${key}" does not belong here`,
        hint: 'a file of hosts has `hosts:` and, where it is needed, `network:`',
      }),
    ),
  ];
  if (mistakes.length + others.length > 0)
    throw new FileErrors(
      [...inOrder(mistakes), ...inOrder(others)],
      second === undefined ? text : { [file]: text, [second.file]: second.text },
    );
  return cluster;
}

/** What the file says, without the user's own keys. */
function ownKeys(located: Located): Record<string, unknown> {
  const all = Object.entries(located.value as Record<string, unknown>);
  return Object.fromEntries(all.filter(([key]) => !key.startsWith('x-')));
}

/** Runs an engine's rule. With mistakes in the file it may meet parts that are missing, and then has nothing to say. */
function attempt<T>(broken: boolean, rule: () => T[]): T[] {
  try {
    return rule();
  } catch (error) {
    if (broken) return [];
    throw error;
  }
}

function byEngines(
  cluster: Cluster,
  engines: Map<string, Engine>,
  broken: boolean,
  before: number,
): Problem[] {
  const problems: Problem[] = [];
  for (const service of Object.values(cluster.services)) {
    if (before + problems.length > mostMistakes) break;
    problems.push(...attempt(broken, () => engines.get(service.type)?.check?.(service, cluster) ?? []));
  }
  return problems;
}

function onPorts(
  cluster: Cluster,
  engines: Map<string, Engine>,
  broken: boolean,
  located: Located,
): Problem[] {
  const members = Object.values(cluster.services).flatMap((service) =>
    attempt(broken, () => engines.get(service.type)?.members(service, cluster) ?? []),
  );
  const path = (service: string) => {
    const port = ['services', service, 'port'];
    return located.has(port) ? port : port.slice(0, 2);
  };
  return clashes(members, path, (service) => located.line(path(service)));
}

/**
 * The cluster with something in the place of secrets and releases that do not exist yet, so that members can be rendered;
 * without `uses` when these go round, because engines may follow them.
 */
function rendered(cluster: Cluster, engines: Map<string, Engine>, broken: boolean, round: boolean): Cluster {
  const all = Object.values(cluster.services);
  const secrets = all.flatMap((service) =>
    attempt(broken, () => engines.get(service.type)?.secrets?.(service) ?? []).map((name) => [
      `${service.name}/${name}`,
      'not made yet',
    ]),
  );
  const releases = all.map(({ name }) => [name, { hash: '0'.repeat(64), tar: '' }]);
  const services = all.map((service) => [service.name, { ...service, uses: [] }]);
  return {
    ...cluster,
    services: round ? Object.fromEntries(services) : cluster.services,
    secrets: { ...Object.fromEntries(secrets), ...cluster.secrets },
    releases: { ...Object.fromEntries(releases), ...cluster.releases },
  };
}
