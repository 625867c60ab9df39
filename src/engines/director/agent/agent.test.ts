import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import type { AgentConfig, Plane, Table } from '../tables.ts';
import { Agent } from './agent.ts';

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

it('a server that comes up while the first tables are still being made is in the next ones', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));

  const folder = mkdtempSync(join(tmpdir(), 'agent-'));
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config(port)));
  writeFileSync(join(folder, 'sync.secret'), 'secret');
  const applied: boolean[] = [];
  let release: () => void = () => {};
  const plane: Plane = {
    name: 'nftables',
    open: async () => {},
    apply: async (tables: Table[]) => {
      applied.push(tables[0]!.servers[0]!.up);
      if (applied.length === 1)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
    },
    connections: async () => [],
    reset: async () => 0,
    close: async () => {},
  };
  const agent = new Agent(folder, { nftables: () => plane });
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
