import { createSocket } from 'node:dgram';
import type { AgentConfig } from '../../tables.ts';
import { run } from './nft.ts';
import type { Peer, Route, Surroundings } from './switching.ts';

interface Addr {
  ifname: string;
  addr_info: { local?: string }[];
}
interface Neigh {
  dst: string;
  dev: string;
  lladdr?: string;
  state: string[];
}
interface RouteLine {
  dst: string;
  gateway?: string;
  via?: { host: string };
  dev?: string;
  type?: string;
  protocol?: string;
}

/** What the plane must know of its host; asked again every second, for it may change. `before`: what was found last. */
export async function look(config: AgentConfig, before?: Surroundings): Promise<Surroundings> {
  const device = deviceOf(await ask<Addr>(['addr']), config.address, config.host);
  const [four, six, near] = await Promise.all([
    ask<RouteLine>(['-4', 'route', 'show', 'table', 'main']),
    ask<RouteLine>(['-6', 'route', 'show', 'table', 'main']),
    ask<Neigh>(['-4', 'neigh', 'show', 'dev', device]),
  ]);
  return {
    device,
    routes: [...routesOf(4, four), ...routesOf(6, six)],
    peers: peersOf(
      near,
      config.peers.map((peer) => peer.address),
      before?.peers,
    ),
  };
}

/** Makes the kernel look for the other directors' MAC addresses: a datagram to the discard port is enough. */
export async function call(config: AgentConfig): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  await Promise.all(
    config.peers.map(
      (peer) => new Promise<void>((resolve) => socket.send('', 9, peer.address, () => resolve())),
    ),
  );
  socket.close();
}

async function ask<Line>(args: string[]): Promise<Line[]> {
  const { exit, stdout, stderr } = await run('ip', ['-j', ...args]);
  if (exit !== 0) throw new Error(`ip ${args.join(' ')} failed: ${stderr.trim()}`);
  return stdout.trim() === '' ? [] : (JSON.parse(stdout) as Line[]);
}

export function deviceOf(links: readonly Addr[], address: string, host: string): string {
  const link = links.find((each) => each.addr_info.some((info) => info.local === address));
  if (!link)
    throw new Error(
      `${host}: no interface has the address ${address}; give the host its address, or correct it in the file`,
    );
  return link.ifname;
}

export function routesOf(family: 4 | 6, lines: readonly RouteLine[]): Route[] {
  const routes: Route[] = [];
  const seen = new Set<string>();
  for (const line of lines) {
    // Several routes to one prefix are listed by metric, the best first; loopback and refusals lead nowhere.
    if (line.dev === undefined || line.dev === 'lo' || seen.has(line.dst)) continue;
    if (line.type !== undefined && line.type !== 'unicast') continue;
    // The kernel's own routes to single addresses of this host (IPv6): a VIP that comes or goes changes nothing here.
    if (line.protocol === 'kernel' && !line.dst.includes('/') && line.dst !== 'default') continue;
    seen.add(line.dst);
    const via = line.gateway ?? line.via?.host;
    routes.push({ family, to: line.dst, device: line.dev, ...(via === undefined ? {} : { via }) });
  }
  return routes;
}

/**
 * The directors of these addresses with the MAC addresses that the kernel's table of neighbours has. Where it has none, the last one
 * known is kept unless the kernel has asked in vain (FAILED): a cable that was out for a moment empties the table, and what this
 * director then took on would be shared with nobody until the next look.
 */
export function peersOf(
  near: readonly Neigh[],
  addresses: readonly string[],
  before: readonly Peer[] = [],
): Peer[] {
  return addresses.flatMap((address) => {
    const entry = near.find((each) => each.dst === address);
    if (entry?.state.includes('FAILED')) return [];
    const mac = entry?.lladdr ?? before.find((peer) => peer.address === address)?.mac;
    return mac === undefined ? [] : [{ address, mac }];
  });
}
