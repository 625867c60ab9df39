import { release } from 'node:os';
import type { AgentConfig, Connections, Flow, Plane, Table } from '../tables.ts';
import { serverKey } from './nftables/identity.ts';
import { duration, type Instance, nftName, plainAddress, word } from './nftables/instance.ts';
import { knock } from './nftables/knock.ts';
import { type Element, elements } from './nftables/listing.ts';
import { list, listTables, NftFailed, run, transact } from './nftables/nft.ts';
import { type Roster, roster } from './nftables/roster.ts';
import { changes, type Found, found, type Keyed, type Ruleset, stateSet } from './nftables/ruleset.ts';
import { lastBits } from './nftables/short.ts';
import { call, look } from './nftables/surroundings.ts';
import { type Surroundings, switching } from './nftables/switching.ts';
import { tracking } from './nftables/tracking.ts';

/** How often routes, the other directors' MAC addresses and the tables themselves are looked at again. */
const lookEveryMs = 1000;
const families = ['netdev', 'inet'] as const;

/**
 * LVS made of nftables: `nat` and `dr` without connection tracking at netdev ingress (nftables/switching.ts), `fullnat`
 * with it (nftables/tracking.ts). Everything lives in the tables `netdev` and `inet phalanx_CLUSTER_SERVICE`, which go on
 * working without this process.
 */
export class NftablesPlane implements Plane {
  readonly name = 'nftables';
  /** Milliseconds that the last connections() took, so that its caller can space them: about 25 ms for every 1,000 connections. */
  countedInMs = 0;
  private readonly config: AgentConfig;
  private readonly say: (line: string) => void;
  private readonly table: string;
  private around: Surroundings | undefined;
  private current: { netdev: Found | undefined; inet: Found | undefined } = {
    netdev: undefined,
    inet: undefined,
  };
  private tables: Table[] | undefined;
  private stateless: Roster | undefined;
  private tracked: Roster | undefined;
  /** What lookAgain found has not come into the kernel's tables yet. */
  private owed = false;
  private released = false;
  private timer: NodeJS.Timeout | undefined;
  private looking = false;
  private turn: Promise<unknown> = Promise.resolve();

  /** `say` is told what the plane notices by itself: a route or a director's address that changed. */
  constructor(config: AgentConfig, say: (line: string) => void = () => undefined) {
    this.config = config;
    this.say = say;
    this.table = nftName(`phalanx_${config.cluster}_${config.service}`);
  }

  /** Reads back what an earlier agent left, and makes sure that the kernel can carry this plane, without a trace. */
  async open(): Promise<void> {
    await call(this.config);
    this.around = await look(this.config);
    await probe(this.around.device, this.config.host);
    await this.readBack();
    this.looking = true;
    this.lookSoon();
  }

  /** Only when the last look is over: on a host that takes longer than that for one, those to come would keep everything else waiting. */
  private lookSoon(): void {
    if (!this.looking) return;
    this.timer = setTimeout(() => {
      this.lookAgain()
        .catch((error: Error) => this.say(error.message))
        .finally(() => this.lookSoon());
    }, lookEveryMs);
    this.timer.unref();
  }

  apply(tables: Table[]): Promise<void> {
    return this.inTurn(async () => {
      for (const { listen } of tables) {
        if (listen.forward === 'tun') {
          throw new Error(
            `${listen.name}: the nftables plane cannot forward by tun; use plane: ipvs, or forward: nat or dr`,
          );
        }
      }
      this.tables = tables;
      await this.settle();
    });
  }

  connections(): Promise<Connections[]> {
    return this.inTurn(async () => {
      const started = performance.now();
      const counts = new Map<string, Connections>();
      for (const { listen } of this.tables ?? []) {
        for (const { name } of [...listen.servers, ...listen.sorry]) {
          counts.set(serverKey(listen.name, name), {
            listen: listen.name,
            server: name,
            active: 0,
            inactive: 0,
          });
        }
      }
      const { stateless } = this;
      for (const instance of stateless?.instances ?? []) {
        for (const [map, kind] of [
          ['conns', 'active'],
          ['closing', 'inactive'],
        ] as const) {
          if (map === 'closing' && instance.listen.proto === 'udp') continue;
          for (const { value } of await this.members(`${map}_${instance.name}`)) {
            const who = stateless?.byMark.get(Number(value));
            const count = who && counts.get(serverKey(who.listen, who.server));
            if (count) count[kind]++;
          }
        }
      }
      if (this.tracked) await countTracked(this.tracked, counts);
      this.countedInMs = performance.now() - started;
      return [...counts.values()];
    });
  }

