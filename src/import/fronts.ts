import { durationText } from '../file/units.ts';
import type { CheckWords, Note, Owner, Place } from './model.ts';
import type { Pool, Pooled } from './services.ts';

/** A listen as our file writes it, and where it came from. */
export interface Front {
  port: number | string;
  proto?: 'udp';
  to: string;
  scheduler: string;
  forward: string;
  plane?: 'ipvs';
  persistence?: string;
  weights?: Record<string, number>;
  hash?: 'port';
  sorry?: string;
  idle?: string;
  check?: CheckWords;
}

export interface Listening {
  ports: [number, number];
  proto: 'tcp' | 'udp';
  pool: Pool;
  sorry?: Pool;
  front: Front;
  place: Place;
  what: string;
}

/** One of our directors: VIPs that have the same listens and move together. */
export interface Team {
  vips: string[];
  owner: Owner | undefined;
  listens: Listening[];
}

const mostVips = 64;
const family = (address: string): 4 | 6 => (address.includes(':') ? 6 : 4);
const overlap = (a: [number, number], b: [number, number]): boolean => a[0] <= b[1] && b[0] <= a[1];
const textOf = ({ front }: Listening): string => JSON.stringify(front);

/** VIPs with their listens, joined and parted as our rules for directors want it; notes tell what that changes. */
export function teamsOf(
  pooled: readonly Pooled[],
  owners: readonly Owner[],
  hostOf: (address: string) => string,
  notes: Note[],
): Team[] {
  const byVip = new Map<string, Listening[]>();
  const wanted = pooled.flatMap((one) => one.virtual.at.map((at) => ({ one, ...at })));
  const wide = ({ ports }: { ports: [number, number] }): number => Number(ports[0] !== ports[1]);
  // A service with a port of its own takes it out of one that has all ports, wherever it stands.
  for (const { one, address, ports, place } of wanted.toSorted((a, b) => wide(a) - wide(b))) {
    const listens = byVip.get(address) ?? [];
    byVip.set(address, listens);
    const parts = free(ports, one.virtual.proto, listens);
    for (const part of parts) listens.push(listeningOf(one, part, place, hostOf, notes));
    if (parts.length === 0) {
      const why = `${address} already has a virtual service for this port`;
      notes.push({ kind: 'lost', place, what: one.virtual.what, why });
    }
  }
  const teams: Team[] = [];
  for (const [vip, listens] of byVip) {
    const owner = owners.find(({ vips }) => vips.some(({ address }) => address === vip));
    const key = listens.map(textOf).sort().join();
    const same = teams.find(
      (team) =>
        team.owner === owner && team.listens.map(textOf).sort().join() === key && team.vips.length < mostVips,
    );
    if (same) same.vips.push(vip);
    else teams.push({ vips: [vip], owner, listens });
  }
  const joined = withOneWayBack(teams, notes);
  for (const team of joined) dropBesideVip(team, notes);
  return joined.filter(({ listens }) => listens.length > 0);
}

/** What is left of a range of ports beside the listens that are there: IPVS prefers the service with a port of its own. */
function free(ports: [number, number], proto: string, listens: readonly Listening[]): [number, number][] {
  let parts = [ports];
  for (const other of listens)
    if (other.proto === proto)
      parts = parts.flatMap((part): [number, number][] => {
        if (!overlap(part, other.ports)) return [part];
        const left: [number, number][] = [];
        if (part[0] < other.ports[0]) left.push([part[0], other.ports[0] - 1]);
        if (part[1] > other.ports[1]) left.push([other.ports[1] + 1, part[1]]);
        return left;
      });
  return parts;
}

function listeningOf(
  { virtual, pool, sorry }: Pooled,
  ports: [number, number],
  place: Place,
  hostOf: (address: string) => string,
  notes: Note[],
): Listening {
  const weights: Record<string, number> = {};
  for (const address of pool.addresses) {
    const weight = virtual.targets.find((target) => target.address === address)?.weight ?? 0;
    if (weight !== 1) weights[hostOf(address)] = weight;
  }
  const hashes = virtual.scheduler === 'sh' || virtual.scheduler === 'mh';
  if (virtual.hashPort && !hashes)
    notes.push({
      kind: 'lost',
      place: virtual.place,
      what: virtual.what,
      why: `scheduler ${virtual.scheduler} hashes no port`,
    });
  const check = checkOf(
    virtual.targets.map((target) => ({ ...target, what: `real server ${target.address}` })),
    notes,
  );
  const front: Front = {
    port: ports[0] === ports[1] ? ports[0] : ports.join('-'),
    ...(virtual.proto === 'udp' ? { proto: 'udp' as const } : {}),
    to: pool.name,
    scheduler: virtual.scheduler,
    forward: virtual.forward,
    ...(virtual.forward === 'tun' ? { plane: 'ipvs' as const } : {}),
    ...(virtual.persistenceMs > 0 ? { persistence: durationText(virtual.persistenceMs) } : {}),
    ...(Object.keys(weights).length > 0 ? { weights } : {}),
    ...(virtual.hashPort && hashes ? { hash: 'port' as const } : {}),
    ...(sorry ? { sorry: sorry.name } : {}),
    ...(virtual.idleMs === undefined ? {} : { idle: durationText(virtual.idleMs) }),
    ...(check ? { check } : {}),
  };
  return { ports, proto: virtual.proto, pool, ...(sorry ? { sorry } : {}), front, place, what: virtual.what };
}

