import { connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Flow } from '../tables.ts';
import { pullFlows, serveFlows } from './sync.ts';

const secret = Buffer.from('a secret of thirty-two characters');
const flows = (count: number): Flow[] =>
  Array.from({ length: count }, (_, n) => ({
    listen: 'tcp-80',
    client: '10.77.0.9',
    clientPort: 1024 + n,
    server: 'web@app1',
    family: 4,
    remainingMs: 900_000,
  }));

let open: { close(): void }[] = [];
afterEach(() => {
  for (const one of open) one.close();
  open = [];
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function serving(give: () => Promise<Flow[]>): Promise<number> {
  const port = await freePort();
  open.push(
    serveFlows(
      { address: '127.0.0.1', port },
      () => secret,
      give,
      () => {},
    ),
  );
  await new Promise((resolve) => setImmediate(resolve));
  return port;
}

const pull = (port: number, key = secret) => pullFlows({ address: '127.0.0.1', port }, '127.0.0.1', key);

test('a director that has just started takes all flows of its peer', async () => {
  const port = await serving(async () => flows(2500));
  expect(await pull(port)).toEqual(flows(2500));
});

test('who does not know the secret is told nothing', async () => {
  let asked = 0;
  const port = await serving(async () => {
    asked++;
    return flows(1);
  });
  await expect(pull(port, Buffer.from('another'))).rejects.toThrow('another secret');
  expect(asked).toBe(0);
});

test('the secret never crosses the wire, and an answer cannot be changed on its way', async () => {
  const port = await serving(async () => flows(3));
  let seen = '';
  const middle = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    client.on('data', (data) => {
      seen += data;
      server.write(data);
    });
    server.on('data', (data) => {
      const text = data.toString();
      seen += text;
      client.write(text.replace('web@app1', 'web@evil'));
    });
    server.on('end', () => client.end());
    for (const socket of [client, server]) socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => middle.listen(0, '127.0.0.1', resolve));
  open.push(middle);
  const { port: there } = middle.address() as { port: number };
  await expect(pull(there)).rejects.toThrow('damaged on the way');
  expect(seen).toContain('web@app1');
  expect(seen).not.toContain(secret.toString());
});

test('a peer that is away is an error in a word', async () => {
  await expect(pull(await freePort())).rejects.toThrow('ECONNREFUSED');
});
