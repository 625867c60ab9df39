import { type Found, handedFile, handedScript, parseHanded } from '../cluster/handed.ts';
import type { Kept, KnownMachine } from '../cluster/state.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import { machineRoot } from '../file/places.ts';
import { HostUnreachable, type Reach } from '../hosts/host.ts';
import { quote } from '../hosts/shell.ts';
import { factsScript, type MachineFacts, parseFacts } from '../hosts/ssh/facts.ts';

/** What is to be known of real machines before anything is rendered, and what they say that stands against it. */
export interface Learnt {
  /** As they are to be kept. */
  machines: Kept['machines'];
  /** Not known here before, and hold the state of a cluster of this name that is not the one kept here. */
  strangers: string[];
  /** Not known here before, and did not answer: what they hold nobody knows. */
  silent: string[];
  /** Hosts of the file that were another machine before, on which what it had may still run. These are kept as they were. */
  exchanged: Record<string, Exchanged>;
  /** Nothing here would be lost for the machines' own state: neither another machine nor a lab is kept. */
  adoptable: boolean;
}

export interface Exchanged {
  was: KnownMachine;
  /** Why the new one does not answer, where it does not: nobody knows then which machine it is. */
  silent?: string;
  /** The old one answers. */
  runs: boolean;
}

/** The file has the machine under another name: nothing is taken off it for the old one. */
export const stillThere = (cluster: Cluster, { ssh, address }: KnownMachine): boolean =>
  Object.values(cluster.hosts).some(
    (host) => host.kind === 'ssh' && (host.ssh === ssh || host.address === address),
  );

/**
 * Gives each real machine the interface that holds its address, without which a director cannot be rendered: as it is kept, or,
 * for one that is new, as the machine itself says. One that does not answer stays without; nothing is done on it anyway, and one
 * that never did is not kept: its place may be a mistake of the file. `ways` leads also to where a host was before.
 */
export async function learnMachines(
  cluster: Cluster,
  kept: Kept,
  reach: Reach,
  ways: (cluster: Cluster) => Reach,
): Promise<Learnt> {
  const machines: Kept['machines'] = {};
  const strangers = new Set<string>();
  const silent = new Set<string>();
  const exchanged: Learnt['exchanged'] = {};
  const places = Object.values(kept.machines);
  const moved = movedHosts(cluster, kept);
  const past = ways({ ...cluster, hosts: moved, former: {} });
  const learn = async (host: HostEntry): Promise<void> => {
    const { name, ssh, address, address6 } = host;
    const before = kept.machines[name];
    const then = moved[name];
    const same = before?.ssh === ssh && before?.address === address;
    const known = same ? before?.device : undefined;
    const [now, old] = await Promise.all([
      ssh === undefined || known !== undefined ? undefined : answerOf(host, reach),
      then === undefined ? undefined : answerOf(then, past),
    ]);
    if (before !== undefined && then !== undefined && !isOneMachine(now, old)) {
      machines[name] = before;
      exchanged[name] = { was: before, ...asTold(now, old) };
    }
    if (ssh === undefined) return;
    if (!places.some((place) => place.ssh === ssh || place.address === address)) {
      if (now === undefined || 'silent' in now) silent.add(name);
      else if (now.found !== undefined && !isKept(now.found, cluster, kept)) strangers.add(name);
    }
    const device = known ?? (now && 'facts' in now ? now.facts?.device : undefined);
    if (device !== undefined) host.device = device;
    if (before === undefined && device === undefined) return;
    machines[name] ??= {
      ssh,
      address,
      ...(address6 === undefined ? {} : { address6 }),
      ...(device === undefined ? {} : { device }),
    };
  };
  const hosts = Object.values(cluster.hosts);
  await Promise.all(hosts.filter(({ name, kind }) => kind === 'ssh' || name in moved).map(learn));
  // In the order of the file, not of the answers; then those that left it.
  const left = Object.keys(kept.machines).filter((name) => !stillThere(cluster, kept.machines[name]!));
  const order = [...Object.keys(cluster.hosts).filter((name) => name in machines), ...left];
  const inOrder = (names: Set<string>): string[] =>
    hosts.map(({ name }) => name).filter((name) => names.has(name));
  return {
    machines: Object.fromEntries(order.map((name) => [name, (machines[name] ?? kept.machines[name])!])),
    strangers: inOrder(strangers),
    silent: inOrder(silent),
    exchanged,
    adoptable: Object.keys({ ...kept.machines, ...kept.addresses }).length === 0,
  };
}