  /** Established flows of nat and dr; those of fullnat are conntrackd's. */
  flows(): Promise<Flow[]> {
    return this.inTurn(async () => {
      const flows: Flow[] = [];
      for (const instance of this.stateless?.instances ?? []) {
        for (const one of await this.live(instance)) {
          const who = this.stateless?.byMark.get(one.mark);
          if (!who) continue;
          const { client, clientPort, port, remainingMs } = one;
          const { listen, family, vip } = instance;
          flows.push({
            listen: listen.name,
            client,
            clientPort,
            server: who.server,
            family,
            remainingMs,
            vip,
            port,
          });
        }
      }
      return flows;
    });
  }

  /** Takes in a peer's flows, and lengthens the life of those known, never shortens it. Flows of unknown servers are left out. */
  adopt(flows: Flow[]): Promise<void> {
    return this.inTurn(async () => {
      const { stateless } = this;
      if (!stateless) return;
      for (const instance of stateless.instances) {
        const mine = flows.filter((flow) => belongs(flow, instance));
        if (mine.length === 0) continue;
        // An entry may end between the listing and the change, which fails as a whole: look again and repeat.
        for (let attempt = 1; ; attempt++) {
          try {
            await this.adoptInto(instance, mine, stateless);
            break;
          } catch (error) {
            if (!(error instanceof NftFailed) || attempt === 4) throw error;
          }
        }
      }
    });
  }

  /**
   * Resets a dead server's connections towards their clients, who may only be waiting and would send nothing for
   * hours: see knock. Gives how many there were. On a director that does not own the VIP nothing is done: 0. Call it
   * after the apply that marks the server as not up. It ends where the server is up again, whose connections may be new ones.
   */
  async reset(listen: string, server: string): Promise<number> {
    let ended = 0;
    for (const roster of [this.stateless, this.tracked]) {
      const mark = roster?.known.get(listen)?.get(server)?.mark;
      if (roster === undefined || mark === undefined) continue;
      for (const instance of roster.instances.filter((each) => each.listen.name === listen)) {
        const dead = () => this.dead(listen, server);
        const stateless = roster === this.stateless;
        const of = async (): Promise<Waiting> => {
          if (!dead()) return nobody;
          return stateless ? this.established(instance, mark, dead) : trackedFlows(instance, mark, dead);
        };
        ended += await knock(instance.vip, instance.listen.proto, of);
      }
    }
    return ended;
  }

  /** Whether no line of the listen's table has the server up. A plane that was let go of does not know. */
  private dead(listen: string, server: string): boolean {
    if (this.released) return false;
    const states = this.tables?.find((table) => table.listen.name === listen)?.servers ?? [];
    return !states.some((state) => state.server.name === server && state.up);
  }

  /** Removes both tables, and with them every connection. */
  close(): Promise<void> {
    return this.inTurn(async () => {
      this.lookNoMore();
      // Deleting what is not there is an error to nft 1.0.6; adding what is there is not.
      await transact(
        families.flatMap((family) => [
          `add table ${family} ${this.table}`,
          `delete table ${family} ${this.table}`,
        ]),
      );
      this.current = { netdev: undefined, inet: undefined };
      this.tables = undefined;
      this.stateless = undefined;
      this.tracked = undefined;
    });
  }

  /** Stops looking, and leaves the tables as they are: for an agent that ends. */
  async release(): Promise<void> {
    this.released = true;
    this.lookNoMore();
    await this.turn;
  }

