import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Producer } from '@platformatic/kafka';
import { expect, onTestFinished, test } from 'vitest';
import { hangingUp } from './connections.ts';

/** A place that takes every connection and says nothing. */
async function silent(): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.resume();
    socket.on('close', () => sockets.delete(socket));
  }).listen(0, '127.0.0.1');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, sockets };
}

/** A producer whose pool has forgotten a connection that is still open. */
async function forgetful(port: number): Promise<Producer> {
  const producer = new Producer({
    clientId: 'test',
    bootstrapBrokers: [`127.0.0.1:${port}`],
    retries: 0,
    requestTimeout: 50,
  });
  producer.on('client:broker:connect', ({ connection }) => connection.emit('error', new Error('any')));
  return producer;
}

test('what a producer’s pool has forgotten ends with the producer', async () => {
  const { port, sockets } = await silent();
  const producer = await forgetful(port);
  const hangUp = hangingUp(producer);
  await producer.metadata({ topics: [] }).catch(() => {});
  expect(sockets.size).toBeGreaterThan(0);
  await hangUp();
  await expect.poll(() => sockets.size).toBe(0);
});

test('the library itself leaves it open: once it does not, connections.ts can go', async () => {
  const { port, sockets } = await silent();
  const producer = await forgetful(port);
  await producer.metadata({ topics: [] }).catch(() => {});
  await producer.close();
  expect(sockets.size).toBeGreaterThan(0);
});
