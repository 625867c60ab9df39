import { type Engine, type HostSetting, hostsOf, type MemberState } from '../engines/engine.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import { HostRefuses, HostUnreachable, type Reach } from '../hosts/host.ts';
import { clockPackage } from '../hosts/lab/clock.ts';
import { liesHere, writtenMembers } from '../hosts/lab/lab-host.ts';
import { type LabObserved, observeLab } from '../hosts/lab/observe.ts';
import { missingPackages } from '../hosts/packages.ts';
import { factsScript, type MachineFacts, parseFacts } from '../hosts/ssh/facts.ts';
import { observeScript, parseObserved } from '../hosts/supervise.ts';
import { rememberedScript } from './settings.ts';

/** Everything that was found, before anything is decided. */
export interface Observed {
  lab: LabObserved;
  /** By member name, also members that the file no longer has. */
  members: Map<string, MemberState>;
  /** Lab host that is off, and whose files lie on this machine -> members that are written there, and would run if it were switched on. */
  lying: Record<string, string[]>;
  settings: {
    /** host -> title -> it is so */
    ok: Record<string, Record<string, boolean>>;
    /** host -> titles of settings that we once made there */
    remembered: Record<string, string[]>;
  };
  /** Hosts that did not answer, and why. */
  unreachable: Record<string, string>;
  /** Those of them that do answer, and where we may not work; a sentence each. */
  refusing: Record<string, string>;
  /** Of this machine, which is where a lab's hosts have theirs from. */
  missingPackages: string[];
  /** Host -> sha256 of what it holds for another control machine. */
  handed: Record<string, string>;
  /** Real machines that answered. */
  machines: Record<string, MachineFacts>;
  /** By service: what its engine says of itself. */
  live: Record<string, unknown>;
}

export type Engines = Record<string, Engine>;

/** Settings that the cluster's services want on hosts; what several want alike is wanted once. */
export function wantedSettings(cluster: Cluster, engines: Engines): HostSetting[] {
  const all = Object.values(cluster.services).flatMap(
    (service) => engines[service.type]!.settings?.(service, cluster) ?? [],
  );
  return [...new Map(all.map((setting) => [`${setting.host}: ${setting.title}`, setting])).values()];
}

/** How much longer than for the file's hosts is waited for a connection to one that left it, milliseconds. */
const graceMs = 3_000;

/** Debian packages that services with a host for which \`on\` holds need there; none where there is no such host. */
export function wantedPackages(
  cluster: Cluster,
  engines: Engines,
  on: (host: HostEntry) => boolean,
): string[] {
  if (!Object.values(cluster.hosts).some(on)) return [];
  const names = Object.values(cluster.services)
    .filter((service) => hostsOf(service, engines).some((host) => on(cluster.hosts[host]!)))
    .flatMap((service) => engines[service.type]!.packages(service, cluster));
  const hosts = Object.values(cluster.hosts).filter(on);
  const disks = hosts.some(({ disk }) => disk !== undefined) ? ['e2fsprogs', 'mount'] : [];
  const clocks = hosts.some(({ clock }) => clock !== undefined) ? [clockPackage] : [];
  return [...new Set(['s6', 'iproute2', ...disks, ...clocks, ...names])].sort();
}

/**
 * Looks at the whole cluster: one round trip a host, all hosts and all engines at once.
 * Hosts that are down, frozen or absent are named in `unreachable`, and the rest is still told.
 */
export async function observe(cluster: Cluster, engines: Engines, reach: Reach): Promise<Observed> {
  const wanted = wantedSettings(cluster, engines);
  const types = new Set(Object.values(cluster.services).map(({ type }) => type));
  await Promise.all([...types].map((type) => engines[type]!.load?.()));
  const [labObserved, missing] = await Promise.all([
    observeLab(cluster),
    missingPackages(wantedPackages(cluster, engines, (host) => host.kind === 'lab')),
  ]);
  const observed: Observed = {
    lab: labObserved,
    members: new Map(),
    lying: {},
    settings: { ok: {}, remembered: {} },
    unreachable: {},
    refusing: {},
    missingPackages: missing,
    handed: {},
    machines: {},
    live: {},
  };

  const up = (host: HostEntry): boolean => host.kind === 'ssh' || labObserved.hosts[host.name]?.up === true;
  const former = Object.values(cluster.former ?? {}).filter(up);
  /** Waits for what is asked of the host; notes when it does not answer. */
  const noting = async ({ name }: HostEntry, asked: Promise<void> | undefined): Promise<void> => {
    try {
      await asked;
    } catch (error) {
      if (!(error instanceof HostUnreachable)) throw error;
      observed.unreachable[name] = error.message;
      if (error instanceof HostRefuses) observed.refusing[name] = error.message;
    }
  };
  for (const host of [...Object.values(cluster.hosts), ...Object.values(cluster.former ?? {})])
    if (host.kind === 'lab' && liesHere(reach.host(host.name), host.root))
      observed.lying[host.name] = writtenMembers(host.root);
  const all = [...Object.values(cluster.hosts), ...former];
  for (const { name } of all.filter((host) => !up(host))) observed.unreachable[name] = 'not up';
  const connecting = (hosts: HostEntry[]): Promise<unknown> =>
    Promise.all(hosts.filter(up).map((host) => noting(host, reach.host(host.name).connect?.())));
  // Who left the file may be gone for good: waited for as long as the others take, and a little longer.
  const leaving = connecting(former);
  await connecting(Object.values(cluster.hosts));
  const late = setTimeout(() => {
    for (const { name } of former) reach.host(name).giveUp?.();
  }, graceMs);
  await leaving;
  clearTimeout(late);

  const look = async (host: HostEntry): Promise<void> => {
    const settings = wanted.filter((setting) => setting.host === host.name);
    const packages =
      host.kind === 'ssh' ? wantedPackages(cluster, engines, ({ name }) => name === host.name) : [];
    const machine = host.kind === 'ssh' ? factsScript(host.address, packages, host.device) : '';
    const script = observeScript(host.root, settings) + rememberedScript(host.root) + machine;
    const timeoutMs = host.kind === 'ssh' ? 20_000 : 5_000;
    const answer = await reach.host(host.name).run(script, { timeoutMs });
    const { lines } = answer;
    const parsed = parseObserved(host.name, answer);
    for (const state of parsed.members) observed.members.set(state.name, state);
    observed.settings.ok[host.name] = parsed.settings;
    const facts = parseFacts(answer, packages);
    if (facts !== undefined) observed.machines[host.name] = facts;
    if (parsed.handed !== undefined) observed.handed[host.name] = parsed.handed;
    observed.settings.remembered[host.name] = lines.flatMap((line) =>
      typeof line['remembered'] === 'string' ? [line['remembered']] : [],
    );
  };
  const answering = all.filter(({ name }) => !(name in observed.unreachable));
  const hosts = answering.map((host) => noting(host, look(host)));
  // In the same turn: what engines ask of a real machine goes there with what we ask of it, as one script.
  const services = Object.values(cluster.services).map(async (service) => {
    const engine = engines[service.type]!;
    if (engine.observe && hostsOf(service, engines).some((host) => !(host in observed.unreachable)))
      observed.live[service.name] = await engine.observe(service, cluster, reach);
  });
  await Promise.all([...hosts, ...services]);
  for (const service of Object.values(cluster.services))
    if (hostsOf(service, engines).every((host) => host in observed.unreachable))
      delete observed.live[service.name];
  return observed;
}
