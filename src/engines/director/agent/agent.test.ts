import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
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

it('a server that comes up while the first tables are still being made is in the next ones', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));

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
