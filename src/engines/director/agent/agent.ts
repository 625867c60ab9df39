import { createHash } from 'node:crypto';
import { type FSWatcher, mkdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { Checker, targetKey } from '../../../check/checker.ts';
import type { AgentConfig, Connections, Flow, Listen, PlaneName, Table } from '../tables.ts';
import { held } from './addresses.ts';
import { Carrier, type Choice, choosePlanes, type PlaneMaker, refuses } from './carriers.ts';
import {
  type Admits,
  effectiveWeight,
  isAdmitted,
  type Place,
  placeKey,
  placesOf,
  tablesOf,
  targetOf,
} from './desired.ts';
import { Fit } from './fit.ts';
import { followed, follows } from './follow.ts';
import { Leavers } from './leavers.ts';
import { type Override, type Overrides, overrideText, readOverrides } from './overrides.ts';
import { Registry } from './registry.ts';
import { type AgentStatus, lastHealth, type ServerStatus, statusText, writeStatus } from './status.ts';
import { pullFlows, serveFlows } from './sync.ts';

/** Changes that arrive together are one transaction, milliseconds. */
const coalesce = 3;
/** How long the first results may take before tables are made of what is known. */
const patience = 250;
/** Between readings of the connections: for weights that follow them, and for the status alone. */
const followMs = 250;
const showMs = 1000;
/** Until connections are read again that a drain waits for, after a plane has not answered. */
const recountMs = 100;
/** A reading, or a status, that takes long is not repeated before this many times its duration. */
const share = 10;
const syncMs = 30_000;
/** How often it is looked whether to sync. An owner that was cut off may take the VIP back three seconds after it is there again. */
const syncLookMs = 500;
/** How often it is looked again for a plane where `auto` has found none: a host may get its address, or a module, late. */
const planeLookMs = 1000;

/** A director's agent: checks the servers, keeps the planes' tables as they shall be, and says how things are. */
export class Agent {
  readonly #folder: string;
  readonly #makers: Partial<Record<PlaneName, PlaneMaker>>;
  readonly #since = Math.round(Date.now() / 1000);
  readonly #checker: Checker;
  readonly #registry: Registry;
  readonly #known: Map<string, boolean>;

  readonly #leavers = new Leavers();

  /** As the file has it, and with it the servers that have yet to leave. */
  #config!: AgentConfig;
  #hash = '';
  #overrides: Overrides = { byServer: new Map(), errors: [] };
  /** A server is to get no new connection from now on: who waits for its last one to end must not see a count from before. */
  #recount = false;
  #errors: string[] = [];
  #carriers = new Map<PlaneName, Carrier>();
  #choices = new Map<string, Choice>();
  #connections = new Map<string, Connections>();
  #revision = 0;
  /** What the planes found changed by somebody else when they were last asked. */
  #drift: string[] = [];
  /** By place: what the planes' tables say since they were last applied. */
  #live = new Map<string, { up: boolean; effective: number; override?: string }>();
  /** Places that packets go to, by the tables that were applied last. */
  #up = new Set<string>();
  /** Places whose connections have been ended since they were last up. */
  #reset = new Set<string>();
  #peers = new Map<string, number | string>();
  /** When each peer's flows were last taken. */
  #synced = new Map<string, number>();

  #due: NodeJS.Timeout | undefined;
  #applying = false;
  #again = false;
  #retry: NodeJS.Timeout | undefined;
  #showing: NodeJS.Timeout | undefined;
  #shown = Number.NEGATIVE_INFINITY;
  #showCost = 0;
  #timers = new Set<NodeJS.Timeout>();
  #watcher: FSWatcher | undefined;
  #server: { close(): void } | undefined;
  #resets: Promise<void> = Promise.resolve();
  #stopped = false;
  readonly #settling: Promise<void>;
  #settle: () => void = () => {};
  readonly #fit: Fit;
  /** The configuration has changed since planes were chosen. */
  #stale = true;
  /** When planes were last chosen. */
  #chose = Number.NEGATIVE_INFINITY;

  /** `folder` holds agent.json; `makers` are the planes in the order in which `auto` prefers them. Throws when agent.json cannot be read. */
  constructor(folder: string, makers: Partial<Record<PlaneName, PlaneMaker>>) {
    this.#folder = folder;
    this.#makers = makers;
    this.#fit = new Fit(folder);
    this.#known = lastHealth(folder, Date.now());
    this.#checker = new Checker(() => this.#change());
    this.#registry = new Registry(folder, (path, joined) => this.#registered(path, joined));
    this.#settling = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#read();
  }

  async start(): Promise<void> {
    this.#fit.begin();
    this.#watch();
    this.#readOverrides();
    this.#setTargets();
    this.#serve();
    await this.#choose();
    // What the kernel holds now goes on until it is known what shall be.
    await Promise.race([this.#settling, this.#sleep(patience)]);
    this.#settle();
    this.#known.clear();
    await this.#apply();
    this.#loop(() => this.#count());
    this.#loop(() => this.#sync());
    this.#loop(async () => {
      this.#fit.keep();
      this.#show();
      return showMs;
    });
  }

  /** Reads agent.json and the overrides again. A damaged file changes nothing but the status. */
  reload(): void {
    const before = this.#hash;
    const old = this.#config;
    try {
      this.#read();
      this.#errors = [];
    } catch (error) {
      this.#errors = [(error as Error).message];
    }
    this.#readOverrides();
    if (this.#hash !== before) {
      this.#setTargets(old);
      this.#stale = true;
      if (servedAt(old) !== servedAt(this.#config)) this.#serve();
    }
    this.#change();
  }

  /** Ends the agent; the tables stay, and packets go on. */
  stop(): void {
    this.#stopped = true;
    this.#checker.close();
    this.#registry.close();
    this.#watcher?.close();
    this.#server?.close();
    for (const timer of [...this.#timers, this.#due, this.#retry, this.#showing]) clearTimeout(timer);
    for (const carrier of this.#carriers.values()) void carrier.release();
  }

  /** Removes the tables of every plane. */
  async clear(): Promise<void> {
    this.#stopped = true;
    this.#fit.withdraw();
    for (const [name, make] of Object.entries(this.#makers)) {
      const used = this.#config.listens.some((listen) => listen.plane === name || listen.plane === 'auto');
      // A host that lacks a plane's tools has no tables of it either.
      await make(this.#config, this.#folder)
        .close()
        .catch((error: Error) => {
          if (used) throw error;
        });
    }
  }

  #read(): void {
    const path = join(this.#folder, 'agent.json');
    const text = readFileSync(path, 'utf8');
    let read: AgentConfig;
    try {
      read = JSON.parse(text) as AgentConfig;
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}: run phalanx up to write it again`);
    }
    const hash = createHash('sha256').update(text).digest('hex');
    if (hash === this.#hash) return;
    this.#config = this.#hash === '' ? read : this.#leavers.join(this.#config, read);
    this.#hash = hash;
  }

  #watch(): void {
    const place = join(this.#folder, 'overrides');
    mkdirSync(place, { recursive: true });
    this.#watcher = watch(place, () => {
      this.#readOverrides();
      this.#change();
    });
    this.#watcher.on('error', () => this.#watcher?.close());
  }

  #readOverrides(): void {
    const before = this.#overrides.byServer;
    this.#overrides = readOverrides(this.#folder);
    for (const [server, override] of this.#overrides.byServer) {
      const known = before.get(server);
      if (override.kind === 'weight' && override.weight > 0) continue;
      if (!known || overrideText(known) !== overrideText(override)) this.#recount = true;
    }
  }

  /**
   * Probes what the configuration names. Under another check than `old` has, a server at its old place and address stays up until
   * `fall` of the new one say otherwise. One that was out is judged by its first probe: the check that kept it out may be what was mended.
   */
  #setTargets(old?: AgentConfig): void {
    const wereUp = new Set<string>();
    for (const place of old ? placesOf(old) : [])
      if (this.#checker.health(targetOf(place))?.up) wereUp.add(probedAt(place));
    const places = [...placesOf(this.#config)];
    const known = new Map<string, boolean>();
    for (const place of places) {
      const before = wereUp.has(probedAt(place)) || this.#known.get(keyOf(place));
      if (before !== undefined) known.set(targetKey(targetOf(place)), before);
    }
    this.#checker.set(places.map(targetOf), (target) => known.get(targetKey(target)));
    this.#registry.set(this.#config.listens);
    if (this.#checker.settled) this.#settle();
  }

  /** Others are registered below `path` than before. Who has just come passes its own check: ours shall see that now. */
  #registered(path: string, joined: Set<string>): void {
    for (const place of placesOf(this.#config)) {
      if (place.listen.registry?.path !== path || place.sorry || !joined.has(place.server.name)) continue;
      const target = targetOf(place);
      if (this.#checker.health(target)?.up !== true) this.#checker.again(target);
    }
    this.#change();
  }

  readonly #admits: Admits = (path, server) => this.#registry.admits(path, server);

  /** Opens the planes that this configuration needs and lets go of the others. Those in use go on where it is the same as before. */
  async #choose(): Promise<void> {
    const changed = this.#stale;
    this.#stale = false;
    this.#chose = performance.now();
    const old = this.#carriers;
    for (const carrier of changed ? old.values() : []) {
      // What it was at when it failed is done again by its successor.
      await carrier.release().catch(() => {});
    }
    const carriers = new Map<PlaneName, Carrier>();
    const broken = new Map<PlaneName, string>();
    const directors = this.#directors();
    // `auto` looks no further than the first that this host offers.
    let looking = true;
    for (const [name, make] of Object.entries(this.#makers) as [PlaneName, PlaneMaker][]) {
      const before = old.get(name);
      const carrier =
        before && !changed ? before : new Carrier(make(this.#config, this.#folder), before?.applied);
      carriers.set(name, carrier);
      const named = this.#config.listens.some(
        (listen) =>
          listen.plane === name ||
          (looking && listen.plane === 'auto' && refuses(name, listen, directors) === undefined),
      );
      if (!named) continue;
      try {
        await carrier.open();
        looking = false;
      } catch (error) {
        carrier.error = (error as Error).message;
        broken.set(name, carrier.error);
      }
    }
    this.#carriers = carriers;
    this.#choices = choosePlanes(this.#config.listens, [...carriers.keys()], broken, directors);
    const used = new Set([...this.#choices.values()].map((choice) => choice.plane));
    for (const [name, carrier] of carriers) {
      if (used.has(name)) continue;
      carriers.delete(name);
      // What a listen waits for may open in a moment, and the tables that it has from before serve clients.
      const kept = broken.has(name) && this.#waiting();
      if (kept) await carrier.release().catch(() => {});
      // Tables of an earlier configuration would still take packets. They are gone already where it is only looked again.
      else if (changed || !this.#waiting()) await carrier.plane.close().catch(() => {});
    }
  }

  /** Whether there is a listen for which `auto` has found no plane. */
  #waiting(): boolean {
    return this.#config.listens.some(
      ({ name, plane }) => plane === 'auto' && this.#planeOf(name) === undefined,
    );
  }

  #directors(): string[] {
    return [this.#config.host, ...this.#config.peers.map(({ host }) => host)];
  }

  #planeOf(listen: string): PlaneName | undefined {
    return this.#choices.get(listen)?.plane;
  }

  /**
   * Whether every listen has its tables, or had them before they were last to be changed. One that is refused here, whatever plane may still
   * come, does not keep the VIP from the others.
   */
  #served(): boolean {
    const directors = this.#directors();
    return (
      [...this.#carriers.values()].some(({ applied }) => applied) &&
      this.#config.listens.every((listen) => {
        const plane = this.#planeOf(listen.name);
        if (plane !== undefined) return this.#carriers.get(plane)?.applied === true;
        return listen.plane === 'auto' && refuses('nftables', listen, directors) !== undefined;
      })
    );
  }

  #change(): void {
    if (this.#checker.settled) this.#settle();
    // Until the first tables are on their way, results are only gathered; what arrives while they are being made counts.
    if ((this.#revision === 0 && !this.#applying) || this.#stopped) return;
    this.#due ??= setTimeout(() => {
      this.#due = undefined;
      void this.#apply();
    }, coalesce);
  }

  async #apply(): Promise<void> {
    if (this.#applying) {
      this.#again = true;
      return;
    }
    this.#applying = true;
    do {
      this.#again = false;
      await this.#applyOnce();
    } while (this.#again && !this.#stopped);
    this.#applying = false;
    this.#show();
  }

  async #applyOnce(): Promise<void> {
    // Here, so that a plane is never exchanged while it is at work.
    if (this.#stale || (this.#waiting() && performance.now() - this.#chose >= planeLookMs))
      await this.#choose();
    const tables = this.#tables();
    const said = new Map(this.#overrides.byServer);
    const recount = this.#recount;
    this.#recount = false;
    let pause = this.#waiting() ? planeLookMs : 0;
    for (const [name, carrier] of this.#carriers) {
      const mine = tables.filter((table) => this.#planeOf(table.listen.name) === name);
      if (await carrier.apply(mine)) {
        this.#noteUp(mine);
        // Until that is known the status goes on to tell of no override.
        if (recount && !(await this.#counted(name, carrier))) {
          this.#recount = true;
          pause = Math.max(pause, recountMs);
        } else this.#remember(mine, said);
        this.#drift = [];
        // Not awaited: a thousand clients to be told must not keep the next change waiting.
        this.#resets = this.#resets.then(() => this.#resetDead(carrier, mine));
      } else {
        this.#recount ||= recount;
        pause = Math.max(pause, carrier.pause);
      }
    }
    this.#revision++;
    if (this.#served()) this.#fit.declare();
    clearTimeout(this.#retry);
    if (pause > 0 && !this.#stopped) this.#retry = setTimeout(() => void this.#apply(), pause);
  }

  #noteUp(tables: Table[]): void {
    for (const { listen, servers } of tables) {
      for (const { server, up, sorry } of servers) {
        const key = placeKey(listen.name, server.name, sorry);
        if (up) this.#up.add(key);
        else this.#up.delete(key);
      }
    }
  }

  /** Keeps what the packets now follow: the status tells of nothing that is only about to be. */
  #remember(tables: Table[], said: Map<string, Override>): void {
    for (const { listen, servers } of tables) {
      for (const { server, up, sorry } of servers) {
        const override = said.get(server.name);
        this.#live.set(placeKey(listen.name, server.name, sorry), {
          up,
          effective:
            this.#leavers.isFree(listen.name, server.name) && !sorry ? 0 : effectiveWeight(server, override),
          ...(override ? { override: overrideText(override) } : {}),
        });
      }
    }
  }

  #tables(): Table[] {
    const tables = tablesOf(
      this.#config,
      (target) => this.#checker.health(target),
      this.#overrides.byServer,
      this.#admits,
    );
    return tables
      .map((table) => this.#leavers.settle(table))
      .map((table) => (this.#follows(table.listen) ? followed(table, this.#connections) : table));
  }

  #follows(listen: Listen): boolean {
    return follows(listen, this.#planeOf(listen.name));
  }

  /** A dead server's clients are told at once rather than left to wait. Before its turn came it may have returned, with new clients. */
  async #resetDead(carrier: Carrier, tables: Table[]): Promise<void> {
    for (const { listen, servers } of tables) {
      for (const { server, up, sorry } of servers) {
        const key = placeKey(listen.name, server.name, sorry);
        if (up) this.#reset.delete(key);
        else if (!this.#reset.has(key) && !this.#up.has(key)) {
          this.#reset.add(key);
          await carrier.plane.reset(listen.name, server.name).catch((error: Error) => {
            carrier.error = error.message;
          });
          // A plane that was let go of may have told nobody: its successor, whose turn comes after this one's, does.
          if (carrier.released) this.#reset.delete(key);
        }
      }
    }
  }

  /** Reads a plane's connections; those of the others stay as they were last read. False, and nothing is changed, when it does not answer. */
  async #counted(name: PlaneName, carrier: Carrier): Promise<boolean> {
    // `apply` says what is wrong with a plane that does not answer.
    const read = await carrier.plane.connections().catch(() => undefined);
    if (!read) return false;
    const others = [...this.#connections].filter(([, { listen }]) => this.#planeOf(listen) !== name);
    const mine = read.map((one) => [`${one.listen} ${one.server}`, one] as const);
    this.#connections = new Map([...others, ...mine]);
    return true;
  }

  /** Reads the connections; gives the time until the next reading. */
  async #count(): Promise<number> {
    const started = performance.now();
    const leaving = new Set<string>();
    for (const { listen, server } of placesOf(this.#config))
      if (this.#leavers.isFree(listen.name, server.name)) leaving.add(`${listen.name} ${server.name}`);
    const read = new Set<PlaneName | undefined>();
    for (const [name, carrier] of this.#carriers)
      if (carrier.told && (await this.#counted(name, carrier))) read.add(name);
    const drift: string[] = [];
    for (const { plane } of this.#carriers.values())
      drift.push(...((await plane.drift?.().catch(() => [])) ?? []));
    this.#drift = drift;
    // What was counted before they got nothing new says nothing of them.
    const counts = [...this.#connections].filter(([, { listen }]) => read.has(this.#planeOf(listen)));
    if (leaving.size > 0) await this.#letGo(leaving, new Map(counts));
    const following = this.#config.listens.some((listen) => this.#follows(listen));
    if (following) this.#change();
    return Math.max(following ? followMs : showMs, (performance.now() - started) * share);
  }

  /** Forgets servers that leave: of those that got nothing new when `counts` was begun, who has no connection, or is down and its clients have been told. */
  async #letGo(leaving: Set<string>, counts: Map<string, Connections>): Promise<void> {
    await this.#resets;
    const ended = (listen: Listen, name: string): boolean => {
      const server = listen.servers.find((one) => one.name === name)!;
      const down = this.#checker.health(targetOf({ listen, server, sorry: false }))?.up === false;
      const key = `${listen.name} ${name}`;
      return (
        leaving.has(key) &&
        (down ? this.#reset.has(placeKey(listen.name, name, false)) : counts.get(key)?.active === 0)
      );
    };
    const left = this.#leavers.without(this.#config, ended);
    if (left === this.#config) return;
    this.#config = left;
    this.#setTargets();
    this.#change();
  }

  /** Writes the status now, or as soon as its cost allows. */
  #show(): void {
    // Before the first tables there is nothing to tell, and what the agent before this one told is of use to the next.
    if (this.#stopped || this.#showing || this.#revision === 0) return;
    const wait = this.#shown + this.#showCost * share - performance.now();
    if (wait > 0) {
      this.#showing = setTimeout(() => {
        this.#showing = undefined;
        this.#show();
      }, wait);
      return;
    }
    const started = performance.now();
    try {
      writeStatus(this.#folder, statusText(this.#agentStatus(started), this.#serverStatus()));
    } catch (error) {
      console.error(`status: ${(error as Error).message}`);
    }
    this.#shown = performance.now();
    this.#showCost = this.#shown - started;
  }

  #agentStatus(now: number): AgentStatus {
    const planes: AgentStatus['planes'] = {};
    for (const [listen, { plane, why }] of this.#choices) {
      const error = plane && this.#carriers.get(plane)?.error;
      planes[listen] = { plane: plane ?? 'none', why, ...(error ? { error } : {}) };
    }
    const peers: AgentStatus['peers'] = {};
    for (const { host } of this.#config.peers) {
      const last = this.#peers.get(host) ?? 'not yet';
      peers[host] = typeof last === 'number' ? Math.round(now - last) : last;
    }
    return {
      pid: process.pid,
      since: this.#since,
      host: this.#config.host,
      planes,
      vips: held(this.#config.vips),
      peers,
      revision: this.#revision,
      config: this.#hash,
      rss: process.memoryUsage.rss(),
      drift: this.#drift,
      errors: [...this.#errors, ...this.#overrides.errors, ...this.#registry.troubles()],
    };
  }

  #serverStatus(): ServerStatus[] {
    const rows: ServerStatus[] = [];
    for (const place of placesOf(this.#config)) {
      const { listen, server, sorry } = place;
      const live = this.#live.get(placeKey(listen.name, server.name, sorry));
      const health = this.#checker.health(targetOf(place));
      const why =
        health?.why ??
        (isAdmitted(place, this.#admits)
          ? undefined
          : `not registered: ${listen.registry?.path} has no such node`);
      const counts = this.#connections.get(`${listen.name} ${server.name}`);
      rows.push({
        listen: listen.name,
        server: server.name,
        address: server.address,
        port: server.port ?? null,
        weight: server.weight,
        effective: live?.effective ?? server.weight,
        ...(live?.override ? { override: live.override } : {}),
        up: live?.up === true && health?.up === true,
        ...(why ? { why } : {}),
        sorry,
        active: counts?.active ?? 0,
        inactive: counts?.inactive ?? 0,
        approximate: this.#follows(listen),
      });
    }
    return rows;
  }

  #serve(): void {
    this.#server?.close();
    if (servedAt(this.#config) === '') return;
    this.#server = serveFlows(
      { address: this.#config.address, port: this.#config.syncPort },
      () => this.#secret(),
      async () => {
        if (!this.#owner()) return [];
        const flows: Flow[] = [];
        for (const { plane } of this.#carriers.values()) {
          for (const flow of (await plane.flows?.()) ?? []) flows.push(flow);
        }
        return flows;
      },
      (address) => {
        const peer = this.#config.peers.find((p) => p.address === address);
        if (peer) this.#peers.set(peer.host, performance.now());
      },
    );
  }

  #secret(): Buffer {
    return readFileSync(join(this.#folder, 'sync.secret'));
  }

  #owner(): boolean {
    return Object.values(held(this.#config.vips)).includes(true);
  }

  /** Takes the owner's established flows, now and then, and soon where connections may have begun that this director was not shown. */
  async #sync(): Promise<number> {
    // Who owned the VIP, or was cut off, knows nothing of what the next owner took on meanwhile.
    if (this.#owner() || !held([this.#config.address])[this.#config.address]) this.#synced.clear();
    if (this.#owner()) return syncLookMs;
    const began = performance.now();
    const due = this.#config.peers.filter(
      ({ host }) => began - (this.#synced.get(host) ?? -syncMs) >= syncMs,
    );
    await Promise.all(
      due.map(async (peer) => {
        try {
          const at = { address: peer.address, port: this.#config.syncPort };
          const flows = await pullFlows(at, this.#config.address, this.#secret());
          for (const { plane } of this.#carriers.values()) await plane.adopt?.(flows);
          this.#peers.set(peer.host, performance.now());
          this.#synced.set(peer.host, began);
        } catch (error) {
          this.#peers.set(peer.host, (error as Error).message);
        }
      }),
    );
    return syncLookMs;
  }

  /** Runs something again and again; it gives the milliseconds until its next run. */
  #loop(run: () => Promise<number>): void {
    const next = async () => {
      const wait = await run();
      if (this.#stopped) return;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        void next();
      }, wait);
      this.#timers.add(timer);
    };
    void next();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }
}

/** Where the other directors are served connections; '' while there is none. */
const servedAt = ({ address, syncPort, peers }: AgentConfig): string =>
  peers.length === 0 ? '' : `${address} ${syncPort}`;

const keyOf = ({ listen, server, sorry }: Place): string => placeKey(listen.name, server.name, sorry);

const probedAt = (place: Place): string =>
  `${keyOf(place)} ${place.server.address} ${place.server.checkPort}`;
