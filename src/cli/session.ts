import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { handedFile } from '../cluster/handed.ts';
import { BuildFailed, packRelease, releaseOf, type Source } from '../cluster/release.ts';
import { type Kept, readKept, stateHome, withIds, withSecrets, writeKept } from '../cluster/state.ts';
import { engines } from '../engines/index.ts';
import type { Cluster, HostEntry, Service } from '../file/cluster.ts';
import { machineRoot } from '../file/places.ts';
import { type FileState, readClusterFile } from '../file/read.ts';
import { bundle, type Program } from '../hosts/bundle.ts';
import type { Reach } from '../hosts/host.ts';
import { hostRoot } from '../hosts/lab/names.ts';
import { needRoot } from '../hosts/lab/root.ts';
import { type Lock, lockFile } from '../hosts/lock.ts';
import { reachOf } from '../hosts/reach.ts';
import type { MachineFacts } from '../hosts/ssh/facts.ts';
import { UserError } from './error.ts';
import { type Learnt, learnMachines, stillThere } from './machines.ts';

/** What every command works with: the cluster as the file and its kept state make it, and the way to its hosts. */
export interface Session {
  cluster: Cluster;
  reach: Reach;
  kept: Kept;
  /** Of its real machines: what they say that stands against what is known here. */
  learnt: Omit<Learnt, 'machines'>;
}

const checkout = resolve(import.meta.dirname, '../..');

/** The file a command is about: the one named, else ./phalanx.yaml, else the example of this checkout. */
export function whichFile(named: string | undefined): string {
  if (named !== undefined) return resolve(named);
  const here = resolve('phalanx.yaml');
  return existsSync(here) ? here : join(checkout, 'examples/shop.yaml');
}

/** The file of --hosts, where the command was given one: its hosts stand in for those of the cluster's file. */
let hostsFile: string | undefined;

export function useHosts(file: string): void {
  hostsFile = resolve(file);
}

interface Opening {
  /** In the place of the state that this machine keeps. */
  adopted?: Kept;
  /** Gives the file's text as it is to be taken. */
  edit?: (text: string) => string;
  /** Machines may all have left the file. */
  forgetting?: boolean;
  /** The way to the hosts, where it is another one. */
  ways?: (cluster: Cluster) => Reach;
}

/**
 * Reads and checks the file and gives the session. Writes nothing, and looks only at real machines that it does not know yet.
 * Refuses a file without a real machine where the cluster runs on some: in a lab of the same name they would all be hosts that left.
 */
export async function openSession(
  named: string | undefined,
  { adopted, edit, forgetting, ways = reachOf }: Opening = {},
): Promise<Session> {
  const path = whichFile(named);
  const read = (state: FileState): Cluster => readClusterFile(path, engines, state, edit);
  const where = hostsFile === undefined ? {} : { hosts: hostsFile };
  const first = read({
    home: stateHome(),
    addresses: {},
    secrets: {},
    releases: {},
    ...where,
  });
  const root = Object.values(first.hosts).some((host) => host.kind === 'lab') ? needRoot() : undefined;
  if (root) throw new UserError(root);
  const home = first.home;
  const kept = adopted ?? readKept(home);
  if (adopted === undefined && !forgetting) refuseLabOf(first, Object.keys(kept.machines));
  const names = Object.values(first.services).flatMap((service) =>
    (engines[service.type]!.secrets?.(service) ?? []).map((name) => `${service.name}/${name}`),
  );
  const secrets = withSecrets(kept.secrets, names);
  const ids = withIds(
    kept.ids,
    Object.values(first.services).flatMap((service) =>
      (engines[service.type]!.ids?.(service) ?? []).map((name) => `${service.name}/${name}`),
    ),
  );
  const releases = releasesOf(first);
  const cluster = read({
    home: stateHome(),
    addresses: kept.addresses,
    secrets,
    releases,
    ...where,
  });
  cluster.ids = ids;
  cluster.former = formerHosts(cluster, kept);
  cluster.programs = await programsOf(cluster);
  const addresses = Object.fromEntries(
    Object.values(cluster.hosts)
      .filter((host) => host.kind === 'lab')
      .map((host) => [
        host.name,
        { address: host.address, ...(host.address6 ? { address6: host.address6 } : {}) },
      ]),
  );
  const reach = ways(cluster);
  const { machines, ...learnt } = await learnMachines(cluster, kept, reach, ways);
  // Machines that differ among themselves are told of by `adopt`.
  if (adopted !== undefined) Object.assign(learnt, { strangers: [], silent: [] });
  return {
    cluster,
    reach,
    kept: { addresses: { ...kept.addresses, ...addresses }, secrets, ids, machines },
    learnt,
  };
}