  private inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => undefined);
    return result;
  }

  /** Makes the kernel's tables those of `this.tables`. */
  private async settle(): Promise<void> {
    try {
      await this.commit();
    } catch (error) {
      if (!(error instanceof NftFailed)) throw error;
      // Somebody else may have changed the tables: what is known of them is read anew, once.
      await this.readBack();
      await this.commit();
    }
  }

  private async commit(): Promise<void> {
    const wanted = this.wanted();
    const lines: string[] = [];
    for (const family of families) {
      const next = wanted[family];
      if (next) lines.push(...changes(this.current[family], next));
      else if (this.current[family]) lines.push(`delete table ${family} ${this.table}`);
    }
    if (lines.length > 0) await transact(lines);
    for (const family of families) this.current[family] = wanted[family] && found(wanted[family]);
  }

  private wanted(): { netdev: Ruleset | undefined; inet: Ruleset | undefined } {
    if (!this.around) throw new Error('the nftables plane was not opened');
    const { around, table } = this;
    const tables = this.tables ?? [];
    const stateless = tables.filter(({ listen }) => listen.forward !== 'fullnat');
    const tracked = tables.filter(({ listen }) => listen.forward === 'fullnat');
    this.stateless = this.rosterOf(stateless, this.stateless);
    this.tracked = this.rosterOf(tracked, this.tracked);
    return {
      netdev: switching(table, stateless, this.stateless, around, this.current.netdev?.maps),
      inet: tracking(table, tracked, this.tracked, this.current.inet?.maps),
    };
  }

  private rosterOf(tables: Table[], known: Roster | undefined): Roster {
    const same =
      known &&
      known.listens.length === tables.length &&
      tables.every(({ listen }, i) => listen === known.listens[i]);
    return same
      ? known
      : roster(
          tables.map(({ listen }) => listen),
          this.config.vips,
        );
  }

  private lookNoMore(): void {
    this.looking = false;
    clearTimeout(this.timer);
  }

  private async lookAgain(): Promise<void> {
    await call(this.config);
    const now = await look(this.config, this.around);
    await this.inTurn(async () => {
      // The tables are its successor's by now, who may have been told to remove them.
      if (this.released) return;
      const before = this.around;
      const news = JSON.stringify(now) === JSON.stringify(before) ? [] : [difference(before, now)];
      // Before anything that may fail: it is owed at the next look then.
      this.owed ||= news.length > 0;
      this.around = now;
      if (await this.removed()) {
        this.owed = true;
        await this.readBack();
        news.push('the tables had been removed by somebody else, and are made again');
      }
      for (const line of news) this.say(`nftables: ${line}`);
      if (this.owed && this.tables) await this.settle();
      this.owed = false;
    });
  }

  /** Whether a table is gone that was made: a restart of nftables.service flushes all of a host's (Debian's /etc/nftables.conf). */
  private async removed(): Promise<boolean> {
    const made = families.filter((family) => this.current[family]);
    if (made.length === 0) return false;
    const there = await listTables();
    return made.some((family) => !there.has(`${family} ${this.table}`));
  }

  private async readBack(): Promise<void> {
    for (const family of families) this.current[family] = await readTable(family, this.table);
  }

  private async members(name: string, kind: 'map' | 'set' = 'map'): Promise<Element[]> {
    const listing = await list(kind, 'netdev', this.table, name);
    return listing === undefined ? [] : [...elements(listing)];
  }

  /** The established connections of a virtual service, with their clients' whole addresses. */
  private async live(instance: Instance): Promise<Live[]> {
    const entries = await this.members(`conns_${instance.name}`);
    const first = instance.listen.ports[0];
    if (instance.family === 4) {
      return entries.map(({ key, value, expiresMs = 0 }) => ({
        client: key[0]!,
        clientPort: Number(key[1]),
        port: Number(key[2] ?? first),
        mark: Number(value),
        remainingMs: expiresMs,
      }));
    }
    const byKey = new Map(entries.map((entry) => [entry.key.join(' . '), entry]));
    return (await this.members(`names_${instance.name}`, 'set')).flatMap(({ key }) => {
      const [client, clientPort, port] = [key[0]!, Number(key[1]), Number(key[2] ?? first)];
      const entry = byKey.get(mapKey(instance, client, clientPort, port));
      if (!entry) return [];
      return [{ client, clientPort, port, mark: Number(entry.value), remainingMs: entry.expiresMs ?? 0 }];
    });
  }

  private established(instance: Instance, mark: number, dead: () => boolean): Promise<Waiting> {
    return this.inTurn(async () => {
      const ends = (await this.live(instance)).filter((one) => one.mark === mark);
      return {
        ends,
        forget: () =>
          this.inTurn(async () => {
            if (!dead()) return;
            // One by one: an entry that ended by itself meanwhile must not keep the others.
            for (const { client, clientPort, port } of ends) {
              const key = mapKey(instance, client, clientPort, port);
              await run('nft', [
                'delete',
                'element',
                'netdev',
                this.table,
                `conns_${instance.name}`,
                `{ ${key} }`,
              ]);
            }
          }),
      };
    });
  }

  private async adoptInto(instance: Instance, flows: Flow[], who: Roster): Promise<void> {
    const map = `conns_${instance.name}`;
    const known = new Map<string, Element>();
    for (const element of await this.members(map)) known.set(element.key.join(' . '), element);
    const removed: string[] = [];
    const added: string[] = [];
    const named: string[] = [];
    const wanted = new Set<string>();
    for (const flow of flows) {
      const mark = who.known.get(flow.listen)?.get(flow.server)?.mark;
      if (mark === undefined || flow.remainingMs <= 0) continue;
      const client = plainAddress(flow.client);
      const port = flow.port ?? instance.listen.ports[0];
      const key = mapKey(instance, client, flow.clientPort, port);
      if (wanted.has(key)) continue;
      wanted.add(key);
      const have = known.get(key);
      // Longer by less than a second is not worth a change.
      if (have?.value === String(mark) && (have.expiresMs ?? 0) >= flow.remainingMs - 1000) continue;
      if (have && !(renews && have.value === String(mark))) removed.push(key);
      const left = Math.round(Math.min(flow.remainingMs, instance.listen.idleMs));
      const time = `timeout ${duration(instance.listen.idleMs)} expires ${duration(left)}`;
      added.push(`${key} ${time} : ${mark}`);
      if (instance.family === 6)
        named.push(`${client} . ${flow.clientPort}${instance.range ? ` . ${port}` : ''} ${time}`);
    }
    const at = `netdev ${this.table}`;
    const lines = [
      ...slices(removed).map((part) => `delete element ${at} ${map} { ${part} }`),
      ...slices(added).map((part) => `add element ${at} ${map} { ${part} }`),
      ...slices(named).map((part) => `add element ${at} names_${instance.name} { ${part} }`),
    ];
    if (lines.length > 0) await transact(lines);
  }
}

