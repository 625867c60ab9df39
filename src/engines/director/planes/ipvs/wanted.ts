import { createHash } from 'node:crypto';
import type { Listen, Scheduler, Table } from '../../tables.ts';
import { addressIn, type Instance, instances, nftName, word } from '../nftables/instance.ts';
import { endpoint, type Server, type Services } from './saved.ts';

const forwards = { nat: '-m', dr: '-g', tun: '-i' } as const;

/** Sources that hash must go past a server that takes nothing: without fallback its clients would be refused. */
const fallback: Partial<Record<Scheduler, string>> = { sh: 'sh-fallback', mh: 'mh-fallback' };

/** A virtual service of this director in IPVS: one for each VIP, or for a range of ports one for each family. */
export interface Place {
  listen: Listen;
  family: 4 | 6;
  at: string;
}

/** The places of the listens. A range of ports is what has a firewall mark; see beside. Throws for what IPVS cannot hold. */
export function placesOf(director: string, listens: readonly Listen[], vips: readonly string[]): Place[] {
  const marks = marksOf(director, listens);
  const places = new Map<string, Place>();
  for (const instance of instances(listens, vips)) {
    const { listen, family, vip, range } = instance;
    if (listen.forward === 'fullnat')
      throw new Error(`${listen.name}: ipvs has no fullnat; use forward nat, dr or tun, or plane nftables`);
    const at = range
      ? `-f ${marks.get(listen.name)}${family === 6 ? ' -6' : ''}`
      : `${listen.proto === 'tcp' ? '-t' : '-u'} ${endpoint(vip, listen.ports[0])}`;
    places.set(at, { listen, family, at });
  }
  return [...places.values()];
}

/** Upper half of the marks that ranges of ports have: 'PH'. */
const markBase = 0x5048_0000;

/**
 * The firewall marks of the listens that have a range of ports: the same on every director, since synchronised
 * connections carry them, and not another director's of the host, as far as 16 bits can tell.
 */
export function marksOf(director: string, listens: readonly Listen[]): Map<string, number> {
  const marks = new Map<string, number>();
  const taken = new Set<number>();
  for (const name of listens
    .filter(({ ports }) => ports[0] !== ports[1])
    .map((listen) => listen.name)
    .sort()) {
    let low = createHash('sha256').update(`${director} ${name}`).digest().readUInt16BE(0);
    while (low === 0 || taken.has(low)) low = (low + 1) & 0xffff;
    taken.add(low);
    marks.set(name, markBase + low);
  }
  return marks;
}

/** The tables as IPVS shall have them. Servers that are not up are not in it; drained ones have weight 0. */
export function wantedServices(
  director: string,
  tables: readonly Table[],
  vips: readonly string[],
): Services {
  const services: Services = new Map();
  const listens = tables.map(({ listen }) => listen);
  const byListen = new Map(tables.map((table) => [table.listen, table]));
  for (const { listen, family, at } of placesOf(director, listens, vips)) {
    const flags = [fallback[listen.scheduler], listen.hashPort ? `${listen.scheduler}-port` : undefined];
    services.set(at, {
      at,
      scheduler: listen.scheduler,
      flags: flags.filter((flag) => flag !== undefined).join(','),
      persistence: Math.ceil(listen.persistenceMs / 1000),
      servers: serversOf(byListen.get(listen)!, family),
    });
  }
  return services;
}

function serversOf({ listen, servers }: Table, family: 4 | 6): Map<string, Server> {
  const forward = forwards[listen.forward as keyof typeof forwards];
  const anyLeft = servers.some((state) => !state.sorry && state.up && state.weight > 0);
  const found = new Map<string, Server>();
  for (const { server, up, weight, sorry } of servers) {
    const address = addressIn(server, family);
    if (address === undefined || !up) continue;
    // A sorry server stays, with nothing new, while it has connections to end.
    const now = sorry ? (anyLeft ? 0 : Math.max(1, weight)) : weight;
    // dh looks at the bucket only, and refuses clients whose server takes nothing.
    if (now === 0 && listen.scheduler === 'dh') continue;
    const key = endpoint(address, portOf(listen, server.port));
    // The same server may also be the sorry server: its own weight holds.
    if (found.has(key) && sorry && anyLeft) continue;
    found.set(key, { forward, weight: now });
  }
  return found;
}

/** IPVS keeps the port by itself for a range (port 0), and always for dr and tun. */
export function portOf(listen: Listen, port: number | undefined): number {
  if (listen.ports[0] !== listen.ports[1]) return 0;
  return listen.forward === 'nat' ? (port ?? listen.ports[0]) : listen.ports[0];
}

/** The nftables table that IPVS needs beside it. */
export const besideTable = (director: string): string => nftName(`phalanx_${director}_ipvs`);

/**
 * nft's lines for what IPVS needs beside it, in one transaction: packets of a range of ports are given their mark, and with `nat` over
 * IPv6 no server is told to go round the director (a redirect; for IPv4 a sysctl forbids them). Needing neither takes the table away.
 */
export function beside(director: string, listens: readonly Listen[], vips: readonly string[]): string[] {
  const table = `inet ${besideTable(director)}`;
  const marks = marksOf(director, listens);
  const rules = instances(
    listens.filter(({ name }) => marks.has(name)),
    vips,
  ).map((instance) => markRule(instance, marks.get(instance.listen.name)!));
  const redirects = vips.some((vip) => vip.includes(':')) && listens.some(({ forward }) => forward === 'nat');
  // Deleting what is not there is an error to nft 1.0.6; adding what is there is not.
  const lines = [`add table ${table}`, `delete table ${table}`];
  if (rules.length > 0 || redirects) lines.push(`add table ${table}`);
  if (rules.length > 0)
    lines.push(
      `add chain ${table} in { type filter hook prerouting priority -150; }`,
      ...rules.map((rule) => `add rule ${table} in ${rule}`),
    );
  if (redirects)
    lines.push(
      `add chain ${table} out { type filter hook output priority 0; }`,
      `add rule ${table} out icmpv6 type nd-redirect drop`,
    );
  return lines;
}

function markRule({ family, vip, listen }: Instance, mark: number): string {
  return `${word(family)} daddr ${vip} ${listen.proto} dport ${listen.ports.join('-')} meta mark set ${mark}`;
}
