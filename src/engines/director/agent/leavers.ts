import type { AgentConfig, Listen, Table } from '../tables.ts';

interface Leaving {
  servers: Set<string>;
  /** Those that came with the same change and have not been up yet. */
  awaited: Set<string>;
  /** They get nothing new any more. */
  free: boolean;
}

/**
 * Servers that the file no longer has behind a listen: they serve as before until each that came in their place has been up once, and
 * again whenever none of those is; then they keep what they have and get nothing new. A pool that moves is never empty. Not with
 * haproxy, whose own configuration says whom it knows.
 */
export class Leavers {
  readonly #byListen = new Map<string, Leaving>();

  /** The new configuration with the servers that `before` (which this gave) had and it has not. */
  join(before: AgentConfig, next: AgentConfig): AgentConfig {
    const old = new Map(before.listens.map((listen) => [listen.name, listen]));
    const listens = next.listens.map((listen) => this.#joined(old.get(listen.name), listen));
    for (const name of old.keys())
      if (!listens.some((listen) => listen.name === name)) this.#byListen.delete(name);
    return { ...next, listens };
  }

  #joined(before: Listen | undefined, listen: Listen): Listen {
    const known = this.#byListen.get(listen.name);
    this.#byListen.delete(listen.name);
    const carried = before?.plane !== 'haproxy' && listen.plane !== 'haproxy';
    if (before === undefined || before.forward !== listen.forward || !carried) return listen;
    const names = new Set(listen.servers.map(({ name }) => name));
    const left = before.servers.filter(({ name }) => !names.has(name));
    if (left.length === 0) return listen;
    const stood = new Set(before.servers.map(({ name }) => name));
    const awaited = [...names].filter((name) => !stood.has(name) || known?.awaited.has(name));
    this.#byListen.set(listen.name, {
      servers: new Set(left.map(({ name }) => name)),
      awaited: new Set(awaited),
      free: false,
    });
    return { ...listen, servers: [...listen.servers, ...left] };
  }

  /** The table with nothing new for those that are free to go. */
  settle(table: Table): Table {
    const leaving = this.#byListen.get(table.listen.name);
    if (leaving === undefined) return table;
    const stay = table.servers.filter(
      ({ server, sorry, up }) => up && !sorry && !leaving.servers.has(server.name),
    );
    for (const { server } of stay) leaving.awaited.delete(server.name);
    leaving.free = leaving.awaited.size === 0 && stay.some(({ weight }) => weight > 0);
    if (!leaving.free) return table;
    return {
      ...table,
      servers: table.servers.map((state) =>
        !state.sorry && leaving.servers.has(state.server.name) ? { ...state, weight: 0 } : state,
      ),
    };
  }

  /** Whether the server gets nothing new since it leaves. */
  isFree(listen: string, server: string): boolean {
    const leaving = this.#byListen.get(listen);
    return leaving?.free === true && leaving.servers.has(server);
  }

  /** The configuration without those that are free and of which `ended` says that they have nothing left; the same where there are none. */
  without(config: AgentConfig, ended: (listen: Listen, server: string) => boolean): AgentConfig {
    let changed = false;
    const listens = config.listens.map((listen) => {
      const gone = listen.servers.filter(({ name }) => this.isFree(listen.name, name) && ended(listen, name));
      if (gone.length === 0) return listen;
      changed = true;
      const leaving = this.#byListen.get(listen.name)!;
      for (const { name } of gone) leaving.servers.delete(name);
      return { ...listen, servers: listen.servers.filter((server) => !gone.includes(server)) };
    });
    return changed ? { ...config, listens } : config;
  }
}
