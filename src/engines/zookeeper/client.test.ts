import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Reach } from '../../hosts/host.ts';
import { withSession } from './client.ts';
import { Answer, Packet } from './jute.ts';

let server: Server | undefined;
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
});

/** A server that answers each frame as `answer` says, on loopback. Undefined: says nothing more, as a frozen one. */
async function place(answer: (frame: Buffer, nth: number) => Buffer | undefined): Promise<Reach> {
  server = createServer((socket) => {
    sockets.add(socket);
    let nth = 0;
    socket.on('data', (chunk: Buffer) => {
      for (let at = 0; at < chunk.length; at += 4 + chunk.readInt32BE(at)) {
        const said = answer(chunk.subarray(at + 4, at + 4 + chunk.readInt32BE(at)), nth++);
        if (said) for (const byte of said) socket.write(Buffer.from([byte])); // in pieces, as TCP may
      }
    });
  });
  const port = await new Promise<number>((done) =>
    server!.listen(0, '127.0.0.1', () => done((server!.address() as { port: number }).port)),
  );
  return {
    connect: async () => connect(port, '127.0.0.1'),
  } as unknown as Reach;
}

const hello = new Packet().int(0).int(10_000).long(7n).buffer(Buffer.alloc(16)).bool(false).frame();
function reply(xid: number, error: number, body = new Packet()): Buffer {
  const header = new Packet().int(xid).long(1n).int(error).frame().subarray(4);
  const whole = Buffer.concat([Buffer.alloc(4), header, body.frame().subarray(4)]);
  whole.writeInt32BE(whole.length - 4);
  return whole;
}

describe('the client', () => {
  it('reads what a server says', async () => {
    const reach = await place((frame, nth) => {
      if (nth === 0) return hello;
      if (nth === 1) return reply(-4, 0);
      if (nth === 2) return reply(1, 0, new Packet().buffer(Buffer.from('here')));
      return reply(new Answer(frame).int(), 0);
    });
    const read = await withSession(reach, { host: 'd1', port: 0 }, ['app:x'], 2_000, (session) =>
      session.getData('/a'),
    );
    expect(read.toString()).toBe('here');
  });

  it('says what was refused, in words', async () => {
    const reach = await place((_frame, nth) => (nth === 0 ? hello : reply(1, -102)));
    await expect(
      withSession(reach, { host: 'd1', port: 0 }, [], 2_000, (session) => session.getData('/a')),
    ).rejects.toThrow('/a: not permitted');
  });

  it('never waits on a frozen server longer than it was told', async () => {
    const reach = await place((_frame, nth) => (nth === 0 ? hello : undefined));
    await expect(
      withSession(reach, { host: 'd1', port: 0 }, [], 100, (session) => session.getData('/a')),
    ).rejects.toThrow('d1: no answer within 100 ms');
  });

  it('a connection that ends fails what was asked', async () => {
    const reach = await place(() => {
      for (const socket of sockets) socket.destroy();
      return undefined;
    });
    await expect(
      withSession(reach, { host: 'd1', port: 0 }, [], 2_000, (session) => session.getData('/a')),
    ).rejects.toThrow(/closed|ECONNRESET/);
  });

  it('an answer that ends too early is no answer', () => {
    expect(() => new Answer(Buffer.from([0, 0, 0, 9, 1])).buffer()).toThrow(RangeError);
  });
});
