import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import type { DrillClient, DrillFinal, DrillOperation, DrillOutcome } from '../drill.ts';
import { type Door, websockets } from './door.ts';
import { download } from './download.ts';
import { HeldSockets } from './held-sockets.ts';

/** After this a client has given up, milliseconds. */
const patience = 1_000;
/** A transfer takes this many pieces, 100 ms apart. */
const pieces = 20;

/**
 * Browsers, about: half of the clients open a connection for every request, half keep theirs, and a few send a request that
 * takes two seconds, a header at a time, whose connection has to survive whatever happens meanwhile; where the app has them, long
 * downloads and websockets. An answer below 500 counts.
 */
export class WebClient implements DrillClient {
  #doors: Door[];
  #next = 0;
  #sockets: HeldSockets;
  #kept = new Agent({ keepAlive: true, maxSockets: 256, maxFreeSockets: 256, scheduling: 'fifo' });

  /** Several doors are taken in turn: clients of a service that no director stands before. */
  constructor(doors: Door[]) {
    this.#doors = doors;
    this.#sockets = new HeldSockets(doors);
  }

  /** Opens the websockets. */
  async ready(): Promise<void> {
    const names = Array.from({ length: websockets }, (_, n) => `w${n}`);
    if (this.#doors[0]!.websocket !== undefined) await this.#sockets.open(names);
  }

  /** New and kept connections are timed each by themselves: they come back at different times. */
  groupOf({ p, f }: DrillOperation): string | undefined {
    return f !== 'request' ? undefined : p % 2 === 0 ? 'new connections' : 'kept connections';
  }

  invoke({ p, f, k }: DrillOperation): Promise<DrillOutcome> {
    if (f === 'ping') return this.#sockets.ping(k!);
    const door = this.#doors[this.#next++ % this.#doors.length]!;
    if (door.path === undefined) return knock(door);
    if (f === 'download') return download(door, door.download!);
    return f === 'transfer' ? transfer(door, door.path) : this.#ask(door, door.path, p % 2 !== 0);
  }

  async finals(): Promise<DrillFinal[]> {
    return [];
  }

  async close(): Promise<void> {
    this.#sockets.close();
    this.#kept.destroy();
  }

  #ask({ host, port }: Door, path: string, keep: boolean): Promise<DrillOutcome> {
    return new Promise((done) => {
      const sent = request({ host, port, path, agent: keep ? this.#kept : false }, (response) => {
        response.resume();
        response.once('end', () => finish(answered(response.statusCode ?? 0)));
        response.once('error', (error) => finish(failed(error)));
      });
      const timer = setTimeout(() => sent.destroy(new Error(`no answer in ${patience} ms`)), patience);
      const finish = (outcome: DrillOutcome): void => {
        clearTimeout(timer);
        done(outcome);
      };
      sent.on('error', (error) => finish(failed(error)));
      sent.end();
    });
  }
}

function answered(status: number): DrillOutcome {
  return status > 0 && status < 500 ? { type: 'ok' } : { type: 'fail', error: `status ${status}` };
}

function failed(error: NodeJS.ErrnoException): DrillOutcome {
  // Only a connection that was never made proves that nobody saw the request.
  return { type: error.code === 'ECONNREFUSED' ? 'fail' : 'info', error: error.message };
}

function knock({ host, port }: Door): Promise<DrillOutcome> {
  return new Promise((done) => {
    const socket = connect({ host, port });
    const finish = (outcome: DrillOutcome): void => {
      clearTimeout(timer);
      socket.destroy();
      done(outcome);
    };
    const timer = setTimeout(
      () => finish({ type: 'info', error: `not accepted in ${patience} ms` }),
      patience,
    );
    socket.once('connect', () => finish({ type: 'ok' }));
    socket.on('error', (error) => finish(failed(error)));
  });
}

function transfer({ host, port }: Door, path: string): Promise<DrillOutcome> {
  return new Promise((done) => {
    const socket = connect({ host, port, noDelay: true });
    let sent = 0;
    let timer: NodeJS.Timeout;
    const finish = (outcome: DrillOutcome): void => {
      clearTimeout(timer);
      socket.destroy();
      done(outcome);
    };
    const giveUp = (): void => finish({ type: 'info', error: `no answer in ${patience} ms` });
    const piece = (): void => {
      if (sent++ < pieces) {
        socket.write(`X-Piece-${sent}: ${sent}\r\n`);
        timer = setTimeout(piece, 100);
      } else {
        socket.write('Connection: close\r\n\r\n');
        timer = setTimeout(giveUp, patience);
      }
    };
    timer = setTimeout(giveUp, patience);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n`);
      piece();
    });
    socket.once('data', (chunk: Buffer) =>
      finish(answered(Number(/^HTTP\/1\.\d (\d+)/.exec(chunk.toString('latin1'))?.[1] ?? 0))),
    );
    socket.on('error', (error) => finish(failed(error)));
    socket.once('close', () =>
      finish({ type: 'info', error: 'the connection was closed without an answer' }),
    );
  });
}
