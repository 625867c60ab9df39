import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Check } from './check.ts';
import { shake, shakeSocket } from './connect.ts';
import { probe } from './probe.ts';

const check = (part: Partial<Check>): Check => ({
  kind: 'tcp',
  intervalMs: 1000,
  timeoutMs: 300,
  rise: 2,
  fall: 3,
  ...part,
});

const servers: Server[] = [];
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

/** A server that answers each connection with `answer`, and its port. */
async function serve(answer: (socket: Socket) => void, host = '127.0.0.1'): Promise<number> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    answer(socket);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

async function closedPort(): Promise<number> {
  const port = await serve(() => {});
  await new Promise((resolve) => servers.pop()!.close(resolve));
  return port;
}

describe('tcp', () => {
  test('a listening port is healthy, a closed one says refused', async () => {
    const port = await serve(() => {});
    expect(await probe(check({}), '127.0.0.1', port)).toMatchObject({ healthy: true });
    expect(await probe(check({}), '127.0.0.1', await closedPort())).toMatchObject({
      healthy: false,
      why: 'refused',
    });
  });

  test('IPv6 works too', async () => {
    const port = await serve(() => {}, '::1');
    expect(await probe(check({}), '::1', port)).toMatchObject({ healthy: true });
  });

  test.each([
    ['handle', shake],
    ['socket', shakeSocket],
  ])('the handshake over a %s ends with a reset, so that no TIME_WAIT is left', async (_name, way) => {
    const ended = Promise.withResolvers<string>();
    const port = await serve((socket) => {
      socket.removeAllListeners('error');
      socket.on('error', (error: NodeJS.ErrnoException) => ended.resolve(error.code ?? ''));
      socket.on('end', () => ended.resolve('FIN'));
      socket.resume();
    });
    await new Promise((resolve) => way('127.0.0.1', port, resolve));
    expect(await ended.promise).toBe('ECONNRESET');
  });
});

describe('http', () => {
  const http = (part: Partial<Check> = {}) => check({ kind: 'http', path: '/healthz', ...part });

  test('asks for the path with a Host header and Connection: close', async () => {
    const asked = Promise.withResolvers<string>();
    const port = await serve((socket) =>
      socket.once('data', (data) => {
        asked.resolve(data.toString());
        socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      }),
    );
    expect(await probe(http({ host: 'shop.test' }), '127.0.0.1', port)).toMatchObject({ healthy: true });
    expect(await asked.promise).toMatch(
      /^GET \/healthz HTTP\/1\.1\r\nHost: shop\.test\r\n[\s\S]*Connection: close\r\n\r\n$/,
    );
  });

  test.each([
    ['HTTP/1.1 204 No Content\r\n\r\n', undefined, undefined],
    ['HTTP/1.0 302 Found\r\n\r\n', undefined, undefined],
    ['HTTP/1.1 503 Busy\r\n\r\n', undefined, 'HTTP 503'],
    ['HTTP/1.1 302 Found\r\n\r\n', [200, 299] as [number, number], 'HTTP 302'],
    ['SSH-2.0-OpenSSH\r\n', undefined, 'not HTTP'],
    ['', undefined, 'closed without an answer'],
  ])('%j is judged by its status line', async (answer, status, why) => {
    const port = await serve((socket) => socket.once('data', () => socket.end(answer)));
    const result = await probe(http(status ? { status } : {}), '127.0.0.1', port);
    expect(result.healthy).toBe(why === undefined);
    expect(result.why).toBe(why);
  });

  test('a status line in two pieces is one status line', async () => {
    const port = await serve((socket) =>
      socket.once('data', () => {
        socket.write('HTTP/1.1 50');
        setTimeout(() => socket.end('0 Oops\r\n\r\n'), 20);
      }),
    );
    expect(await probe(http(), '127.0.0.1', port)).toMatchObject({ healthy: false, why: 'HTTP 500' });
  });

  test('a server that accepts and stays silent is not healthy', async () => {
    const port = await serve(() => {});
    const result = await probe(http(), '127.0.0.1', port);
    expect(result).toMatchObject({ healthy: false, why: 'no answer in 300 ms' });
  });
});

describe('amqp', () => {
  const amqp = check({ kind: 'amqp' });
  const start = Buffer.from('010000000001f5000a000a0009', 'hex');
  const answering = (answer: Buffer) =>
    serve((socket) => socket.on('data', (greeting) => greeting.length === 8 && socket.write(answer)));

  test('a broker that begins the conversation is healthy', async () => {
    expect(await probe(amqp, '127.0.0.1', await answering(start))).toMatchObject({ healthy: true });
  });
  test('also when its first frame comes in pieces', async () => {
    const port = await serve((socket) => {
      socket.setNoDelay(true);
      socket.on('data', () => {
        socket.write(start.subarray(0, 5));
        setTimeout(() => socket.write(start.subarray(5)), 20);
      });
    });
    expect(await probe(amqp, '127.0.0.1', port)).toMatchObject({ healthy: true });
  });
  test.each([
    ['another version', Buffer.from('AMQP\0\x01\0\0', 'latin1'), 'speaks another version of AMQP'],
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 'not AMQP'],
    ['another method', Buffer.from('010000000001f5000a00320009', 'hex'), 'not AMQP'],
  ])('%s is not', async (_name, answer, why) => {
    expect(await probe(amqp, '127.0.0.1', await answering(answer))).toMatchObject({ healthy: false, why });
  });
  test('a broker that accepts and says nothing, or closes, is not', async () => {
    expect((await probe(amqp, '127.0.0.1', await serve(() => {}))).why).toBe('no answer in 300 ms');
    const closing = await serve((socket) => socket.end());
    expect((await probe(amqp, '127.0.0.1', closing)).why).toBe('closed without an answer');
  });
  test('a closed port is refused', async () => {
    expect((await probe(amqp, '127.0.0.1', 1)).why).toBe('refused');
  });
});

describe('script', () => {
  const script = (command: string) => check({ kind: 'script', command, timeoutMs: 1500 });

  test('exit 0 is healthy; ADDRESS and PORT are in its environment', async () => {
    const result = await probe(script('test "$ADDRESS:$PORT" = 10.0.0.1:80'), '10.0.0.1', 80);
    expect(result).toMatchObject({ healthy: true });
  });

  test('a failure tells the exit status and the last line it said', async () => {
    const result = await probe(script('echo starting; echo no space left >&2; exit 3'), '10.0.0.1', 80);
    expect(result).toMatchObject({ healthy: false, why: 'exit 3: no space left' });
  });

  test('a hanging script is killed with its children', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'phalanx-probe-'));
    const command = `sleep 60 & echo $! > ${folder}/pid; wait`;
    const result = await probe(check({ kind: 'script', command, timeoutMs: 300 }), '10.0.0.1', 80);
    expect(result).toMatchObject({ healthy: false, why: 'no answer in 300 ms' });
    const stat = `/proc/${readFileSync(`${folder}/pid`, 'utf8').trim()}/stat`;
    await expect.poll(() => !existsSync(stat) || / Z /.test(readFileSync(stat, 'utf8'))).toBe(true);
    rmSync(folder, { recursive: true });
  });
});
