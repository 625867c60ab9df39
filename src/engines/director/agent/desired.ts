import type { Health, Target } from '../../../check/checker.ts';
import type { AgentConfig, Listen, RealServer, ServerState, Table } from '../tables.ts';
import type { Override } from './overrides.ts';

/** A server of a listen, in the order in which tables and the status have them. */
export interface Place {
  listen: Listen;
  server: RealServer;
  sorry: boolean;
}

export function* placesOf(config: AgentConfig): Generator<Place> {
  for (const listen of config.listens) {
    for (const server of listen.servers) yield { listen, server, sorry: false };
    for (const server of listen.sorry) yield { listen, server, sorry: true };
  }
}

/** Identity of a place across configurations: 'tcp-80 web@app1', for a sorry server 'tcp-80 web@app1 sorry'. */
export function placeKey(listen: string, server: string, sorry: boolean): string {
  return sorry ? `${listen} ${server} sorry` : `${listen} ${server}`;
}

/**
 * What is probed for a place. A sorry server is another service, to which the listen's own check says nothing: it
 * need only answer its port.
 */
export function targetOf({ listen, server, sorry }: Place): Target {
  const { check } = listen;
  if (!sorry || check.kind === 'tcp') return { address: server.address, port: server.checkPort, check };
  const { intervalMs, timeoutMs, rise, fall } = check;
  return {
    address: server.address,
    port: server.checkPort,
    check: { kind: 'tcp', intervalMs, timeoutMs, rise, fall },
  };
}

/** Weight after what was said at run time; connections counts are not in it. */
export function effectiveWeight(server: RealServer, override: Override | undefined): number {
  if (!override) return server.weight;
  return override.kind === 'weight' ? override.weight : 0;
}

/** Whether a server's registry lets it in; see Registry.admits. A sorry server needs no node. */
export type Admits = (path: string, server: string) => boolean;

export const isAdmitted = ({ listen, server, sorry }: Place, admits: Admits): boolean =>
  sorry || listen.registry === undefined || admits(listen.registry.path, server.name);

/** The virtual services as they shall be now. A server of which nothing is known yet is not up. */
export function tablesOf(
  config: AgentConfig,
  health: (target: Target) => Health | undefined,
  overrides: Map<string, Override>,
  admits: Admits = () => true,
): Table[] {
  const tables = new Map<string, Table>();
  for (const listen of config.listens) tables.set(listen.name, { listen, servers: [] });
  for (const place of placesOf(config)) {
    const { listen, server, sorry } = place;
    const state: ServerState = {
      server,
      weight: effectiveWeight(server, overrides.get(server.name)),
      up: health(targetOf(place))?.up === true && isAdmitted(place, admits),
      sorry,
    };
    tables.get(listen.name)!.servers.push(state);
  }
  return [...tables.values()];
}
