import { drawOf, slotTable, usable } from '../../slots/slots.ts';
import type { Table } from '../../tables.ts';
import { syncPrefix } from './identity.ts';
import { addressIn, duration, type Instance, word } from './instance.ts';
import type { Roster } from './roster.ts';
import type { Chain, Keyed, Ruleset } from './ruleset.ts';

/**
 * Forwarding without connection tracking: `nat` and `dr` as a virtual server made of maps, at netdev ingress,
 * before the kernel's own stack has looked at the packet. Chains of a virtual service X:
 *
 *   in_X     a packet to the VIP: find its connection, or what to do with it
 *   syn_X    a new connection, or a SYN sent again
 *   pick_X   choose a server (persistence, then the scheduler's slots)
 *   enter_X  remember the choice; share_X tells the other directors
 *   send_X   rewrite and forward; refuse_X answers with a reset
 *   fin_X    the client closes: kept for a minute in the closing map, out of the established ones
 *   miss_X   closing, or neither known nor new
 *   back_X   a real server's reply (nat) on a live connection, late_X on a closing one; reply_X rewrites it
 *   learn_X  another director tells of a connection
 */

/** What the host is like, found at run time. */
export interface Surroundings {
  /** The interface that holds the director's own address. */
  device: string;
  /** Routes out of the main table, to forward replies by. */
  routes: Route[];
  /** The other directors, as far as they answer ARP. */
  peers: Peer[];
}

export interface Peer {
  address: string;
  mac: string;
}

export interface Route {
  family: 4 | 6;
  /** 'default' or a prefix. */
  to: string;
  /** Next hop; none: the destination is on the link. */
  via?: string;
  device: string;
}

/** How many connections one virtual service remembers of each kind; fills 2^20 hash buckets (8 MB) when all are used. */
const connections = 786_432;
/** After the SYN and until the handshake's third packet; a flood of SYNs is forgotten this soon. */
const handshake = '60s';
/** On a director that was told of a connection: three rounds of the agents' exchange, which renews it. */
const told = '180s';
/** After FIN or reset. */
const closing = '60s';
/** Seed of every hash: part of the agreement between directors. */
const seed = '0x50484c58';

/** The netdev table for every virtual service forwarded by nat or dr; undefined when there is none. `now`: its maps as they are. */
export function switching(
  name: string,
  tables: readonly Table[],
  who: Roster,
  around: Surroundings,
  now: ReadonlyMap<string, Keyed> = new Map(),
): Ruleset | undefined {
  if (tables.length === 0) return undefined;
  const maps = new Map<string, Keyed>(who.maps);
  const chains = new Map<string, Chain>();
  // A packet may only be sent to servers in here: taking one mark out stops every connection of that server.
  const up: string[] = [];
  for (const { listen, servers } of tables) {
    const known = who.known.get(listen.name)!;
    for (const state of servers) if (state.up) up.push(known.get(state.server.name)!.text);
  }
  maps.set('up', { kind: 'set', declaration: 'typeof meta mark;', elements: marksIn(now.get('up'), up) });
  const byName = new Map(tables.map((table) => [table.listen.name, table]));
  const rings = new Map<string, Ring>();
  for (const instance of who.instances) {
    const table = byName.get(instance.listen.name)!;
    let ring = rings.get(instance.shared);
    if (!ring) {
      ring = ringOf(table, instance, who, now);
      rings.set(instance.shared, ring);
      addRing(maps, instance.shared, ring);
    }
    virtualService(maps, chains, instance, ring, around, who.siblings.get(instance.name) ?? []);
  }
  for (const [chain, rules] of who.replies) chains.set(chain, { rules });
  for (const family of [4, 6] as const) {
    if (who.instances.some((instance) => instance.family === family)) {
      chains.set(`out${family}`, { rules: routing(family, around.routes) });
    }
  }
  chains.set('learn', { rules: learning(who.instances) });
  chains.set(`ingress_${around.device.replace(/[^A-Za-z0-9]/g, '_')}`, {
    base: `type filter hook ingress device "${around.device}" priority -150;`,
    rules: dispatch(who.instances),
  });
  // After every director's table has looked: shared connections never reach the host, which would route them back.
  chains.set(`strays_${around.device.replace(/[^A-Za-z0-9]/g, '_')}`, {
    base: `type filter hook ingress device "${around.device}" priority -149;`,
    rules: [`ether saddr & ff:ff:ff:00:00:00 == ${syncPrefix}:00:00:00 drop`],
  });
  return { family: 'netdev', name, maps, chains };
}

