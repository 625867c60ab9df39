import { createHash } from 'node:crypto';
import { hostsOf, type Step } from '../engines/engine.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import type { RunResult } from '../hosts/host.ts';
import { quote } from '../hosts/shell.ts';
import type { Engines } from './observe.ts';
import type { Kept, KnownMachine } from './state.ts';

/*
 * The control machine may be lost. What it alone knows (secrets, numbers given for life, where machines are) is therefore also with
 * the machines themselves: each has the secrets of the services that it runs, which it has in its members' files anyway,
 * in one file that only root can read. `phalanx adopt` puts the cluster's state together from them.
 */

/** What one machine holds for another control machine. */
export interface Handed {
  cluster: string;
  secrets: Record<string, string>;
  ids: Record<string, number>;
  machines: Record<string, KnownMachine>;
}

export const handedFile = (root: string): string => `${root}/kept.json`;

/** What the machine is to hold; the same for the same cluster, byte for byte. */
function handedText(cluster: Cluster, engines: Engines, host: HostEntry): string {
  const here = (name: string): boolean => {
    const service = cluster.services[name.slice(0, name.indexOf('/'))];
    return service !== undefined && hostsOf(service, engines).includes(host.name);
  };
  const sorted = <T>(all: [string, T][]): Record<string, T> =>
    Object.fromEntries(all.sort(([a], [b]) => (a < b ? -1 : 1)));
  const machines = Object.values(cluster.hosts).flatMap(({ name, ssh, address, address6 }) =>
    ssh === undefined
      ? []
      : [[name, { ssh, address, ...(address6 === undefined ? {} : { address6 }) }] as [string, KnownMachine]],
  );
  const handed: Handed = {
    cluster: cluster.name,
    secrets: sorted(Object.entries(cluster.secrets).filter(([name]) => here(name))),
    ids: sorted(Object.entries(cluster.ids ?? {})),
    machines: sorted(machines),
  };
  return `${JSON.stringify(handed, null, 1)}\n`;
}

/** Steps that give each real machine with members what it is to hold, where it holds something else. `found` are the sha256 of what is there. */
export function handSteps(cluster: Cluster, engines: Engines, found: Record<string, string>): Step[] {
  const used = new Set(Object.values(cluster.services).flatMap((service) => hostsOf(service, engines)));
  return Object.values(cluster.hosts).flatMap((host): Step[] => {
    if (host.kind !== 'ssh' || !used.has(host.name)) return [];
    const text = handedText(cluster, engines, host);
    if (found[host.name] === createHash('sha256').update(text).digest('hex')) return [];
    const file = quote(handedFile(host.root));
    return [
      {
        id: `hand over to ${host.name}`,
        verb: 'hand over',
        target: host.name,
        host: host.name,
        why: 'secrets and numbers of its services, for phalanx adopt',
        needs: [],
        do: {
          kind: 'script',
          script: `set -eu
mkdir -p ${quote(host.root)}
( umask 077; cat >${file}.new <<'PHALANX_KEPT'
${text}PHALANX_KEPT
)
mv -f ${file}.new ${file}`,
          timeoutMs: 10_000,
        },
      },
    ];
  });
}

/** Sh that tells what the machine holds, and when that was written there (seconds since 1970). */
export const handedScript = (root: string): string =>
  `file=${quote(handedFile(root))}
[ ! -e "$file" ] || printf '{"at":%s,"handed":%s}\\n' "$(stat -c %Y "$file")" "$(tr -d '\\n' <"$file")"`;

/** A machine's answer to `handedScript`. */
export interface Found {
  host: string;
  at: number;
  handed: Handed;
}

/** The answer of `handedScript`; undefined where the machine holds nothing. */
export function parseHanded({ lines }: Pick<RunResult, 'lines'>): Omit<Found, 'host'> | undefined {
  return lines.find((line) => 'handed' in line) as unknown as Omit<Found, 'host'> | undefined;
}

/**
 * The state that the machines hold together. Where two differ the one that was written last counts: the other was away when it
 * changed. Also gives the names in which they differ.
 */
export function together(found: Found[]): { kept: Kept; differ: string[] } {
  const kept: Kept = { addresses: {}, secrets: {}, ids: {}, machines: {} };
  const differ = new Set<string>();
  for (const { handed } of [...found].sort((a, b) => a.at - b.at))
    for (const part of ['secrets', 'ids', 'machines'] as const)
      for (const [name, value] of Object.entries(handed[part])) {
        const known = kept[part] as Record<string, unknown>;
        if (name in known && JSON.stringify(known[name]) !== JSON.stringify(value)) differ.add(name);
        known[name] = value;
      }
  return { kept, differ: [...differ] };
}
