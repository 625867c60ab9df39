import { createHash } from 'node:crypto';
import type { Listen } from '../../tables.ts';
import { marks, serverKey, syncMac } from './identity.ts';
import { addressIn, type Instance, instances, number } from './instance.ts';
import type { Keyed } from './ruleset.ts';

/**
 * What follows from the virtual services alone, whatever the health and weight of their servers: who is who.
 * Kept between applies, so that a change of weight among ten thousand servers does not build it again.
 */
export interface Roster {
  listens: readonly Listen[];
  instances: Instance[];
  /** By listen, then by server's name. */
  known: Map<string, Map<string, Known>>;
  /** The other way round. */
  byMark: Map<number, { listen: string; server: string }>;
  /** Identity maps for the netdev table. */
  maps: Map<string, Keyed>;
  /** Chains that find whose reply a packet of a real server is: of one virtual service, or of several that share the server's port. */
  replies: Map<string, string[]>;
  /** Virtual services, by instance name, that share a real server's port with others: those others. */
  siblings: Map<string, Set<string>>;
}

/** A server of a virtual service: its number, as a number and as nft writes it, and the families it has an address in. */
export interface Known {
  mark: number;
  text: string;
  4: boolean;
  6: boolean;
}

export function roster(listens: readonly Listen[], vips: readonly string[]): Roster {
  const every = instances(listens, vips);
  const mark = marks(listens);
  const byMark = new Map<number, { listen: string; server: string }>();
  const addresses = { 4: new Map<string, string>(), 6: new Map<string, string>() };
  const pairs = { 4: new Map<string, string>(), 6: new Map<string, string>() };
  const ports = new Map<string, string>();
  const macs = new Map<string, string>();
  const senders = new Map<string, string>();
  const known = new Map<string, Map<string, Known>>();
  for (const listen of listens) {
    const here = new Map<string, Known>();
    known.set(listen.name, here);
    for (const server of [...listen.servers, ...listen.sorry]) {
      const id = mark.get(serverKey(listen.name, server.name))!;
      byMark.set(id, { listen: listen.name, server: server.name });
      here.set(server.name, { mark: id, text: String(id), 4: true, 6: server.address6 !== undefined });
      macs.set(String(id), syncMac(id));
      senders.set(syncMac(id), String(id));
      if (server.port !== undefined) ports.set(String(id), String(server.port));
      for (const family of [4, 6] as const) {
        const address = addressIn(server, family);
        if (address === undefined) continue;
        addresses[family].set(String(id), address);
        if (listen.forward === 'nat') pairs[family].set(`${id} . ${address}`, '');
      }
    }
  }
  const vip = { 4: new Map<string, string>(), 6: new Map<string, string>() };
  const sync = { 4: new Map<string, string>(), 6: new Map<string, string>() };
  const endpoints = { 4: new Map<string, string[]>(), 6: new Map<string, string[]>() };
  const replies = new Map<string, string[]>();
  for (const instance of every) {
    const { listen, family, name } = instance;
    if (instance.range) {
      if (listen.forward === 'nat') repliesOf([name], replies);
      continue;
    }
    const key = `${instance.vip} . ${number(listen.proto)} . ${listen.ports[0]}`;
    vip[family].set(key, `goto in_${name}`);
    sync[family].set(key, `goto learn_${name}`);
    if (listen.forward !== 'nat') continue;
    for (const server of [...listen.servers, ...listen.sorry]) {
      const address = addressIn(server, family);
      if (address === undefined) continue;
      const end = `${address} . ${number(listen.proto)} . ${server.port ?? listen.ports[0]}`;
      const users = endpoints[family].get(end);
      if (!users) endpoints[family].set(end, [name]);
      else if (!users.includes(name)) users.push(name);
    }
  }
  const maps = new Map<string, Keyed>();
  const siblings = new Map<string, Set<string>>();
  for (const family of [4, 6] as const) {
    const ip = family === 6 ? 'ip6' : 'ip';
    const real = new Map<string, string>();
    for (const [end, users] of endpoints[family]) {
      real.set(end, groupOf(repliesOf(users, replies)));
      for (const name of users.length > 1 ? users : []) {
        const others = siblings.get(name) ?? new Set();
        for (const other of users) if (other !== name) others.add(other);
        siblings.set(name, others);
      }
    }
    const verdicts = `typeof ${ip} daddr . meta l4proto . th dport : verdict;`;
    maps.set(`vips${family}`, { kind: 'map', declaration: verdicts, elements: vip[family] });
    maps.set(`syncs${family}`, { kind: 'map', declaration: verdicts, elements: sync[family] });
    const declaration = `typeof ${ip} saddr . meta l4proto . th sport : meta mark;`;
    maps.set(`reals${family}`, { kind: 'map', declaration, elements: real });
    const addrs = {
      kind: 'map',
      declaration: `typeof meta mark : ${ip} daddr;`,
      elements: addresses[family],
    } as const;
    maps.set(`addrs${family}`, addrs);
    maps.set(`pairs${family}`, {
      kind: 'set',
      declaration: `typeof meta mark . ${ip} saddr;`,
      elements: pairs[family],
    });
  }
  // Ten thousand servers have few chains among them. Verdicts are kept in a map of their own, because at each change of
  // a rule the kernel follows every verdict of every map to its end, looking for loops.
  const groups = new Map([...replies.keys()].map((chain) => [groupOf(chain), `goto ${chain}`]));
  maps.set('groups', { kind: 'map', declaration: 'typeof meta mark : verdict;', elements: groups });
  maps.set('ports', { kind: 'map', declaration: 'typeof meta mark : th dport;', elements: ports });
  maps.set('macs', { kind: 'map', declaration: 'typeof meta mark : ether saddr;', elements: macs });
  maps.set('senders', { kind: 'map', declaration: 'typeof ether saddr : meta mark;', elements: senders });
  return { listens, instances: every, known, byMark, maps, replies, siblings };
}

/**
 * The chain for replies that may belong to these virtual services. Live connections of all are tried before closing ones
 * of any: a client may use one port towards two virtual services in turn, and both reach the same port of the same server.
 */
function repliesOf(users: readonly string[], chains: Map<string, string[]>): string {
  const several = () => `any_${createHash('sha256').update(users.join()).digest('hex').slice(0, 8)}`;
  const chain = `replies_${users.length === 1 ? users[0] : several()}`;
  chains.set(chain, [
    ...users.map((name) => `jump back_${name}`),
    ...users.map((name) => `jump late_${name}`),
  ]);
  return chain;
}

/** The number by which a chain for replies is found. */
function groupOf(chain: string): string {
  return String(createHash('sha256').update(chain).digest().readUInt32BE(0) & 0x7fffffff);
}
