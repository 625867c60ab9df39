import { type Found, handedScript, parseHanded } from '../cluster/handed.ts';
import type { Kept, KnownMachine } from '../cluster/state.ts';
import type { Cluster, HostEntry } from '../file/cluster.ts';
import { HostUnreachable, type Reach } from '../hosts/host.ts';
import { factsScript, type MachineFacts, parseFacts } from '../hosts/ssh/facts.ts';

/** What is to be known of real machines before anything is rendered, and what they say that stands against it. */
export interface Learnt {
  /** As they are to be kept. */
  machines: Kept['machines'];
  /** Not known here before, and hold the state of a cluster of this name that is not the one kept here. */
  strangers: string[];
  /** Not known here before, and did not answer: what they hold nobody knows. */
  silent: string[];
  /** Nothing here would be lost for the machines' own state: neither another machine nor a lab is kept. */
  adoptable: boolean;
}

/** The file has the machine under another name: nothing is taken off it for the old one. */
export const stillThere = (cluster: Cluster, { ssh, address }: KnownMachine): boolean =>
  Object.values(cluster.hosts).some(
    (host) => host.kind === 'ssh' && (host.ssh === ssh || host.address === address),
  );

/**
 * Gives each real machine the interface that holds its address, without which a director cannot be rendered: as it is kept, or,
 * for one that is new, as the machine itself says. One that does not answer stays without; nothing is done on it anyway, and one
 * that never did is not kept: its place may be a mistake of the file.
 */
export async function learnMachines(cluster: Cluster, kept: Kept, reach: Reach): Promise<Learnt> {
  const machines: Kept['machines'] = {};
  const strangers = new Set<string>();
  const silent = new Set<string>();
  const places = Object.values(kept.machines);
  const real = Object.values(cluster.hosts).filter((host) => host.kind === 'ssh');
  await Promise.all(
    real.map(async (host) => {
      const { name, address, address6 } = host;
      const ssh = host.ssh!;
      const before = kept.machines[name];
      const same = before?.ssh === ssh && before.address === address;
      const answer = same && before.device !== undefined ? undefined : await answerOf(host, reach);
      const device = same && before.device !== undefined ? before.device : answer?.facts?.device;
      if (!places.some((place) => place.ssh === ssh || place.address === address)) {
        if (answer === undefined) silent.add(name);
        else if (answer.found !== undefined && !isKept(answer.found, cluster, kept)) strangers.add(name);
      }
      if (device !== undefined) host.device = device;
      if (before === undefined && device === undefined) return;
      machines[name] = {
        ssh,
        address,
        ...(address6 === undefined ? {} : { address6 }),
        ...(device === undefined ? {} : { device }),
      };
    }),
  );
  // In the order of the file, not of the answers; then those that left it.
  const left = Object.keys(kept.machines).filter((name) => !stillThere(cluster, kept.machines[name]!));
  const order = [...Object.keys(cluster.hosts).filter((name) => name in machines), ...left];
  const inOrder = (names: Set<string>): string[] =>
    real.map(({ name }) => name).filter((name) => names.has(name));
  return {
    machines: Object.fromEntries(order.map((name) => [name, (machines[name] ?? kept.machines[name])!])),
    strangers: inOrder(strangers),
    silent: inOrder(silent),
    adoptable: Object.keys({ ...kept.machines, ...kept.addresses }).length === 0,
  };
}

/** Whether nothing that the machine holds would be lost or changed: all of it is kept here, with the same values. */
function isKept({ handed }: Omit<Found, 'host'>, cluster: Cluster, kept: Kept): boolean {
  if (handed.cluster !== cluster.name) return true;
  if (knowsNothing(kept)) return false;
  return (['secrets', 'ids'] as const).every((part) =>
    Object.entries(handed[part]).every(([name, value]) => kept[part][name] === value),
  );
}

const knowsNothing = ({ secrets, ids, machines }: Kept): boolean =>
  [secrets, ids, machines].every((part) => Object.keys(part).length === 0);

interface Answer {
  facts?: MachineFacts;
  found?: Omit<Found, 'host'>;
}

/** What a machine says of itself, in one round trip; undefined when it does not answer. */
async function answerOf({ name, address, root }: HostEntry, reach: Reach): Promise<Answer | undefined> {
  const script = `${factsScript(address, [])}\n${handedScript(root)}\n`;
  try {
    const answer = await reach.host(name).run(script, { timeoutMs: 10_000 });
    const facts = parseFacts(answer, []);
    const found = parseHanded(answer);
    return { ...(facts === undefined ? {} : { facts }), ...(found === undefined ? {} : { found }) };
  } catch (error) {
    if (error instanceof HostUnreachable) return undefined;
    throw error;
  }
}
