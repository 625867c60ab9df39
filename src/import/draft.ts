import { inRange, parseAddress, type Range, rangeText } from '../file/addresses.ts';
import { durationText } from '../file/units.ts';
import { type Front, type Team, teamsOf } from './fronts.ts';
import type { Director, Found, Note, Virtual } from './model.ts';
import { networkFor } from './network.ts';
import { type Pool, plainName, poolsOf, unique } from './services.ts';

export interface Host {
  ssh?: string;
  address?: string;
  address6?: string;
}

/** Our file before it is YAML. */
export interface Draft {
  cluster: string;
  network?: { ipv4?: string; ipv6?: string };
  hosts: Record<string, Host>;
  /** What is said beside a host: the address that it stands for. */
  remarks: Record<string, string>;
  apps: { name: string; hosts: string[]; port: number; udpOnly: boolean }[];
  directors: {
    name: string;
    hosts: string[];
    vip: string[];
    listen: Front[];
    advert?: string;
    preempt?: false;
    unicast?: true;
  }[];
}

export interface Wanted {
  /** Name of the cluster; default: what the file calls itself. */
  cluster?: string | undefined;
  /** Real machines, reached by this user over ssh; undefined: namespaces of the lab, to try it on one machine. */
  ssh?: string | undefined;
  /** The directors' addresses, where the file does not say them. */
  directors?: string[];
}

/** Nothing could be written; the notes say of each part why. */
export class ImportFailed extends Error {
  override name = 'ImportFailed';
  notes: Note[];
  constructor(message: string, notes: Note[]) {
    super(message);
    this.notes = notes;
  }
}

const nothingLeft = 'there is no virtual server in it that has an equal here: nothing is written';

/** What was found as our file. Throws ImportFailed when nothing of it can be written. */
export function draftOf(found: Found, wanted: Wanted): { draft: Draft; notes: Note[] } {
  const notes = [...found.notes];
  const directors = directorsOf(found.directors, wanted);
  const own = new Set(directors.flatMap(({ address }) => address ?? []));
  const virtuals = found.virtuals.filter((virtual) => {
    const six = virtual.at.some(({ address }) => address.includes(':'));
    if (!six || wanted.ssh === undefined) return true;
    notes.push({
      kind: 'lost',
      place: virtual.place,
      what: virtual.what,
      why: 'real machines with an IPv6 VIP need their IPv4 and IPv6 addresses both: write address and address6 of each host, then this virtual service',
    });
    return false;
  });
  if (virtuals.length === 0) throw new ImportFailed(nothingLeft, notes);

  const vips = [...new Set(virtuals.flatMap(({ at }) => at.map(({ address }) => address)))];
  const servers = [
    ...new Set(
      virtuals.flatMap(({ targets, sorry }) => [
        ...targets.map(({ address }) => address),
        ...(sorry ? [sorry.address] : []),
      ]),
    ),
  ];
  const room = servers.length + directors.length;
  const lab = wanted.ssh === undefined;
  const networks = ([4, 6] as const).map((family) =>
    networkFor(family, vips, lab ? [...servers, ...own] : [], lab ? room : 0),
  );
  const reachable = virtuals.map((virtual) => ({
    ...virtual,
    at: virtual.at.filter(({ address, place }) => {
      if (own.has(address)) {
        const why = 'is a director’s own address: a VIP is another one, which moves';
        notes.push({ kind: 'lost', place, what: `${virtual.what} (${address})`, why });
        return false;
      }
      if (within(address, networks)) return true;
      const why = 'lies too far from the other VIPs for one network: import it as a cluster of its own';
      notes.push({ kind: 'lost', place, what: `${virtual.what} (${address})`, why });
      return false;
    }),
  }));
  const names = new Set<string>();
  const pooled = poolsOf(reachable.flatMap(alike), own, notes);
  const hosts = new Map<string, string>();
  const pools = [...new Set(pooled.flatMap(({ pool, sorry }) => (sorry ? [pool, sorry] : [pool])))];
  const directorNames = directors.map(({ name }) => unique(plainName(name) || 'lb', names));
  for (const { addresses } of pools)
    for (const address of addresses)
      if (!hosts.has(address)) hosts.set(address, unique(`rs${hosts.size + 1}`, names));
  const hostOf = (address: string): string => hosts.get(address)!;
  const teams = teamsOf(pooled, found.owners, hostOf, notes);
  if (teams.length === 0) throw new ImportFailed(nothingLeft, notes);
  tellUnused(found, teams, notes);

  const draft: Draft = {
    cluster: plainName(wanted.cluster ?? found.name ?? '') || 'imported',
    hosts: {},
    remarks: {},
    apps: used(pools, teams).map(({ name, port, addresses, udpOnly }) => ({
      name,
      port,
      hosts: addresses.map(hostOf),
      udpOnly,
    })),
    directors: [],
  };
  const network = networkWords(networks, vips);
  if (network) draft.network = network;
  placeHosts(draft, directors, directorNames, hosts, networks, wanted, notes, used(pools, teams));
  const taken = new Set(draft.apps.map(({ name }) => name));
  for (const team of teams) draft.directors.push(directorOf(team, directors, directorNames, taken));
  return { draft, notes };
}

