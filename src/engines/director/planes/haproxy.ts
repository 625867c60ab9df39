import { isIPv6 } from 'node:net';
import type { AgentConfig, Connections, Listen, Plane, RealServer, ServerState, Table } from '../tables.ts';
import { haproxyBalance } from './haproxy-balance.ts';
import { HaproxySocket } from './haproxy-socket.ts';

/**
 * Open files, two for each connection, that haproxy takes at most: it makes its own limit of connections of those that
 * its member is given, and a limit above them would keep it from starting.
 */
const openFiles = 200_000;

/** The runtime socket in the member's own folder, which is haproxy's working folder. */
export const haproxySocketName = 'haproxy.sock';

/** Runs it in the foreground as one process, in the folder of its member. */
export const haproxyCommand = 'haproxy -db -f haproxy.cfg';

/** Why haproxy cannot carry a listen, as a sentence that names the plane that can; undefined when it can. */
export function haproxyRefuses(listen: Listen): string | undefined {
  if (listen.proto === 'udp') return `haproxy carries no UDP: use plane nftables for ${listen.name}`;
  if (!haproxyBalance[listen.scheduler])
    return `haproxy has no scheduler ${listen.scheduler}: use plane nftables for ${listen.name}, or ${Object.keys(haproxyBalance).join(', ')}`;
  if (listen.hashPort && (listen.scheduler === 'sh' || listen.scheduler === 'mh'))
    return `haproxy hashes the client's address only: use plane nftables for ${listen.name}, or leave the port out of the hash`;
  return undefined;
}

/** A listen's proxy in haproxy: 'tcp-80' is tcp_80. */
export function proxyName(listen: string): string {
  return listen.replaceAll('-', '_');
}

/** A server's name in haproxy, which takes letters, digits and `-_.:` only: 'web@app1' is web:app1; no two names meet. */
export function serverName(name: string): string {
  return name.replace(/[^A-Za-z0-9.@-]/gu, (c) => `_${c.codePointAt(0)!.toString(16)}_`).replaceAll('@', ':');
}

/**
 * haproxy's configuration for the listens whose plane is haproxy. It checks nothing by itself: the agent's word, given
 * over the runtime socket, counts. `transparent` lets the standby director bind a VIP that it does not own.
 */
export function haproxyConfig(config: AgentConfig): string {
  const lines = [
    `# ${config.cluster}/${config.service} on ${config.host}: written by phalanx, changed by its agent over ${haproxySocketName}`,
    'global',
    `  fd-hard-limit ${openFiles}`,
    `  stats socket unix@${haproxySocketName} mode 600 level admin`,
    '  stats timeout 1d',
    '  log stdout format raw local0 notice',
    'defaults',
    '  mode tcp',
    '  log global',
    '  option dontlognull',
    '  timeout connect 2s',
    '  timeout client-fin 30s',
    '  timeout server-fin 30s',
    // A server that has just died and that no check has noticed yet: the next one is tried.
    '  retries 2',
    '  option redispatch 1',
    '  default-server on-marked-down shutdown-sessions',
  ];
  const v6 = config.vips.some((vip) => isIPv6(vip));
  for (const listen of config.listens) {
    if (listen.plane === 'haproxy') lines.push('', ...proxyLines(listen, config.vips, v6));
  }
  return `${lines.join('\n')}\n`;
}

function proxyLines(listen: Listen, vips: string[], v6: boolean): string[] {
  const refusal = haproxyRefuses(listen);
  if (refusal) throw new Error(refusal);
  const [first, last] = listen.ports;
  const ports = first === last ? `${first}` : `${first}-${last}`;
  const lines = [`listen ${proxyName(listen.name)}`];
  for (const vip of vips)
    lines.push(
      isIPv6(vip) ? `  bind [${vip}]:${ports} transparent v6only` : `  bind ${vip}:${ports} transparent`,
    );
  for (const line of haproxyBalance[listen.scheduler]!) lines.push(`  ${line}`);
  lines.push(`  timeout client ${listen.idleMs}ms`, `  timeout server ${listen.idleMs}ms`);
  if (listen.persistenceMs > 0) {
    lines.push(
      `  stick-table type ${v6 ? 'ipv6' : 'ip'} size 100k expire ${listen.persistenceMs}ms`,
      '  stick on src',
    );
  }
  const servers = [...listen.servers, ...listen.sorry];
  const weights = haproxyWeights(
    listen,
    listen.servers.map((server) => ({ server, weight: server.weight, up: true, sorry: false })),
  );
  servers.forEach((server, index) => {
    const at = server.port === undefined ? server.address : `${server.address}:${server.port}`;
    const sorry = index >= listen.servers.length;
    lines.push(
      `  server ${keyIn(listen, server, sorry)} ${at} id ${index + 1} weight ${sorry ? 1 : weights.get(server.name)}${sorry ? ' backup' : ''}`,
    );
  });
  if (listen.sorry.length > 1) lines.push('  option allbackups');
  return lines;
}

/** A member may be a real server of a listen and its sorry server as well: the second gets a name of its own. */
function keyIn(listen: Listen, server: RealServer, sorry: boolean): string {
  const twice = sorry && listen.servers.some((other) => other.name === server.name);
  return twice ? `${serverName(server.name)}:sorry` : serverName(server.name);
}

/**
 * Weights as haproxy takes them (0 to 256), by server name: alike for rr, lc; in proportion for the others; for fo
 * only the healthy server of the highest weight has any.
 */