/** Hosts of the file that were somewhere else, where it has no host any more; as they were. */
function movedHosts(cluster: Cluster, { machines }: Kept): Record<string, HostEntry> {
  const moved = Object.entries(machines).filter(
    ([name, machine]) => name in cluster.hosts && !stillThere(cluster, machine),
  );
  return Object.fromEntries(
    moved.map(([name, machine]) => [
      name,
      { name, kind: 'ssh', ...machine, root: machineRoot(cluster.name) } satisfies HostEntry,
    ]),
  );
}

/**
 * Whether a host that is somewhere else now is the machine that it was, with another address; or was none of ours. It is another machine where both
 * answer and the old one has something of the cluster. Where the old one is silent the new one has to have members of the host's name.
 */
function isOneMachine(now: Answer | Silent | undefined, old: Answer | Silent | undefined): boolean {
  const here = now && 'place' in now ? now.place : undefined;
  if (old && 'place' in old && old.place !== undefined)
    return !old.place.used || old.place.mark === here?.mark;
  return here?.named === true;
}

const asTold = (
  now: Answer | Silent | undefined,
  old: Answer | Silent | undefined,
): Omit<Exchanged, 'was'> => ({
  ...(now && 'silent' in now ? { silent: now.silent } : {}),
  runs: old !== undefined && !('silent' in old),
});

/** Whether nothing that the machine holds would be lost or changed: all of it is kept here, with the same values. */
function isKept({ handed }: Omit<Found, 'host'>, cluster: Cluster, kept: Kept): boolean {
  if (handed.cluster !== cluster.name) return true;
  if (knowsNothing(kept)) return false;
  return (['secrets', 'ids'] as const).every((part) =>
    Object.entries(handed[part]).every(([name, value]) => kept[part][name] === value),
  );
}

export const knowsNothing = ({ secrets, ids, machines }: Kept): boolean =>
  [secrets, ids, machines].every((part) => Object.keys(part).length === 0);

interface Answer {
  facts?: MachineFacts;
  found?: Omit<Found, 'host'>;
  place?: Place;
}

interface Silent {
  /** Why there is no answer. */
  silent: string;
}

/** What of the cluster is on a machine. */
interface Place {
  /** Members, their data, or a state for another control machine. */
  used: boolean;
  /** Members of the host's name. */
  named: boolean;
  /** Differs between machines, and does not change while nobody changes the cluster: by which way one was reached does not matter. */
  mark: string;
}

/** Sh that tells what of the cluster is on a machine, as a `Place`. */
export const placeScript = (root: string, name: string): string => `used=false named=false
for member in ${quote(root)}/members/*; do
  [ -d "$member" ] || continue
  used=true
  case $member in *${quote(`@${name}`)}) named=true ;; esac
done
[ ! -e ${quote(handedFile(root))} ] || used=true
read -r boot </proc/sys/kernel/random/boot_id || boot=
printf '{"place":{"used":%s,"named":%s,"mark":"%s"}}\n' "$used" "$named" "$boot $(stat -c '%d %i %Z' ${quote(root)} 2>/dev/null)"
`;

/** What a machine says of itself, in one round trip. */
async function answerOf({ name, address, root }: HostEntry, reach: Reach): Promise<Answer | Silent> {
  const script = `${factsScript(address, [])}\n${handedScript(root)}\n${placeScript(root, name)}`;
  try {
    const answer = await reach.host(name).run(script, { timeoutMs: 10_000 });
    const facts = parseFacts(answer, []);
    const found = parseHanded(answer);
    const place = answer.lines.find((line) => 'place' in line)?.['place'] as Place | undefined;
    return {
      ...(facts === undefined ? {} : { facts }),
      ...(found === undefined ? {} : { found }),
      ...(place === undefined ? {} : { place }),
    };
  } catch (error) {
    if (error instanceof HostUnreachable) return { silent: error.why };
    throw error;
  }
}
