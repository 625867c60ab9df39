import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, until } from './cluster.ts';
import { Cart } from './redis-clients.ts';

const file = (mode: string): string => `
cluster: rdpython${mode}
network: 10.162.12.0/24
hosts: { d1: {}, d2: {}, d3: {} }
services:
  cart: { type: redis, mode: ${mode}, hosts: [d1, d2, d3], timing: fast }
`;

interface Python {
  ok: number;
  errors: string[];
  /** Acknowledged keys that could not be read back at the end. */
  missing: string[] | undefined;
  complaints: string;
  stop(): Promise<void>;
}

/** redis-py (Debian's python3-redis), writing until it is stopped. */
function python(address: Record<string, string>): Python {
  const child = spawn('/usr/bin/python3', [join(import.meta.dirname, 'redis-writer.py')], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...address },
  });
  const ended = new Promise<void>((done) => child.on('close', () => done()));
  const seen: Python = {
    ...{ ok: 0, errors: [], missing: undefined, complaints: '' },
    stop() {
      child.stdin.end();
      return ended;
    },
  };
  child.stderr.on('data', (chunk) => {
    seen.complaints += chunk;
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text);
    if (line.ok !== undefined) seen.ok++;
    else if (line.error !== undefined) seen.errors.push(line.error);
    else seen.missing = line.missing;
  });
  return seen;
}

describe.each(['sentinel', 'cluster'])('mode %s, seen by a client in Python', (mode) => {
  const cluster = new TestCluster(file(mode));
  const cart = new Cart(cluster);
  beforeAll(() => cluster.must('up'));
  afterAll(() => cluster.remove());

  it('writes to every shard, goes on by itself after a master was killed, and finds everything that was acknowledged', async () => {
    const client = python(await cart.address());
    const more = async (count: number) => {
      const from = client.ok;
      await until(`${count} more writes`, async () => {
        if (client.complaints !== '') throw new Error(client.complaints);
        return client.ok > from + count;
      });
    };
    await more(500);
    expect(client.errors).toEqual([]);
    const before = await cart.masters();
    const held = (await cart.live()).members.filter((one) => one.role === 'master');
    for (const master of held) expect(master.keys).toBeGreaterThan(50);
    await cart.kill(before[0]!, 'KILL');
    await until('another master', async () => {
      const now = await cart.masters();
      return now.length === before.length && !now.includes(before[0]!);
    });
    await until('the client sees it too', async () => {
      const errors = client.errors.length;
      await more(300);
      return client.errors.length === errors;
    });
    // It noticed: the proof is not of a failover that nobody saw.
    expect(client.errors.length).toBeGreaterThan(0);
    await client.stop();
    expect(client.complaints).toBe('');
    expect(client.missing).toEqual([]);
  });
});
