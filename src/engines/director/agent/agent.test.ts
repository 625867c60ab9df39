import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { AgentConfig, Plane, Table } from '../tables.ts';
import { Agent } from './agent.ts';
import { pullFlows } from './sync.ts';

const config = (port: number): AgentConfig => ({
  cluster: 'c',
  service: 'front',
  host: 'lb1',
  address: '127.0.0.1',
  peers: [],
  syncPort: 0,
  vips: ['127.0.0.1'],
  listens: [
    {
      name: 'tcp-80',
      proto: 'tcp',
      ports: [80, 80],
      plane: 'nftables',
      forward: 'nat',
      scheduler: 'rr',
      hashPort: false,
      persistenceMs: 0,
      idleMs: 900_000,
      servers: [{ name: 'web@a', host: 'a', address: '127.0.0.1', port, checkPort: port, weight: 1 }],
      sorry: [],
      check: { kind: 'tcp', intervalMs: 10, timeoutMs: 500, rise: 1, fall: 2 },
    },
  ],
});

/** The agent's folder, as `up` writes it. */
function folderOf(config: AgentConfig): string {
  const folder = mkdtempSync(join(tmpdir(), 'agent-'));
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'sync.secret'), 'secret');
  return folder;
}

/** A plane that moves nothing. */
const plane = (change: Partial<Plane> = {}): Plane => ({
  name: 'nftables',
  open: async () => {},
  apply: async () => {},
  connections: async () => [],
  reset: async () => 0,
  close: async () => {},
  ...change,
});