function refuseLabOf({ name, file, hosts }: Cluster, machines: string[]): void {
  if (machines.length === 0 || Object.values(hosts).some(({ kind }) => kind === 'ssh')) return;
  throw new UserError(
    `cluster ${name} runs on real machines (${machines.join(', ')}), and ${file} has none`,
    'name them with --hosts FILE. A lab beside them keeps its own state: PHALANX_HOME=DIR phalanx ...; for machines that are gone for good: phalanx forget HOST',
  );
}

/** Our own programs that the cluster's hosts run. */
async function programsOf({ services }: Cluster): Promise<Record<string, string>> {
  const all = Object.values(services);
  const used: Program[] = [];
  if (all.some((service) => service.type === 'director')) used.push('agent');
  if (all.some(({ spec }) => (spec as { register?: string }).register !== undefined)) used.push('registrar');
  const texts = used.map(async (name) => [name, readFileSync((await bundle(name)).path, 'utf8')] as const);
  return Object.fromEntries(await Promise.all(texts));
}

/** Hosts that once were the cluster's and are not in the file any more. */
function formerHosts(cluster: Cluster, { addresses, machines }: Kept): Record<string, HostEntry> {
  const gone = <T>(all: Record<string, T>) =>
    Object.entries(all).filter(([name]) => !(name in cluster.hosts));
  const lab = gone(addresses).map(
    ([name, address]): HostEntry => ({ name, kind: 'lab', ...address, root: hostRoot(cluster, name) }),
  );
  const left = gone(machines).filter(([, machine]) => !stillThere(cluster, machine));
  const ssh = left.map(
    ([name, machine]): HostEntry => ({ name, kind: 'ssh', ...machine, root: machineRoot(cluster.name) }),
  );
  return Object.fromEntries([...lab, ...ssh].map((host) => [host.name, host]));
}

/** Takes the interfaces that hold the machines' addresses today: one may have been renamed, or put into a bridge. Gives whether any is another one. */
export function takeDevices(
  { cluster, kept }: Session,
  machines: Record<string, Pick<MachineFacts, 'device'>>,
): boolean {
  let changed = false;
  for (const [name, { device }] of Object.entries(machines)) {
    const host = cluster.hosts[name];
    if (host === undefined || device === undefined) continue;
    changed ||= host.device !== device;
    host.device = device;
    const { ssh, address, address6 } = host;
    const known = kept.machines[name] ?? {
      ssh: ssh!,
      address,
      ...(address6 === undefined ? {} : { address6 }),
    };
    kept.machines[name] = { ...known, device };
  }
  return changed;
}

function sourceOf(service: Service, folder: string): Source | undefined {
  const { release, build } = service.spec as { release?: unknown; build?: unknown };
  if (typeof release !== 'string') return undefined;
  return { folder: resolve(folder, release), ...(typeof build === 'string' ? { build } : {}) };
}

