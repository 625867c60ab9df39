import type { Engine, HostSetting, MemberState } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import { HostUnreachable, type Reach } from '../hosts/host.ts';
import { type LabObserved, observeLab } from '../hosts/lab/observe.ts';
import { missingPackages } from '../hosts/packages.ts';
import { observeScript, parseObserved } from '../hosts/supervise.ts';
import { rememberedScript } from './settings.ts';

/** Everything that was found, before anything is decided. */
export interface Observed {
  lab: LabObserved;
  /** By member name, also members that the file no longer has. */
  members: Map<string, MemberState>;
  settings: {
    /** host -> title -> it is so */
    ok: Record<string, Record<string, boolean>>;
    /** host -> titles of settings that we once made there */
    remembered: Record<string, string[]>;
  };
  /** Hosts that did not answer, and why. */
  unreachable: Record<string, string>;
  missingPackages: string[];
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

/** Debian packages that the cluster's services need. */
export function wantedPackages(cluster: Cluster, engines: Engines): string[] {
  const names = Object.values(cluster.services).flatMap((service) =>
    engines[service.type]!.packages(service, cluster),
  );
  return [...new Set(['s6', 'iproute2', ...names])].sort();
}

/**
 * Looks at the whole cluster: one round trip a host, all hosts at once, then each engine in turn side by side.
 * Hosts that are down, frozen or absent are named in `unreachable`, and the rest is still told.
 */
export async function observe(cluster: Cluster, engines: Engines, reach: Reach): Promise<Observed> {
  const wanted = wantedSettings(cluster, engines);
  const [labObserved, missing] = await Promise.all([
    observeLab(cluster),
    missingPackages(wantedPackages(cluster, engines)),
  ]);
  const observed: Observed = {
    lab: labObserved,
    members: new Map(),
    settings: { ok: {}, remembered: {} },
    unreachable: {},
    missingPackages: missing,
    live: {},
  };

  const former = Object.values(cluster.former ?? {}).filter(({ name }) => labObserved.hosts[name]?.up);
  await Promise.all(
    [...Object.values(cluster.hosts), ...former].map(async (host) => {
      if (host.kind === 'lab' && !labObserved.hosts[host.name]?.up) {
        observed.unreachable[host.name] = 'not up';
        return;
      }
      const settings = wanted.filter((setting) => setting.host === host.name);
      try {
        const script = observeScript(host.root, settings) + rememberedScript(host.root);
        const { lines } = await reach.host(host.name).run(script, { timeoutMs: 5_000 });
        const parsed = parseObserved(host.name, lines);
        for (const state of parsed.members) observed.members.set(state.name, state);
        observed.settings.ok[host.name] = parsed.settings;
        observed.settings.remembered[host.name] = lines.flatMap((line) =>
          typeof line['remembered'] === 'string' ? [line['remembered']] : [],
        );
      } catch (error) {
        if (!(error instanceof HostUnreachable)) throw error;
        observed.unreachable[host.name] = error.message;
      }
    }),
  );

  await Promise.all(
    Object.values(cluster.services).map(async (service) => {
      const engine = engines[service.type]!;
      if (engine.observe && service.hosts.some((host) => !(host in observed.unreachable)))
        observed.live[service.name] = await engine.observe(service, cluster, reach);
    }),
  );
  return observed;
}