interface Live {
  client: string;
  clientPort: number;
  port: number;
  mark: number;
  remainingMs: number;
}

/** A connection's key in its map, as Element.key reads it back: see keysOf. */
function mapKey({ family, range }: Instance, client: string, clientPort: number, port: number): string {
  const who = family === 4 ? client : String(lastBits(client, range ? 64 : 96));
  return `${who} . ${clientPort}${range ? ` . ${port}` : ''}`;
}

/** Since Linux 6.12 adding an element that is there renews its time; before, it must be taken out in the same transaction. */
const renews = atLeast(release(), 6, 12);

function atLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number);
  return a > major || (a === major && b >= minor);
}

function slices(items: string[]): string[] {
  const parts: string[] = [];
  for (let i = 0; i < items.length; i += 500) parts.push(items.slice(i, i + 500).join(', '));
  return parts;
}

function belongs(flow: Flow, instance: Instance): boolean {
  return (
    flow.listen === instance.listen.name &&
    flow.family === instance.family &&
    (flow.vip === undefined || plainAddress(flow.vip) === instance.vip)
  );
}

/** Connections whose clients are to be told, and how to forget those that would not hear. */
export interface Waiting {
  ends: { client: string; clientPort: number; port: number }[];
  forget(): Promise<void>;
}

const nobody: Waiting = { ends: [], forget: async () => {} };

/** Would the kernel take every construct that the plane is made of? Asked without changing anything. */
async function probe(device: string, host: string): Promise<void> {
  const at = 'netdev phalanx_probe';
  try {
    await transact(
      [
        `add table ${at}`,
        `add chain ${at} in { type filter hook ingress device "${device}" priority -150; }`,
        `add map ${at} conns { typeof ip saddr . tcp sport : meta mark; flags dynamic,timeout; size 1024; }`,
        `add map ${at} slots { typeof numgen inc mod 2 : meta mark; }`,
        `add map ${at} addrs { typeof meta mark : ip daddr; }`,
        `add rule ${at} in meta mark set numgen inc mod 2 map @slots`,
        `add rule ${at} in meta mark set jhash ip saddr mod 4093 seed 1 map @slots`,
        `add rule ${at} in update @conns { ip saddr . tcp sport timeout 60s : meta mark }`,
        `add rule ${at} in delete @conns { ip saddr . tcp sport : meta mark }`,
        `add rule ${at} in ether daddr set 02:50:68:00:00:01 dup to "${device}"`,
        `add rule ${at} in ip daddr set meta mark map @addrs tcp dport set 80 fwd ip to ip daddr device "${device}"`,
        `add rule ${at} in reject with tcp reset`,
      ],
      true,
    );
  } catch (error) {
    if (!(error instanceof NftFailed)) throw error;
    const root = error.stderr.includes('Operation not permitted');
    throw new Error(
      root
        ? `${host}: nftables needs root (CAP_NET_ADMIN)`
        : `${host}: this kernel cannot carry the nftables plane (${error.message}); use plane: haproxy`,
    );
  }
}

