import { mkdtempSync, writeFileSync } from 'node:fs';
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