/** Who takes new connections of a virtual service, in one family. */
export interface Ring {
  slots: number[];
  ready: ReadonlyMap<string, string>;
  sorry: boolean;
}

export function ringOf(
  table: Table,
  { family, shared }: Instance,
  who: Roster,
  now: ReadonlyMap<string, Keyed>,
): Ring {
  const known = who.known.get(table.listen.name)!;
  const reachable = table.servers.filter((state) => known.get(state.server.name)![family]);
  const open = usable(reachable);
  const current = now.get(`slots_${shared}`)?.slots ?? [];
  return {
    slots: slotTable(table.listen, reachable, (state) => known.get(state.server.name)!.mark, current),
    ready: marksIn(
      now.get(`ready_${shared}`),
      open.map((state) => known.get(state.server.name)!.text),
    ),
    sorry: open[0]?.sorry ?? false,
  };
}

/** A set of marks; the very one that is there if it is equal, which a comparison then sees at once. */
export function marksIn(now: Keyed | undefined, marks: readonly string[]): ReadonlyMap<string, string> {
  const { elements } = now ?? {};
  if (elements && elements.size === marks.length && marks.every((mark) => elements.has(mark)))
    return elements;
  return new Map(marks.map((mark) => [mark, '']));
}

export function addRing(maps: Map<string, Keyed>, shared: string, ring: Ring): void {
  // Both kinds of slot index are 32 bits wide; nft 1.0.6 crashes when it lists a map declared `typeof jhash`.
  maps.set(`slots_${shared}`, {
    kind: 'map',
    declaration: 'typeof numgen inc mod 2 : meta mark;',
    slots: ring.slots,
  });
  maps.set(`ready_${shared}`, { kind: 'set', declaration: 'typeof meta mark;', elements: ring.ready });
}

/** The rule that gives a new connection its server's mark; a rule without a match leaves the mark as it was, 0. */
export function draw(instance: Instance, ring: Ring): string {
  const { listen, family, shared } = instance;
  const map = `map @slots_${shared}`;
  switch (drawOf(listen.scheduler)) {
    case 'one':
      return `meta mark set numgen inc mod 1 ${map}`;
    case 'turn':
      // An atomic counter, common to all processors: shares are exact.
      return `meta mark set numgen inc mod ${ring.slots.length} ${map}`;
    default: {
      const ip = word(family);
      const port = listen.hashPort ? ` . ${listen.proto} sport` : '';
      const what = listen.scheduler === 'dh' ? `${ip} daddr` : `${ip} saddr${port}`;
      return `meta mark set jhash ${what} mod ${ring.slots.length} seed ${seed} ${map}`;
    }
  }
}

interface Keys {
  /** What a connection is known by, in packets from the client and in replies. */
  key: string;
  keyBack: string;
  /** The same with the client's whole address, where `key` has only its end. */
  full?: string;
  fullBack?: string;
}

/**
 * nft 1.0.6 takes keys of at most 16 bytes in a statement that adds to a map (netlink_linearize.c gives the key one
 * register; longer ones abort the program). So an IPv6 client is known by the last 96 bits of its address and its port
 * (64 bits where the service's port is part of the key); two clients that agree in these would share a server.
 * A set beside the map has the whole address: sets may have longer keys.
 */
export function keysOf({ listen, family, range }: Instance): Keys {
  const p = listen.proto;
  const from = `${p} sport${range ? ` . ${p} dport` : ''}`;
  const to = `${p} dport${range ? ` . ${p} sport` : ''}`;
  if (family === 4) return { key: `ip saddr . ${from}`, keyBack: `ip daddr . ${to}` };
  return {
    key: `${range ? '@nh,128,64' : '@nh,96,96'} . ${from}`,
    keyBack: `${range ? '@nh,256,64' : '@nh,224,96'} . ${to}`,
    full: `ip6 saddr . ${from}`,
    fullBack: `ip6 daddr . ${to}`,
  };
}