/** A table as the kernel has it; undefined when it has none. One that Phalanx cannot have finished is removed. */
async function readTable(family: 'netdev' | 'inet', table: string): Promise<Found | undefined> {
  const state = await list('set', family, table, stateSet);
  if (state === undefined) {
    // Deleting what is not there is an error to nft 1.0.6; adding what is there is not.
    await transact([`add table ${family} ${table}`, `delete table ${family} ${table}`]);
    return undefined;
  }
  const prints = new Map<string, string>();
  for (const { comment } of elements(state)) {
    const [name, print] = (comment ?? '').split(' ');
    if (name && print) prints.set(name, print);
  }
  const maps = new Map<string, Keyed>();
  for (const print of prints.keys()) {
    const [kind, role, name] = print.split('/') as ['set' | 'map' | 'chain', string, string];
    if (kind === 'chain') continue;
    if (role === 'dynamic') {
      maps.set(name, { kind, declaration: '' });
      continue;
    }
    const listing = (await list(kind, family, table, name)) ?? '';
    if (role === 'slots') {
      const slots: number[] = [];
      for (const { key, value } of elements(listing)) slots[Number(key[0])] = Number(value);
      maps.set(name, { kind, declaration: '', slots });
    } else {
      const content = new Map<string, string>();
      for (const { key, value } of elements(listing)) content.set(key.join(' . '), value);
      maps.set(name, { kind, declaration: '', elements: content });
    }
  }
  return { prints, maps };
}

function difference(before: Surroundings | undefined, now: Surroundings): string {
  if (before?.device !== now.device) return `the address is on ${now.device} now`;
  if (JSON.stringify(before.peers) !== JSON.stringify(now.peers)) {
    return now.peers.length === 0
      ? 'no other director answers ARP: connections are not shared'
      : `other directors are at ${now.peers.map(({ mac }) => mac).join(', ')}`;
  }
  return 'routes have changed';
}

const entry =
  /^(tcp|udp)\s+\d+\s+\d+\s+(?:([A-Z_0-9]+)\s+)?src=(\S+) dst=\S+ sport=(\d+) dport=(\d+).* mark=(\d+)/;

interface Tracked {
  proto: string;
  state: string | undefined;
  client: string;
  clientPort: number;
  port: number;
  mark: number;
}

/** Connections to the VIP. A director's own probes are soon ten thousand more, which nobody wants to read. */
async function conntrack(family: 4 | 6, vip: string): Promise<Tracked[]> {
  const of = ['-f', family === 6 ? 'ipv6' : 'ipv4', '-d', vip];
  const { exit, stdout, stderr } = await run('conntrack', ['-L', ...of]);
  if (exit !== 0) throw new Error(`conntrack -L failed: ${stderr.trim()}`);
  return stdout.split('\n').flatMap((line) => {
    const match = entry.exec(line);
    if (!match) return [];
    const [, proto, state, client, clientPort, port, mark] = match as unknown as string[];
    return [
      {
        proto: proto!,
        state,
        client: client!,
        clientPort: Number(clientPort),
        port: Number(port),
        mark: Number(mark),
      },
    ];
  });
}

async function countTracked(who: Roster, counts: Map<string, Connections>): Promise<void> {
  for (const family of [4, 6] as const) {
    const vips = new Set(who.instances.filter((each) => each.family === family).map((each) => each.vip));
    for (const vip of vips)
      for (const flow of await conntrack(family, vip)) {
        const server = who.byMark.get(flow.mark);
        const count = server && counts.get(serverKey(server.listen, server.server));
        if (count) count[flow.proto === 'udp' || flow.state === 'ESTABLISHED' ? 'active' : 'inactive']++;
      }
  }
}

async function trackedFlows(instance: Instance, mark: number, dead: () => boolean): Promise<Waiting> {
  const { listen, family, vip } = instance;
  const mine = (await conntrack(family, vip)).filter(
    (flow) =>
      flow.mark === mark && flow.proto === listen.proto && (flow.state ?? 'ESTABLISHED') === 'ESTABLISHED',
  );
  return {
    ends: mine.map(({ client, clientPort, port }) => ({ client, clientPort, port })),
    forget: async () => {
      for (const { client, clientPort, port } of mine) {
        if (!dead()) return;
        const to = [
          '-p',
          listen.proto,
          '-s',
          client,
          '-d',
          vip,
          '--sport',
          String(clientPort),
          '--dport',
          String(port),
        ];
        await run('conntrack', ['-D', '-f', word(family) === 'ip6' ? 'ipv6' : 'ipv4', ...to]);
      }
    },
  };
}