/** Releases of the folders that are there: without one only what begins or ships members cannot be done, see `needReleases`. */
function releasesOf(cluster: Cluster): Cluster['releases'] {
  const releases: Cluster['releases'] = {};
  for (const service of Object.values(cluster.services)) {
    const source = sourceOf(service, cluster.folder);
    if (source !== undefined && isFolder(source.folder))
      releases[service.name] = releaseOf(cluster.home, service.name, source);
  }
  return releases;
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** Throws UserError where a service's release folder is not there: nobody can say what its members are to run. */
export function needReleases({ cluster }: Pick<Session, 'cluster'>): void {
  const missing = Object.values(cluster.services).flatMap((service) => {
    const folder = sourceOf(service, cluster.folder)?.folder;
    return folder === undefined || service.name in cluster.releases
      ? []
      : [`${cluster.file}: service ${service.name}: the release folder ${folder} does not exist`];
  });
  if (missing.length > 0)
    throw new UserError(
      missing.join('\n'),
      'a release is a folder beside the file; its content is shipped to each host',
    );
}

/** From now on nothing is known of these machines, which left the file. */
export function forget(session: Session, names: string[]): void {
  if (names.length === 0) return;
  for (const name of names) delete session.kept.machines[name];
  writeKept(session.cluster.home, session.kept);
}

/**
 * Machines that were not known here and hold another state of the cluster: new secrets and numbers would take the place of the only copy of
 * those that their members run with. Undefined where there are none.
 */
export function strangeState({
  cluster,
  learnt,
}: Pick<Session, 'cluster' | 'learnt'>): UserError | undefined {
  const { name, file, home } = cluster;
  const { strangers } = learnt;
  if (strangers.length === 0) return undefined;
  const [first] = strangers;
  const they = strangers.length === 1 ? `${first} holds` : `${strangers.join(', ')} hold`;
  const command = `phalanx adopt ${file}${hostsFile === undefined ? '' : ` --hosts ${hostsFile}`}`;
  const remove = `where nothing of it is needed, remove ${handedFile(cluster.hosts[first!]!.root)} there`;
  if (learnt.adoptable)
    return new UserError(
      `${they} the state of a cluster ${name} that is not known here: it would get new secrets and numbers, and its own would be lost`,
      `go on where it was made (each user of a machine has a state of his own), or take it over: ${command}; ${remove}`,
    );
  return new UserError(
    `${they} secrets or numbers of a cluster ${name} that are not those kept here, in ${home}`,
    `another cluster of that name keeps its own state: PHALANX_HOME=DIR ${command}; ${remove}`,
  );
}

/**
 * Hosts for which the file has another machine than the one that is known: nothing would ever reach that one again, and what it has
 * (a VIP, a broker of the same number) would go on. Undefined where there are none.
 */
export function exchangedMachines({
  cluster,
  learnt,
}: Pick<Session, 'cluster' | 'learnt'>): UserError | undefined {
  const names = Object.keys(learnt.exchanged);
  if (names.length === 0) return undefined;
  const lines = Object.entries(learnt.exchanged).map(([name, { was, silent, runs }]) => {
    const { ssh, address } = cluster.hosts[name]!;
    const now = ssh === undefined ? 'a host of the lab' : placeText({ ssh, address });
    const which =
      silent !== undefined
        ? `which cannot be asked whether it is the same machine (${silent})`
        : 'another machine';
    return `${name} was ${placeText(was)} and is ${now} in ${cluster.file}, ${which}; ${runs ? 'what the old one has would go on there' : 'the old one does not answer'}`;
  });
  const [first] = names;
  return new UserError(
    lines.join('\n'),
    `give ${first} its old place back; or take it out of the file, phalanx up, and put it in again; when the old machine is gone for good: phalanx forget ${first}. Another cluster of the same name keeps its own state: PHALANX_HOME=DIR`,
  );
}

const placeText = ({ ssh, address }: { ssh: string; address: string }): string =>
  ssh.includes(address) ? ssh : `${ssh} (${address})`;

/** What stands against changing the cluster from here. */
export const doubts = (session: Session): UserError[] =>
  [strangeState(session), exchangedMachines(session)].filter((one) => one !== undefined);

/** Keeps addresses and secrets; from here on the cluster is ours to change. Throws UserError where it is another's, before anything is written. */
export async function lockAndKeep(session: Session): Promise<Lock> {
  const strange = strangeState(session);
  if (strange) throw strange;
  const lock = await lockFile(join(session.cluster.home, 'lock'));
  if ('heldBy' in lock)
    throw new UserError(
      `another phalanx${lock.heldBy > 0 ? ` (process ${lock.heldBy})` : ''} is changing cluster ${session.cluster.name}`,
      'wait until it has ended, or stop it; a lock never outlives its process',
    );
  writeKept(session.cluster.home, session.kept);
  return lock;
}

/** Builds and packs what `up` is about to ship. Nothing else waits for a build, or is refused because of one: a switchover has no time for it. */
export function packReleases(session: Pick<Session, 'cluster'>): void {
  needReleases(session);
  for (const service of Object.values(session.cluster.services)) {
    const source = sourceOf(service, session.cluster.folder);
    const release = session.cluster.releases[service.name];
    if (!source || !release) continue;
    try {
      packRelease(source, release.tar);
    } catch (error) {
      if (!(error instanceof BuildFailed)) throw error;
      throw new UserError(
        `${session.cluster.file}: service ${service.name}: its release could not be built: ${error.message}`,
        'nothing was changed on any host',
      );
    }
  }
}