function virtualService(
  maps: Map<string, Keyed>,
  chains: Map<string, Chain>,
  instance: Instance,
  ring: Ring,
  around: Surroundings,
  siblings: Iterable<string>,
): void {
  const { listen, family, name: x, range } = instance;
  const ip = word(family);
  const tcp = listen.proto === 'tcp';
  const p = listen.proto;
  const { key, keyBack, full, fullBack } = keysOf(instance);
  const idle = duration(listen.idleMs);
  const persist = listen.persistenceMs > 0;
  const persistFor = duration(listen.persistenceMs);
  const hash = drawOf(listen.scheduler) === 'hash';
  const timed = (what: string) => `typeof ${what} : meta mark; flags dynamic,timeout; size ${connections};`;
  const set = (chain: string, rules: (string | false)[]) =>
    chains.set(`${chain}_${x}`, { rules: rules.filter((rule) => rule !== false) });

  // A client may use one port towards several virtual services in turn, and meet the same server: its reply must not be
  // taken for the rest of the connection that has just closed.
  const supersede =
    tcp && !range ? [...siblings].map((other) => `delete @closing_${other} { ${key} : meta mark }`) : [];
  // An entry of the connection map, and where the key is short the set beside it that has the client's whole address.
  const remember = (timeout: string, when = '', back = false): string[] => [
    `${when}update @conns_${x} { ${back ? keyBack : key} timeout ${timeout} : meta mark }`,
    ...(full ? [`${when}update @names_${x} { ${back ? fullBack : full} timeout ${timeout} }`] : []),
  ];
  const forget = (when = '', back = false): string[] => [
    `${when}delete @conns_${x} { ${back ? keyBack : key} : meta mark }`,
    ...(full ? [`${when}delete @names_${x} { ${back ? fullBack : full} }`] : []),
  ];

  maps.set(`conns_${x}`, { kind: 'map', declaration: timed(key) });
  if (full) {
    const declaration = `typeof ${full}; flags dynamic,timeout; size ${connections};`;
    maps.set(`names_${x}`, { kind: 'set', declaration });
  }
  if (tcp) maps.set(`closing_${x}`, { kind: 'map', declaration: timed(key) });
  if (persist) maps.set(`persist_${x}`, { kind: 'map', declaration: timed(`${ip} saddr`) });

  if (tcp) {
    set('in', [
      'meta mark set 0',
      `meta mark set ${key} map @conns_${x}`,
      `tcp flags & (syn | ack) == syn goto syn_${x}`,
      `meta mark 0 goto miss_${x}`,
      `tcp flags & (fin | rst) != 0 goto fin_${x}`,
      // Refreshed by each packet: forgotten only after it has been idle.
      ...remember(idle),
      `goto send_${x}`,
    ]);
    set('syn', [
      // A SYN sent again goes where the first one went, or the handshake would be split between two servers.
      `meta mark @ready_${instance.shared} goto enter_${x}`,
      // An entry's server never changes by `update`: a connection that is scheduled again is first forgotten.
      ...forget(),
      `goto pick_${x}`,
    ]);
    set('fin', [
      `update @closing_${x} { ${key} timeout ${closing} : meta mark }`,
      ...forget(),
      // The client stays with its server for this long after its connection ended, but not with one that is leaving.
      persist &&
        `meta mark @ready_${instance.shared} update @persist_${x} { ${ip} saddr timeout ${persistFor} : meta mark }`,
      `goto share_${x}`,
    ]);
    set('miss', [
      `meta mark set ${key} map @closing_${x}`,
      // The last packets of a closing connection, or the rest of a half-closed one: as long as they come it is kept.
      `meta mark != 0 update @closing_${x} { ${key} timeout ${closing} : meta mark } goto send_${x}`,
      'tcp flags & rst != 0 drop',
      // Never heard of it. A hash gives the same server on every director, so the connection of a failed
      // director is taken over although its news was lost; other schedulers can only say no.
      ...(hash && ring.slots.length > 0
        ? [draw(instance, ring), ...remember(idle), `goto share_${x}`]
        : [`goto refuse_${x}`]),
    ]);
  } else {
    set('in', [
      'meta mark set 0',
      `meta mark set ${key} map @conns_${x}`,
      ...remember(idle, 'meta mark @up '),
      `meta mark @up goto send_${x}`,
      // No connection to lose: a flow whose server has died gets another at once.
      ...forget('meta mark != 0 '),
      `goto pick_${x}`,
    ]);
  }
  set('pick', [
    'meta mark set 0',
    ...(persist
      ? [
          `meta mark set ${ip} saddr map @persist_${x}`,
          `meta mark @ready_${instance.shared} goto enter_${x}`,
          `meta mark != 0 delete @persist_${x} { ${ip} saddr : meta mark }`,
        ]
      : []),
    ...(ring.slots.length > 0 ? [draw(instance, ring), `goto enter_${x}`] : [`goto refuse_${x}`]),
  ]);
  set('enter', [
    // A client is not bound to a sorry server.
    persist && !ring.sorry && `update @persist_${x} { ${ip} saddr timeout ${persistFor} : meta mark }`,
    ...supersede,
    ...remember(tcp ? handshake : idle),
    `goto share_${x}`,
  ]);
  set('share', [
    // The very packet that begins or ends a connection is copied to the other directors; its source MAC
    // address says which server it went to. Forwarding writes both addresses anew afterwards.
    // Not what a director has itself sent on: one whose plane is not up would route the copy back here, for ever.
    ...around.peers.map(({ mac }) => `ether saddr ${mac} goto send_${x}`),
    ...(around.peers.length > 0 ? ['ether saddr set meta mark map @macs'] : []),
    ...around.peers.map(({ mac }) => `ether daddr set ${mac} dup to "${around.device}"`),
    `goto send_${x}`,
  ]);
  const vipPort = listen.ports[0];
  const ports = new Set(
    [...listen.servers, ...listen.sorry].map((server) => (range ? undefined : (server.port ?? vipPort))),
  );
  const port =
    range || (ports.size === 1 && ports.has(vipPort))
      ? undefined
      : ports.size === 1
        ? [...ports][0]
        : 'meta mark map @ports';
  // The kernel adjusts a UDP checksum even where 0 says that there is none, which would make it wrong.
  const rewritePort = (to: string | number) =>
    p === 'udp'
      ? [`udp checksum 0 udp dport set ${to} udp checksum set 0`, `udp checksum != 0 udp dport set ${to}`]
      : [`tcp dport set ${to}`];
  set('send', [
    `meta mark != @up goto refuse_${x}`,
    ...(listen.forward === 'dr'
      ? // Only the frame's addresses change. The neighbour is the kernel's affair: it resolves and re-checks it.
        [`fwd ${ip} to meta mark map @addrs${family} device "${around.device}"`]
      : [
          `${ip} daddr set meta mark map @addrs${family}`,
          ...(port === undefined ? [] : rewritePort(port)),
          `goto out${family}`,
        ]),
  ]);
  set('refuse', [
    ...forget(),
    // Its sequence numbers are taken from the packet that asked: the client believes it and stops waiting.
    tcp ? 'reject with tcp reset' : 'reject with icmpx port-unreachable',
  ]);
  if (listen.forward === 'nat') {
    // Only replies of the connection's own server: who talks to a server directly, as health checks do, may
    // happen to use the same port and is left alone.
    const whose = `meta mark . ${ip} saddr @pairs${family} goto reply_${x}`;
    set('back', ['meta mark set 0', `meta mark set ${keyBack} map @conns_${x}`, whose, 'meta mark set 0']);
    set('late', [
      'meta mark set 0',
      tcp && `meta mark set ${keyBack} map @closing_${x}`,
      tcp && whose,
      // Not ours after all: the packet goes on as it came.
      'meta mark set 0',
    ]);
    set('reply', [
      ...(tcp
        ? [
            `tcp flags & rst != 0 update @closing_${x} { ${keyBack} timeout ${closing} : meta mark }`,
            ...forget('tcp flags & rst != 0 ', true),
          ]
        : remember(idle, '', true)),
      `${ip} saddr set ${instance.vip}`,
      ...(port === undefined ? [] : rewritePort(vipPort).map((rule) => rule.replace('dport', 'sport'))),
      `goto out${family}`,
    ]);
  }
  set('learn', [
    ...(tcp
      ? [
          `tcp flags & (fin | rst) != 0 update @closing_${x} { ${key} timeout ${closing} : meta mark }`,
          ...forget('tcp flags & (fin | rst) != 0 '),
          `tcp flags & (fin | rst) != 0 drop`,
        ]
      : []),
    ...forget(),
    ...supersede,
    ...remember(tcp ? told : idle),
    ...(persist
      ? [
          `delete @persist_${x} { ${ip} saddr : meta mark }`,
          `update @persist_${x} { ${ip} saddr timeout ${persistFor} : meta mark }`,
        ]
      : []),
    'drop',
  ]);
}