/** A listen has one check: its first server's; others that differ are told. */
function checkOf(
  targets: { check?: CheckWords; place: Place; what: string }[],
  notes: Note[],
): CheckWords | undefined {
  const [first] = targets;
  for (const other of targets.slice(1))
    if (JSON.stringify(other.check) !== JSON.stringify(first?.check))
      notes.push({
        kind: 'differs',
        place: other.place,
        what: other.what,
        why: 'all servers of a listen have one check: that of its first server is written',
      });
  return first?.check;
}

/**
 * Two directors cannot both stand in front of one real server by `nat`: its replies go back through one of them. Where their ports
 * do not meet, and they move together, they become one; else the later one takes `fullnat`.
 */
function withOneWayBack(teams: Team[], notes: Note[]): Team[] {
  const done: Team[] = [];
  for (const team of teams) {
    const other = done.find((one) => ambiguous(one, team).length > 0);
    if (
      other &&
      other.owner === team.owner &&
      other.vips.length + team.vips.length <= mostVips &&
      fits(other, team)
    ) {
      join(other, team, notes);
      continue;
    }
    for (const earlier of done) {
      for (const listening of ambiguous(earlier, team)) {
        if (listening.ports[0] === listening.ports[1]) {
          listening.front.forward = 'fullnat';
          notes.push({
            kind: 'differs',
            place: listening.place,
            what: listening.what,
            why: 'its servers answer through another VIP’s director already: fullnat is written, with which they see the VIP instead of the client',
          });
        } else {
          team.listens = team.listens.filter((one) => one !== listening);
          notes.push({
            kind: 'lost',
            place: listening.place,
            what: listening.what,
            why: 'its servers answer through another VIP’s director already, and fullnat takes no range of ports',
          });
        }
      }
    }
    done.push(team);
  }
  return done;
}

const realPorts = ({ ports, pool }: Listening): [number, number] =>
  ports[0] === ports[1] ? [pool.port, pool.port] : ports;

/** Those of the later team's listens whose replies could go back by way of the earlier team. */
function ambiguous(earlier: Team, later: Team): Listening[] {
  const families = new Set(earlier.vips.map(family));
  if (!later.vips.some((vip) => families.has(family(vip)))) return [];
  return later.listens.filter((mine) =>
    earlier.listens.some(
      (theirs) =>
        mine.front.forward === 'nat' &&
        theirs.front.forward === 'nat' &&
        mine.proto === theirs.proto &&
        pairs(mine).some((a) =>
          pairs(theirs).some((b) => overlap(a.ports, b.ports) && share(a.pool, b.pool)),
        ),
    ),
  );
}

function pairs(listening: Listening): { pool: Pool; ports: [number, number] }[] {
  const { sorry, ports } = listening;
  const main = { pool: listening.pool, ports: realPorts(listening) };
  if (!sorry) return [main];
  return [main, { pool: sorry, ports: ports[0] === ports[1] ? [sorry.port, sorry.port] : ports }];
}

const share = (a: Pool, b: Pool): boolean =>
  a === b || a.addresses.some((address) => b.addresses.includes(address));

/** No port of one is another service's port of the other. */
function fits(one: Team, other: Team): boolean {
  return other.listens.every((mine) =>
    one.listens.every(
      (theirs) =>
        mine.proto !== theirs.proto || !overlap(mine.ports, theirs.ports) || textOf(mine) === textOf(theirs),
    ),
  );
}

function join(one: Team, other: Team, notes: Note[]): void {
  const before = new Set(one.listens.map(textOf));
  const after = new Set(other.listens.map(textOf));
  const tell = (listening: Listening, vips: string[]): void => {
    notes.push({
      kind: 'differs',
      place: listening.place,
      what: listening.what,
      why: `one director has all VIPs whose servers are the same: port ${listening.front.port} answers on ${vips.join(', ')} as well`,
    });
  };
  for (const listening of one.listens) if (!after.has(textOf(listening))) tell(listening, other.vips);
  for (const listening of other.listens) {
    if (before.has(textOf(listening))) continue;
    tell(listening, one.vips);
    one.listens.push(listening);
  }
  one.vips.push(...other.vips);
}

/** A host that holds the VIP for `dr` or `tun` cannot be reached through the same VIP by translation. */
function dropBesideVip(team: Team, notes: Note[]): void {
  const holds = ({ front }: Listening): boolean => front.forward === 'dr' || front.forward === 'tun';
  const addresses = (one: Listening): string[] => [...one.pool.addresses, ...(one.sorry?.addresses ?? [])];
  const withVip = new Set(team.listens.filter(holds).flatMap(addresses));
  team.listens = team.listens.filter((one) => {
    if (holds(one) || !addresses(one).some((address) => withVip.has(address))) return true;
    notes.push({
      kind: 'lost',
      place: one.place,
      what: one.what,
      why: 'its servers hold this VIP for direct routing, so they cannot be reached through it by nat as well',
    });
    return false;
  });
}