/** A port of this machine on which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

it('a server that comes up while the first tables are still being made is in the next ones', async () => {
  const port = await freePort();
  const applied: boolean[] = [];
  let release: () => void = () => {};
  const slow = plane({
    apply: async (tables: Table[]) => {
      applied.push(tables[0]!.servers[0]!.up);
      if (applied.length === 1)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
    },
  });
  const agent = new Agent(folderOf(config(port)), { nftables: () => slow });
  const started = agent.start();
  await vi.waitFor(() => expect(applied).toEqual([false]), 3000);

  const again = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
  // The checker has seen it when its probes have come through several times.
  let probes = 0;
  again.on('connection', () => probes++);
  await vi.waitFor(() => expect(probes).toBeGreaterThan(2), 3000);
  release();
  await started;
  await vi.waitFor(() => expect(applied.at(-1)).toBe(true), 3000);
  agent.stop();
  again.close();
});

it('a server that is back before its turn to have its connections ended keeps them', async () => {
  const port = await freePort();
  const two = config(port);
  two.listens[0]!.servers.unshift({ ...two.listens[0]!.servers[0]!, name: 'web@dead', checkPort: 1 });
  const resets: string[] = [];
  let up = false;
  let told: () => void = () => {};
  const slow = plane({
    apply: async ([table]) => {
      up = table!.servers[1]!.up;
    },
    reset: async (_listen, server) => {
      if (resets.push(server) === 1)
        await new Promise<void>((resolve) => {
          told = resolve;
        });
      return 0;
    },
  });
  const agent = new Agent(folderOf(two), { nftables: () => slow });
  await agent.start();
  await vi.waitFor(() => expect(resets).toEqual(['web@dead']));
  expect(up).toBe(false);
  const back = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
  await vi.waitFor(() => expect(up).toBe(true), 3000);
  told();
  // Long enough for the next in turn.
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(resets).toEqual(['web@dead']);
  // Its next death is told as ever.
  back.close();
  await vi.waitFor(() => expect(resets).toEqual(['web@dead', 'web@a']), 3000);
  agent.stop();
});

it('a director that began alone shares its connections with one that is added later', async () => {
  const alone = { ...config(1), syncPort: await freePort() };
  const folder = folderOf(alone);
  const agent = new Agent(folder, { nftables: () => plane() });
  await agent.start();
  const pull = () =>
    pullFlows({ address: '127.0.0.1', port: alone.syncPort }, '127.0.0.1', Buffer.from('secret'));
  await expect(pull()).rejects.toThrow('ECONNREFUSED');
  const peers = [{ host: 'lb2', address: '127.0.0.1' }];
  writeFileSync(join(folder, 'agent.json'), JSON.stringify({ ...alone, peers }));
  agent.reload();
  await vi.waitFor(async () => expect(await pull()).toEqual([]));
  // And serves nobody when it is alone again.
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(alone));
  agent.reload();
  await vi.waitFor(() => expect(pull()).rejects.toThrow('ECONNREFUSED'));
  agent.stop();
});

it('a check that is changed in the file puts no server out that passes it, and ends no connection', async () => {
  const server = createHttpServer((_request, response) => {
    setTimeout(() => response.end(), 100);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const checked = (intervalMs: number): AgentConfig => {
    const changed = config(port);
    changed.listens[0]!.check = { ...changed.listens[0]!.check, kind: 'http', path: '/', intervalMs };
    return changed;
  };
  const folder = folderOf(checked(10));
  const applied: boolean[] = [];
  let resets = 0;
  const watched = plane({
    apply: async (tables) => {
      applied.push(tables[0]!.servers[0]!.up);
    },
    reset: async () => ++resets,
  });
  const agent = new Agent(folder, { nftables: () => watched });
  await agent.start();
  await vi.waitFor(() => expect(applied.at(-1)).toBe(true), 3000);
  const before = { applied: applied.length, resets };
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(checked(20)));
  agent.reload();
  await vi.waitFor(() => expect(applied.length).toBeGreaterThan(before.applied), 3000);
  expect(applied.slice(before.applied)).not.toContain(false);
  expect(resets).toBe(before.resets);

  // The new check has the last word, as ever.
  server.closeAllConnections();
  server.close();
  await vi.waitFor(() => expect(applied.at(-1)).toBe(false), 3000);
  agent.stop();
});

it('a listen that no plane can carry is told, and the others are served', { tags: ['long'] }, async () => {
  const mixed = config(1);
  mixed.listens[0]!.plane = 'auto';
  const [other] = mixed.listens;
  // A real server on the director's own host is out of the reach of plane nftables.
  const servers = [{ ...other!.servers[0]!, name: 'web@lb1', host: 'lb1' }];
  mixed.listens.push({ ...other!, name: 'tcp-81', ports: [81, 81], servers });
  const folder = folderOf(mixed);
  const applied: string[][] = [];
  let closed = 0;
  const absent = plane({
    name: 'ipvs',
    open: async () => {
      throw new Error('no IPVS');
    },
  });
  const agent = new Agent(folder, {
    ipvs: () => absent,
    nftables: () =>
      plane({
        apply: async (tables) => void applied.push(tables.map(({ listen }) => listen.name)),
        close: async () => void closed++,
      }),
    haproxy: () => plane({ close: async () => void closed++ }),
  });
  await agent.start();
  // Nor does it keep the VIP from them.
  expect(readFileSync(join(folder, 'fit'), 'utf8')).toBe('0\n');
  const planes = () =>
    JSON.parse(readFileSync(join(folder, 'status.jsonl'), 'utf8').split('\n')[0]!).agent.planes;
  await vi.waitFor(() => expect(planes()['tcp-81']).toMatchObject({ plane: 'none' }));
  expect(planes()['tcp-81'].why).toContain("web@lb1, on a director's own host");
  expect(planes()['tcp-80'].plane).toBe('nftables');
  // A module may still come, so it is looked again; what is not used was let go of once.
  const before = applied.length;
  await vi.waitFor(() => expect(applied.length).toBeGreaterThan(before + 1), 4000);
  for (const names of applied) expect(names).toEqual(['tcp-80']);
  expect(closed).toBe(1);
  agent.stop();
});

describe('a director owns the VIP only while its host has tables', () => {
  const said = (folder: string) => readFileSync(join(folder, 'fit'), 'utf8');
  const failing = async () => {
    throw new Error('eth0 has no address yet');
  };
  const auto = (): AgentConfig => {
    const changed = config(1);
    changed.listens[0]!.plane = 'auto';
    return changed;
  };

  it('no plane opens yet: not fit, and it is tried again', { tags: ['long'] }, async () => {
    const folder = folderOf(auto());
    let open: () => Promise<void> = failing;
    let [made, released, closed] = [0, 0, 0];
    const late = () => {
      made++;
      return plane({ open: () => open(), release: () => void released++, close: async () => void closed++ });
    };
    const agent = new Agent(folder, { nftables: late });
    await agent.start();
    expect(said(folder)).toBe('1\n');
    open = async () => {};
    await vi.waitFor(() => expect(said(folder)).toBe('0\n'), 3000);
    // An agent before this one may have left tables, which serve clients meanwhile.
    expect(closed).toBe(0);
    // None that was given up goes on trying by itself.
    expect(released).toBe(made - 1);
    agent.stop();
  });

  it('what was said before the last boot holds no longer', async () => {
    const folder = folderOf(config(1));
    writeFileSync(join(folder, 'fit'), '0\n');
    writeFileSync(join(folder, 'fit.host'), 'another boot\n');
    let apply: () => Promise<void> = failing;
    const agent = new Agent(folder, { nftables: () => plane({ apply: () => apply() }) });
    await agent.start();
    expect(said(folder)).toBe('1\n');
    apply = async () => {};
    await vi.waitFor(() => expect(said(folder)).toBe('0\n'), 3000);
    agent.stop();
  });

  it('an agent that is started again on a running host gives nothing away, whatever fails', async () => {
    const folder = folderOf(auto());
    const first = new Agent(folder, { nftables: () => plane() });
    await first.start();
    first.stop();
    expect(said(folder)).toBe('0\n');
    for (const broken of [plane({ open: failing }), plane({ apply: failing })]) {
      const again = new Agent(folder, { nftables: () => broken });
      await again.start();
      expect(said(folder)).toBe('0\n');
      again.stop();
    }
  });

  it('keepalived, started at the same moment, has the last word for a second at most', {
    tags: ['long'],
  }, async () => {
    const folder = folderOf(config(1));
    const agent = new Agent(folder, { nftables: () => plane() });
    await agent.start();
    writeFileSync(join(folder, 'fit'), '1\n');
    await vi.waitFor(() => expect(said(folder)).toBe('0\n'), 3000);
    agent.stop();
  });
});

it('whoever waits for the last connection of a server in turn sees none that was counted before', async () => {
  const folder = folderOf(config(1));
  // A request begins after the first count; and the plane may be at a loss for a moment.
  let counts = 0;
  let refusing = false;
  const busy = plane({
    apply: async () => {
      if (!refusing) return;
      refusing = false;
      throw new Error('busy');
    },
    connections: async () => {
      if (++counts === 2) throw new Error('no answer');
      return [{ listen: 'tcp-80', server: 'web@a', active: counts === 1 ? 0 : 1, inactive: 0 }];
    },
  });
  const row = () => readFileSync(join(folder, 'status.jsonl'), 'utf8').split('\n')[1];
  const begun = async () => {
    const agent = new Agent(folder, { nftables: () => busy });
    await agent.start();
    return agent;
  };
  const inTurn = () => vi.waitFor(() => expect(row()).toContain('"override":"turn"'), { interval: 1 });
  const agent = await begun();
  await vi.waitFor(() => expect(counts).toBe(1));
  refusing = true;
  writeFileSync(join(folder, 'overrides', 'web@a'), 'turn\n');
  await inTurn();
  expect(row()).toContain('"active":1');
  agent.stop();

  // An agent that is started again meanwhile has counted nothing at all.
  writeFileSync(join(folder, 'status.jsonl'), '\n');
  const again = await begun();
  await inTurn();
  expect(row()).toContain('"active":1');
  again.stop();
});

it('a plane that has not been given its tables yet does not say that nobody is connected', {
  tags: ['long'],
}, async () => {
  const folder = folderOf(config(1));
  const applies: (() => void)[] = [];
  const busy = () => {
    let given: Table[] = [];
    return plane({
      apply: async (tables) => {
        await new Promise<void>((resolve) => applies.push(resolve));
        given = tables;
      },
      connections: async () =>
        given.map(() => ({ listen: 'tcp-80', server: 'web@a', active: 1, inactive: 0 })),
    });
  };
  const row = () => readFileSync(join(folder, 'status.jsonl'), 'utf8').split('\n')[1];
  const agent = new Agent(folder, { nftables: busy });
  const started = agent.start();
  await vi.waitFor(() => expect(applies).toHaveLength(1));
  applies[0]!();
  await started;
  await vi.waitFor(() => expect(row()).toContain('"active":1'), 3000);
  const changed = config(1);
  changed.listens[0]!.idleMs = 60_000;
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(changed));
  agent.reload();
  await vi.waitFor(() => expect(applies).toHaveLength(2));
  // Longer than connections go uncounted, and the status unwritten.
  await new Promise((resolve) => setTimeout(resolve, 2_300));
  expect(row()).toContain('"active":1');
  applies[1]!();
  agent.stop();
});

it('told of a pool that moved, it sends to the old one until the new one answers, and forgets it when it has ended', async () => {
  const listening = async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    return { server, port: (server.address() as { port: number }).port };
  };
  const old = await listening();
  const free = await listening();
  await new Promise((resolve) => free.server.close(resolve));
  const moved = config(free.port);
  moved.listens[0]!.servers[0]!.name = 'web@b';

  const folder = mkdtempSync(join(tmpdir(), 'agent-'));
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config(old.port)));
  writeFileSync(join(folder, 'sync.secret'), 'secret');
  const applied: string[] = [];
  const last = () => applied.at(-1);
  let active = 1;
  const plane: Plane = {
    name: 'nftables',
    open: async () => {},
    apply: async ([table]) => {
      applied.push(
        table!.servers.map(({ server, up, weight }) => `${server.name} ${up ? weight : 'down'}`).join(),
      );
    },
    connections: async () => [{ listen: 'tcp-80', server: 'web@a', active, inactive: 0 }],
    reset: async () => 0,
    close: async () => {},
  };
  const agent = new Agent(folder, { nftables: () => plane });
  await agent.start();
  expect(last()).toBe('web@a 1');
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(moved));
  agent.reload();
  await vi.waitFor(() => expect(last()).toBe('web@b down,web@a 1'), 3000);
  // Told again of what it knows: nothing is lost by it.
  agent.reload();
  const again = createServer((socket) => socket.destroy()).listen(free.port, '127.0.0.1');
  await vi.waitFor(() => expect(last()).toBe('web@b 1,web@a 0'), 3000);
  const status = () => readFileSync(join(folder, 'status.jsonl'), 'utf8');
  await vi.waitFor(() => expect(status()).toMatch(/"server":"web@a".*"effective":0,.*"active":1,/), 4000);
  active = 0;
  await vi.waitFor(() => expect(last()).toBe('web@b 1'), 4000);
  expect(applied.filter((table) => !/ 1/.test(table))).toEqual([]);
  agent.stop();
  for (const server of [old.server, again]) server.close();
});