/** Sends to wherever the packet's destination address is routed, longest prefix first, as the kernel would. */
function routing(family: 4 | 6, routes: readonly Route[]): string[] {
  const ip = word(family);
  const length = (route: Route) => (route.to === 'default' ? -1 : Number(route.to.split('/')[1] ?? 128));
  const rules = routes
    .filter((route) => route.family === family)
    .sort((a, b) => length(b) - length(a))
    .map((route) => {
      const match = route.to === 'default' ? '' : `${ip} daddr ${route.to} `;
      return `${match}fwd ${ip} to ${route.via ?? `${ip} daddr`} device "${route.device}"`;
    });
  return [...rules, 'drop'];
}

/** The way in: which chain a packet belongs to. Whatever matches nothing goes on to the host, untouched. */
function dispatch(services: readonly Instance[]): string[] {
  const rules: string[] = [
    // Frames for others, which a switch floods when it has forgotten where they live.
    'meta pkttype != host accept',
    `ether saddr & ff:ff:ff:00:00:00 == ${syncPrefix}:00:00:00 goto learn`,
  ];
  for (const family of [4, 6] as const) {
    const mine = services.filter((service) => service.family === family);
    if (mine.length === 0) continue;
    const ip = word(family);
    rules.push(`${ip} daddr . meta l4proto . th dport vmap @vips${family}`);
    for (const service of mine.filter((each) => each.range))
      rules.push(`${rangeMatch(service)} goto in_${service.name}`);
    const nat = mine.filter((service) => service.listen.forward === 'nat');
    if (nat.length === 0) continue;
    rules.push(
      `meta mark set ${ip} saddr . meta l4proto . th sport map @reals${family} meta mark vmap @groups`,
    );
    for (const service of nat.filter((each) => each.range)) {
      const [first, last] = service.listen.ports;
      const own = service.listen.servers
        .concat(service.listen.sorry)
        .flatMap((server) => addressIn(server, family) ?? []);
      if (own.length === 0) continue;
      rules.push(
        `${service.listen.proto} sport ${first}-${last} ${ip} saddr { ${own.join(', ')} } jump replies_${service.name}`,
      );
    }
  }
  return rules;
}

function rangeMatch(service: Instance): string {
  const [first, last] = service.listen.ports;
  return `${word(service.family)} daddr ${service.vip} ${service.listen.proto} dport ${first}-${last}`;
}

/**
 * Frames from other directors: to the chain of their virtual service. One that is not ours may be for another director service of
 * this host, whose table comes after; what none of them takes ends in `strays`.
 */
function learning(services: readonly Instance[]): string[] {
  const rules = ['meta mark set 0', 'meta mark set ether saddr map @senders', 'meta mark 0 accept'];
  for (const family of [4, 6] as const) {
    const mine = services.filter((service) => service.family === family);
    if (mine.length === 0) continue;
    rules.push(`${word(family)} daddr . meta l4proto . th dport vmap @syncs${family}`);
    for (const service of mine.filter((each) => each.range))
      rules.push(`${rangeMatch(service)} goto learn_${service.name}`);
  }
  return [...rules, 'accept'];
}
