import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { AgentConfig, Connections, Listen, Plane, RealServer, Table } from '../tables.ts';
import { Beside } from './ipvs/beside.ts';
import { parseCounts, parseTies, type Tie } from './ipvs/counts.ts';
import { differences, edits, endpoint, parseSaved, type Services } from './ipvs/saved.ts';
import { beside, marksOf, placesOf, portOf, wantedServices } from './ipvs/wanted.ts';
import { addressIn, plainAddress } from './nftables/instance.ts';
import { knock } from './nftables/knock.ts';
import { run } from './nftables/nft.ts';
import type { Waiting } from './nftables.ts';

/**
 * How IPVS behaves (Documentation/networking/ipvs-sysctl.rst). A dead server's connections end at their next packet; a drained
 * server gives up its persistent clients; a connection is shown to the other director by its first packet after the handshake,
 * and again while it lives, every ten seconds at most.
 */
const behaviour: Record<string, string> = {
  expire_nodest_conn: '1',
  expire_quiescent_template: '1',
  sync_threshold: '0 1',
  sync_refresh_period: '10',
};
/** How often it is looked whether the table beside IPVS is still there. */
const lookEveryMs = 1000;
const sysctls = '/proc/sys/net/ipv4/vs';
const table = '/proc/net/ip_vs';
const ties = '/proc/net/ip_vs_conn';

/**
 * The kernel's own LVS, through ipvsadm. Tables, connections and their sharing with the other director are the kernel's and go on
 * without this process. Only virtual services on this director's VIPs, and the firewall marks that it made, are its own; whatever else
 * IPVS holds on the host is left alone.
 */
export class IpvsPlane implements Plane {
  readonly name = 'ipvs';
  readonly #config: AgentConfig;
  readonly #director: string;
  readonly #say: (line: string) => void;
  readonly #beside: Beside;
  #tables: Table[] | undefined;
  #wanted: Services = new Map();
  #idle = '';
  /** Clients of servers that are gone, by 'listen server': the kernel forgets a connection with its server, so they are looked up before. */
  readonly #left = new Map<string, Tie[]>();
  #released = false;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** `say` is told what the plane notices by itself. */
  constructor(config: AgentConfig, say: (line: string) => void = () => undefined) {
    this.#config = config;
    this.#director = `${config.cluster}_${config.service}`;
    this.#say = say;
    this.#beside = new Beside(this.#director, say);
  }