/** A group's addresses parted by port and family: without translation the servers listen on the port that is asked for. */
function alike(virtual: Virtual): Virtual[] {
  const parts = Map.groupBy(virtual.at, ({ address, ports }) => `${ports} ${address.includes(':')}`);
  return [...parts.values()].map((at) => ({ ...virtual, at }));
}

const within = (address: string, networks: readonly (Range | undefined)[]): boolean => {
  const parsed = parseAddress(address)!;
  return networks.some((range) => range !== undefined && inRange(range, parsed));
};

/** The file's directors with the addresses that were given by hand. */
function directorsOf(found: Director[], { directors: given = [], ssh }: Wanted): Director[] {
  const all =
    given.length > found.length
      ? [...found, ...given.slice(found.length).map((_, i) => ({ name: `lb${found.length + i + 1}` }))]
      : found;
  const directors = all.map(
    (director, i): Director => (given[i] === undefined ? director : { ...director, address: given[i] }),
  );
  const nameless = directors.filter(({ address }) => address === undefined);
  if (ssh !== undefined && nameless.length > 0)
    throw new Error(
      `the file does not say the address of ${nameless.map(({ name }) => name).join(' and ')}: give all directors' addresses, --director 10.0.0.1 --director 10.0.0.2`,
    );
  return directors;
}

/** Only services that a listen still sends to. */
function used(pools: Pool[], teams: Team[]): Pool[] {
  const listens = teams.flatMap(({ listens }) => listens);
  return pools.filter((pool) => listens.some((one) => one.pool === pool || one.sorry === pool));
}

function networkWords(networks: readonly (Range | undefined)[], vips: string[]): Draft['network'] {
  const [four, six] = networks;
  const first = (of: 4 | 6): string | undefined => vips.find((vip) => vip.includes(':') === (of === 6));
  const standard =
    (four === undefined || rangeText(four) === rangeText(networkFor(4, [first(4)!], [], 0)!)) &&
    six === undefined;
  if (standard && four?.prefix === 24) return undefined;
  return {
    ...(four === undefined ? {} : { ipv4: rangeText(four) }),
    ...(six === undefined ? {} : { ipv6: rangeText(six) }),
  };
}

function placeHosts(
  draft: Draft,
  directors: Director[],
  directorNames: string[],
  hosts: Map<string, string>,
  networks: readonly (Range | undefined)[],
  { ssh }: Wanted,
  notes: Note[],
  pools: Pool[],
): void {
  const put = (name: string, address: string | undefined): void => {
    if (address === undefined) {
      draft.hosts[name] = {};
      draft.remarks[name] = 'its address is not in the imported file';
    } else if (ssh !== undefined) draft.hosts[name] = { ssh: `${ssh}@${address}`, address };
    else if (!within(address, networks)) {
      draft.hosts[name] = {};
      draft.remarks[name] = `stands for ${address}, which is outside the lab's network`;
    } else draft.hosts[name] = address.includes(':') ? { address6: address } : { address };
  };
  directors.forEach(({ address }, i) => {
    put(directorNames[i]!, address);
  });
  for (const [address, name] of hosts) {
    const pool = pools.find(({ addresses }) => addresses.includes(address));
    if (!pool) continue;
    put(name, address);
    if (ssh === undefined && !within(address, networks))
      notes.push({
        kind: 'differs',
        place: pool.place,
        what: `real server ${address}`,
        why: `in the lab ${name} has another address: one network holds all hosts`,
      });
  }
}

function directorOf(
  team: Team,
  directors: Director[],
  names: string[],
  taken: Set<string>,
): Draft['directors'][number] {
  const { owner } = team;
  const order = owner?.order ?? directors.map(({ name }) => name);
  const rank = (i: number): number => {
    const at = order.indexOf(directors[i]!.name);
    return at < 0 ? order.length : at;
  };
  const hosts = names.map((_, i) => i).sort((a, b) => rank(a) - rank(b));
  const advert = owner?.advertMs;
  return {
    name: unique('front', taken),
    hosts: hosts.map((i) => names[i]!),
    vip: team.vips,
    listen: team.listens.map(({ front }) => front),
    ...(advert === undefined
      ? {}
      : { advert: durationText(Math.min(10_000, Math.max(10, Math.round(advert / 10) * 10))) }),
    ...(owner?.preempt === false ? { preempt: false as const } : {}),
    ...(owner?.unicast ? { unicast: true as const } : {}),
  };
}

/** Addresses that moved with no virtual server behind them: a director without listens is none. */
function tellUnused({ owners }: Found, teams: Team[], notes: Note[]): void {
  const served = new Set(teams.flatMap(({ vips }) => vips));
  for (const { vips } of owners)
    for (const { address, place } of vips)
      if (!served.has(address))
        notes.push({
          kind: 'lost',
          place,
          what: address,
          why: 'a VIP without a virtual server: a director’s VIP is for its listens',
        });
  const owned = new Set(owners.flatMap(({ vips }) => vips.map(({ address }) => address)));
  if (owners.length === 0) return;
  for (const team of teams)
    for (const vip of team.vips)
      if (!owned.has(vip))
        notes.push({
          kind: 'differs',
          place: team.listens[0]!.place,
          what: vip,
          why: 'no vrrp_instance has this address: Phalanx moves it by VRRP as well',
        });
}