export function haproxyWeights(listen: Listen, states: ServerState[]): Map<string, number> {
  const weights = new Map<string, number>();
  const { scheduler } = listen;
  if (scheduler === 'fo') {
    let best: ServerState | undefined;
    for (const state of states)
      if (state.up && state.weight > 0 && state.weight > (best?.weight ?? 0)) best = state;
    for (const state of states) weights.set(state.server.name, state === best ? 1 : 0);
    return weights;
  }
  const highest = Math.max(...states.map((state) => state.weight), 1);
  const scale = Math.min(1, 256 / highest);
  const alike = scheduler === 'rr' || scheduler === 'lc';
  for (const { server, weight } of states) {
    if (weight <= 0) weights.set(server.name, 0);
    else weights.set(server.name, alike ? 1 : Math.max(1, Math.round(weight * scale)));
  }
  return weights;
}

/** Drives a haproxy that runs as a member of its own. Its tables are haproxy's servers; they go on without the agent. */
export class HaproxyPlane implements Plane {
  readonly name = 'haproxy';
  readonly #config: AgentConfig;
  readonly #socket: HaproxySocket;
  /** What haproxy was last told of each `proxy/server`: 'maint' or its weight. */
  readonly #told = new Map<string, string>();
  #wanted: Table[] | undefined;

  /** `socket` is the path of haproxy's runtime socket. */
  constructor(config: AgentConfig, socket: string) {
    this.#config = config;
    this.#socket = new HaproxySocket(socket, () => this.#again());
  }

  async open(): Promise<void> {
    await this.#socket.open();
  }

  async apply(tables: Table[]): Promise<void> {
    this.#wanted = tables;
    if (!this.#socket.connected) await this.#socket.open();
    await this.#tell(tables);
  }

  async #tell(tables: Table[]): Promise<void> {
    const answers: Promise<void>[] = [];
    for (const table of tables) answers.push(...this.#tellTable(table));
    for (const answer of await Promise.allSettled(answers))
      if (answer.status === 'rejected') throw answer.reason;
  }

  #tellTable({ listen, servers }: Table): Promise<void>[] {
    const answers: Promise<void>[] = [];
    const main = servers.filter((state) => !state.sorry);
    const weights = haproxyWeights(listen, main);
    for (const state of servers) {
      const weight = state.sorry ? Math.min(1, state.weight) : weights.get(state.server.name)!;
      const proxy = proxyName(listen.name);
      const at = `${proxy}/${keyIn(listen, state.server, state.sorry)}`;
      const word = state.up ? `${weight}` : 'maint';
      const before = this.#told.get(at);
      if (before === word) continue;
      const commands: string[] = [];
      if (!state.up) commands.push(`set server ${at} state maint`);
      else {
        // The weight first, so that a server never comes back with the share it had before.
        commands.push(`set server ${at} weight ${weight}`);
        if (before === undefined || before === 'maint') commands.push(`set server ${at} state ready`);
        // A client's entry outranks the weight: a drained server would be given its old clients for ever.
        if (weight === 0 && listen.persistenceMs > 0 && !state.sorry)
          commands.push(
            `clear table ${proxy} data.server_id eq ${listen.servers.findIndex((real) => real.name === state.server.name) + 1}`,
          );
      }
      this.#told.delete(at);
      answers.push(
        Promise.all(commands.map((command) => this.#command(command))).then(() => {
          this.#told.set(at, word);
        }),
      );
    }
    return answers;
  }

  async #command(command: string): Promise<void> {
    const answer = await this.#socket.ask(command);
    if (!answer) return;
    const older = /No such|Unknown/i.test(answer)
      ? ': it runs with another configuration than the agent: run phalanx up'
      : '';
    throw new Error(`haproxy: ${command}: ${answer}${older}`);
  }

  /** haproxy was (re)started: it knows its configuration file only. */
  #again(): void {
    this.#told.clear();
    if (this.#wanted) this.#tell(this.#wanted).catch(() => {});
  }

  async connections(): Promise<Connections[]> {
    const [header, ...rows] = (await this.#socket.ask('show stat -1 4 -1')).split('\n');
    const columns = (header ?? '').replace(/^# /, '').split(',');
    const [proxy, server, current] = ['pxname', 'svname', 'scur'].map((name) => columns.indexOf(name));
    const active = new Map<string, number>();
    for (const row of rows) {
      const cells = row.split(',');
      active.set(`${cells[proxy!]}/${cells[server!]}`, Number(cells[current!]));
    }
    const all: Connections[] = [];
    for (const listen of this.#config.listens) {
      for (const sorry of [false, true]) {
        for (const real of sorry ? listen.sorry : listen.servers) {
          const count = active.get(`${proxyName(listen.name)}/${keyIn(listen, real, sorry)}`);
          if (count !== undefined)
            all.push({ listen: listen.name, server: real.name, active: count, inactive: 0 });
        }
      }
    }
    return all;
  }

  async reset(listen: string, server: string): Promise<number> {
    const before = (await this.connections()).find((c) => c.listen === listen && c.server === server);
    await this.#command(`shutdown sessions server ${proxyName(listen)}/${serverName(server)}`);
    return before?.active ?? 0;
  }

  /** Nothing of it is in the kernel: it ends with its process. */
  async close(): Promise<void> {
    this.release();
  }

  release(): void {
    this.#socket.release();
  }
}
