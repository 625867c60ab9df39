import type { Table } from '../../tables.ts';
import { addressIn, duration, number, plainAddress, word } from './instance.ts';
import type { Roster } from './roster.ts';
import type { Chain, Keyed, Ruleset } from './ruleset.ts';
import { addRing, draw, type Ring, ringOf } from './switching.ts';

/**
 * Forwarding by the kernel's connection tracking: `fullnat`. The client's address is replaced by the VIP, so real
 * servers need no setting at all and answer whoever owns the VIP; after a takeover that is the other director, which
 * knows the connection if conntrackd told it. The server is remembered as the connection's mark (`ct mark`).
 */
export function tracking(
  name: string,
  tables: readonly Table[],
  who: Roster,
  now: ReadonlyMap<string, Keyed> = new Map(),
): Ruleset | undefined {
  if (tables.length === 0) return undefined;
  const maps = new Map<string, Keyed>();
  const chains = new Map<string, Chain>();
  const ours = new Map<string, string>();
  const up = new Map<string, string>();
  for (const { listen, servers } of tables) {
    const known = who.known.get(listen.name)!;
    for (const { text } of known.values()) ours.set(text, '');
    for (const state of servers) if (state.up) up.set(known.get(state.server.name)!.text, '');
  }
  maps.set('ours', { kind: 'set', declaration: 'typeof meta mark;', elements: ours });
  maps.set('up', { kind: 'set', declaration: 'typeof meta mark;', elements: up });
  const byName = new Map(tables.map((table) => [table.listen.name, table]));
  const rings = new Map<string, Ring>();
  const way: string[] = [];
  const leave: string[] = [];
  const own: string[] = [];
  for (const family of [4, 6] as const) {
    const mine = who.instances.filter((instance) => instance.family === family);
    if (mine.length === 0) continue;
    const ip = word(family);
    const vips = new Map<string, string>();
    const targets = new Map<string, string>();
    const addresses = new Map<string, string>();
    const endpoints = new Map<string, string>();
    for (const instance of mine) {
      const { listen, name: x, range } = instance;
      const table = byName.get(listen.name)!;
      let ring = rings.get(instance.shared);
      if (!ring) {
        ring = ringOf(table, instance, who, now);
        rings.set(instance.shared, ring);
        addRing(maps, instance.shared, ring);
      }
      for (const server of [...listen.servers, ...listen.sorry]) {
        const address = addressIn(server, family);
        if (address === undefined) continue;
        const mark = who.known.get(listen.name)!.get(server.name)!.text;
        if (range) addresses.set(mark, address);
        else targets.set(mark, `${address} . ${server.port ?? listen.ports[0]}`);
      }
      if (range) {
        const [first, last] = listen.ports;
        way.push(`${ip} daddr ${instance.vip} ${listen.proto} dport ${first}-${last} goto pick_${x}`);
        own.push(`${ip} saddr ${instance.vip} ${listen.proto} sport ${first}-${last} notrack`);
      } else {
        const end = `${instance.vip} . ${number(listen.proto)} . ${listen.ports[0]}`;
        vips.set(end, `goto pick_${x}`);
        endpoints.set(end, '');
      }
      const persist = listen.persistenceMs > 0;
      const client = `${ip} saddr`;
      if (persist) {
        const declaration = `typeof ${client} : meta mark; flags dynamic,timeout; size 262144;`;
        maps.set(`persist_${x}`, { kind: 'map', declaration });
      }
      chains.set(`pick_${x}`, {
        rules: [
          'meta mark set 0',
          ...(persist
            ? [
                `meta mark set ${client} map @persist_${x}`,
                `meta mark @ready_${instance.shared} goto enter_${x}`,
                `meta mark != 0 delete @persist_${x} { ${client} : meta mark }`,
              ]
            : []),
          ...(ring.slots.length > 0 ? [draw(instance, ring), `goto enter_${x}`] : ['goto refuse']),
        ],
      });
      chains.set(`enter_${x}`, {
        rules: [
          ...(persist && !ring.sorry
            ? [`update @persist_${x} { ${client} timeout ${duration(listen.persistenceMs)} : meta mark }`]
            : []),
          // The packet's own mark is given back as 0: other rules of the host may route by it.
          'ct mark set meta mark',
          'meta mark set 0',
          `meta l4proto ${listen.proto} dnat ${ip} to ct mark map @${range ? 'addrs' : 'targets'}${family}`,
        ],
      });
    }
    const verdicts = `typeof ${ip} daddr . meta l4proto . th dport : verdict;`;
    maps.set(`vips${family}`, { kind: 'map', declaration: verdicts, elements: vips });
    const pairs = `typeof meta mark : ${ip} daddr . th dport;`;
    maps.set(`targets${family}`, { kind: 'map', declaration: pairs, elements: targets });
    maps.set(`addrs${family}`, {
      kind: 'map',
      declaration: `typeof meta mark : ${ip} daddr;`,
      elements: addresses,
    });
    const ends = `typeof ${ip} saddr . meta l4proto . th sport;`;
    maps.set(`fronts${family}`, { kind: 'set', declaration: ends, elements: endpoints });
    way.push(`${ip} daddr . meta l4proto . th dport vmap @vips${family}`);
    own.push(`tcp flags & (syn | ack) == syn ${ip} saddr . meta l4proto . th sport @fronts${family} notrack`);
    for (const vip of new Set(mine.map((instance) => plainAddress(instance.vip)))) {
      // To the VIP rather than to this host's address: after a takeover replies find the new owner.
      leave.push(`ct mark @ours ct status dnat ct original ${ip} daddr ${vip} snat ${ip} to ${vip}`);
    }
  }
  chains.set('refuse', {
    rules: ['meta l4proto tcp reject with tcp reset', 'reject with icmpx port-unreachable'],
  });
  chains.set('prerouting', { base: 'type nat hook prerouting priority dstnat;', rules: way });
  chains.set('postrouting', { base: 'type nat hook postrouting priority srcnat;', rules: leave });
  // A dead server's established connections, before address translation: the reset comes from the VIP.
  chains.set('dead', {
    base: 'type filter hook prerouting priority mangle;',
    rules: ['ct direction original ct mark @ours ct mark != @up goto refuse'],
  });
  // The SYN by which a dead server's clients are made to speak (see reset) must not become a connection itself.
  chains.set('untracked', { base: 'type filter hook output priority raw;', rules: own });
  return { family: 'inet', name, maps, chains };
}