  async open(): Promise<void> {
    if (!existsSync(table)) {
      await run('modprobe', ['-q', 'ip_vs']).catch(() => undefined);
      if (!existsSync(table))
        throw new Error(`${this.#config.host}: this kernel has no IPVS (module ip_vs); use plane: nftables`);
    }
    await ipvsadm(['-Sn']);
    this.#timer = setInterval(() => {
      // After its release the table is its successor's, who may have been told to remove it.
      const mend = async () => (this.#released ? undefined : this.#beside.mend());
      this.#inTurn(mend).catch((error: Error) => this.#say(error.message));
    }, lookEveryMs);
    this.#timer.unref();
  }

  apply(tables: Table[]): Promise<void> {
    return this.#inTurn(async () => {
      const { vips } = this.#config;
      const wanted = wantedServices(this.#director, tables, vips);
      behave();
      await this.#share();
      await this.#forgetAfter(tables.map(({ listen }) => listen));
      const current = await this.#current(wanted);
      this.#lookUpClients(tables, current);
      const lines = edits(current, wanted);
      if (lines.length > 0) await ipvsadm(['--restore'], `${lines.join('\n')}\n`);
      this.#tables = tables;
      this.#wanted = wanted;
      await this.#beside.make(
        beside(
          this.#director,
          tables.map(({ listen }) => listen),
          vips,
        ),
      );
    });
  }

  connections(): Promise<Connections[]> {
    return this.#inTurn(async () => {
      const counted = parseCounts(await ipvsadm(['-Ln']));
      const byKey = new Map(counted.map((one) => [`${one.at} ${one.server}`, one]));
      const { vips } = this.#config;
      const listens = (this.#tables ?? []).map(({ listen }) => listen);
      const found = new Map<string, Connections>();
      for (const { listen, family, at } of placesOf(this.#director, listens, vips)) {
        for (const server of [...listen.servers, ...listen.sorry]) {
          const key = `${listen.name} ${server.name}`;
          const sum = found.get(key) ?? { listen: listen.name, server: server.name, active: 0, inactive: 0 };
          found.set(key, sum);
          const address = addressIn(server, family);
          const count = address && byKey.get(`${at} ${endpoint(address, portOf(listen, server.port))}`);
          if (!count) continue;
          sum.active += count.active;
          sum.inactive += count.inactive;
        }
      }
      return [...found.values()];
    });
  }

  /** What a hand has changed in the table since it was last applied, a sentence each. */
  drift(): Promise<string[]> {
    return this.#inTurn(async () =>
      this.#tables === undefined ? [] : differences(await this.#current(this.#wanted), this.#wanted),
    );
  }

  /**
   * Resets a dead server's connections towards clients that may only be waiting: see knock. Since Linux 5.9 its connections are gone
   * from IPVS with the server itself, so who is told cannot be seen: each client is spoken to twice.
   */
  async reset(listen: string, server: string): Promise<number> {
    const key = `${listen} ${server}`;
    const clients = this.#left.get(key) ?? [];
    this.#left.delete(key);
    let ended = 0;
    for (const vip of new Set(clients.map((tie) => tie.vip))) {
      const ends = clients.filter((tie) => tie.vip === vip);
      let looks = 0;
      const find = (): Promise<Waiting> =>
        Promise.resolve({ ends: looks++ < 2 ? ends : [], forget: () => Promise.resolve() });
      ended += await knock(vip, ends[0]!.proto, find);
    }
    return ended;
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      clearInterval(this.#timer);
      const marks = await this.#ownMarks();
      await this.#beside.remove();
      this.#tables = undefined;
      if (!existsSync(table)) return;
      const all = parseSaved(await ipvsadm(['-Sn']));
      const own = [...all.keys()].filter((at) => this.#isOwn(at, this.#wanted, marks));
      if (own.length > 0) await ipvsadm(['--restore'], `${own.map((at) => `-D ${at}`).join('\n')}\n`);
      this.#wanted = new Map();
      if (own.length < all.size) return;
      for (const [kind] of await daemons()) await ipvsadm(['--stop-daemon', kind]);
    });
  }

  /** Stops looking, and leaves the tables as they are. */
  async release(): Promise<void> {
    this.#released = true;
    clearInterval(this.#timer);
    await this.#turn;
  }

  #lookUpClients(tables: Table[], current: Services): void {
    const { vips } = this.#config;
    const listens = tables.map(({ listen }) => listen);
    const places = placesOf(this.#director, listens, vips);
    let all: Tie[] | undefined;
    for (const { listen, servers } of tables) {
      for (const { server, up } of servers) {
        const key = `${listen.name} ${server.name}`;
        if (up) {
          this.#left.delete(key);
          continue;
        }
        const leaves = places.some(({ listen: of, family, at }) => {
          const address = addressIn(server, family);
          const real = address && endpoint(address, portOf(listen, server.port));
          return of === listen && real !== undefined && current.get(at)?.servers.has(real) === true;
        });
        if (!leaves) continue;
        all ??= parseTies(readFileSync(ties, 'latin1'));
        this.#left.set(key, clientsOf(listen, server, vips, all));
      }
    }
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  /** This director's part of the kernel's table. */
  async #current(wanted: Services): Promise<Services> {
    const [saved, marks] = [parseSaved(await ipvsadm(['-Sn'])), await this.#ownMarks()];
    return new Map([...saved].filter(([at]) => this.#isOwn(at, wanted, marks)));
  }

  #isOwn(at: string, wanted: Services, marks: ReadonlySet<string>): boolean {
    const [kind, place = ''] = at.split(' ');
    if (kind === '-f') return wanted.has(at) || this.#wanted.has(at) || marks.has(place);
    const address = place.replace(/:\d+$/, '').replace(/[[\]]/g, '');
    return this.#config.vips.some((vip) => plainAddress(vip) === plainAddress(address));
  }

  /** Marks that an earlier agent of this director gave packets: their virtual services are its own too. */
  async #ownMarks(): Promise<Set<string>> {
    if (this.#beside.made)
      return new Set(
        [
          ...marksOf(
            this.#director,
            (this.#tables ?? []).map(({ listen }) => listen),
          ).values(),
        ].map(String),
      );
    const { stdout } = await run('nft', ['-nn', 'list', 'table', 'inet', this.#beside.name]);
    return new Set(
      [...stdout.matchAll(/mark set (0x[0-9a-f]+|\d+)/g)].map((found) => String(Number(found[1]))),
    );
  }

  /** The kernel's synchronisation of connections, both ways at once: whoever owns the VIP has what to send. */
  async #share(): Promise<void> {
    if (this.#config.peers.length === 0) return;
    const device = deviceOf(this.#config);
    const id = syncId(this.#config.cluster);
    const running = await daemons();
    for (const kind of ['master', 'backup']) {
      const now = running.get(kind);
      if (now === `${device} ${id}`) continue;
      if (now !== undefined) await ipvsadm(['--stop-daemon', kind]);
      await ipvsadm(['--start-daemon', kind, '--mcast-interface', device, '--syncid', String(id)]);
    }
  }

  /** Idle times are one for all of a host's TCP, and one for its UDP: the longest that a listen asks for. */
  async #forgetAfter(listens: Listen[]): Promise<void> {
    const longest = (proto: string): number =>
      Math.ceil(Math.max(0, ...listens.filter((one) => one.proto === proto).map((one) => one.idleMs)) / 1000);
    const idle = `${longest('tcp')} 0 ${longest('udp')}`;
    if (idle === this.#idle || idle === '0 0 0') return;
    await ipvsadm(['--set', ...idle.split(' ')]);
    this.#idle = idle;
  }
}

/** Runs ipvsadm; a line of its own words in the error. With several rules it goes on past one that fails, and says so only there. */
async function ipvsadm(args: string[], input = ''): Promise<string> {
  const { exit, stdout, stderr } = await run('ipvsadm', args, input);
  if (exit === 0 && stderr.trim() === '') return stdout;
  throw new Error(`ipvsadm ${args.join(' ')}: ${stderr.trim() || `ended with ${exit}`}`);
}

function behave(): void {
  for (const [key, value] of Object.entries(behaviour)) {
    const path = `${sysctls}/${key}`;
    if (readFileSync(path, 'utf8').trim().split(/\s+/).join(' ') !== value) writeFileSync(path, `${value}\n`);
  }
}

/** 1 to 255: directors of another cluster on the same network are not listened to. */
export function syncId(cluster: string): number {
  return (createHash('sha256').update(cluster).digest().readUInt16BE(0) % 255) + 1;
}

/** Running synchronisation daemons: 'master' or 'backup' -> 'DEVICE ID'. */
async function daemons(): Promise<Map<string, string>> {
  const listed = await ipvsadm(['-L', '--daemon']);
  return new Map(
    [...listed.matchAll(/^(master|backup) sync daemon \(mcast=([^,]+), syncid=(\d+)/gm)].map((found) => [
      found[1]!,
      `${found[2]} ${found[3]}`,
    ]),
  );
}

function deviceOf({ address, host }: AgentConfig): string {
  const found = Object.entries(networkInterfaces()).find(([, all]) =>
    (all ?? []).some((one) => one.address === address),
  );
  if (!found)
    throw new Error(
      `${host}: no interface has the address ${address}; give the host its address, or correct it in the file`,
    );
  return found[0];
}

/** Established connections of a server through this director's VIPs. */
function clientsOf(listen: Listen, server: RealServer, vips: string[], all: Tie[]): Tie[] {
  const [first, last] = listen.ports;
  const port = portOf(listen, server.port);
  const own = new Set(vips.map(plainAddress));
  const addresses = ([4, 6] as const).map((family) => addressIn(server, family));
  return all.filter(
    (tie) =>
      tie.proto === listen.proto &&
      own.has(tie.vip) &&
      addresses.includes(tie.server) &&
      tie.port >= first &&
      tie.port <= last &&
      (port === 0 || tie.serverPort === port) &&
      (tie.proto === 'udp' || tie.state === 'ESTABLISHED'),
  );
}
