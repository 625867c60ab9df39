import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Flow } from '../tables.ts';

/** All of one exchange must be over by then, in milliseconds. */
const deadline = 10_000;
/** A peer on the same network answers sooner, or is away: milliseconds. */
const connectMs = 500;
/** Longest line that is read: before the other side has proven itself, and after. */
const shortLine = 1024;
const longLine = 1024 * 1024;
/** Flows in one line. */
const pack = 1000;
const most = 16;

type Proof = 'client' | 'server' | 'flows';

/** Proves the secret for one purpose and one pair of nonces; each side chose one, so nothing can be played back. */
function proof(secret: Buffer, what: Proof, server: string, client: string): string {
  return createHmac('sha256', secret).update(`phalanx ${what} ${server} ${client}`).digest('hex');
}

function same(a: unknown, b: string): boolean {
  if (typeof a !== 'string' || a.length !== b.length) return false;
  return timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** JSON lines of a socket, one at a time; throws when a line is longer than `limit` or the socket ends. */
class Lines {
  limit = shortLine;
  readonly #chunks: AsyncIterator<Buffer>;
  #rest = '';

  constructor(socket: Socket) {
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  async next(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.text()) as Record<string, unknown>;
  }

  async text(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf('\n');
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      if (this.#rest.length > this.limit) throw new Error('line too long');
      const { done, value } = await this.#chunks.next();
      if (done) throw new Error('closed early');
      this.#rest += value.toString('latin1');
    }
  }
}

/**
 * Offers this director's established flows to its peers. A peer proves that it knows the secret before it is told
 * anything, and the flows are signed; the secret itself is never sent. `give` gives nothing when this director does
 * not own the VIP. `served` is called with a peer's address after each exchange.
 */
export function serveFlows(
  at: { address: string; port: number },
  secret: () => Buffer,
  give: () => Promise<Flow[]>,
  served: (address: string) => void,
): { close(): void } {
  let retry: NodeJS.Timeout | undefined;
  let closed = false;
  let server: Server;
  const listen = () => {
    server = createServer({ noDelay: true }, (socket) => {
      socket.setTimeout(deadline, () => socket.destroy());
      socket.on('error', () => {});
      answer(socket, secret, give).then(
        () => served((socket.remoteAddress ?? '').replace(/^::ffff:/, '')),
        () => socket.destroy(),
      );
    });
    server.maxConnections = most;
    // The port may still be held by the agent that this one replaces.
    server.on('error', () => {
      if (!closed) retry = setTimeout(listen, 500);
    });
    server.listen(at.port, at.address);
  };
  listen();
  return {
    close() {
      closed = true;
      clearTimeout(retry);
      server.close();
    },
  };
}

async function answer(socket: Socket, secret: () => Buffer, give: () => Promise<Flow[]>): Promise<void> {
  const mine = randomBytes(16).toString('hex');
  socket.write(`${JSON.stringify({ nonce: mine })}\n`);
  const lines = new Lines(socket);
  const hello = await lines.next();
  const theirs = String(hello['nonce']);
  const key = secret();
  if (!same(hello['proof'], proof(key, 'client', mine, theirs))) throw new Error('wrong secret');
  socket.write(`${JSON.stringify({ proof: proof(key, 'server', mine, theirs) })}\n`);
  const seal = createHmac('sha256', proof(key, 'flows', mine, theirs));
  const flows = await give();
  for (let from = 0; from < flows.length; from += pack) {
    const line = JSON.stringify(flows.slice(from, from + pack));
    seal.update(line);
    if (!socket.write(`${line}\n`)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  socket.end(`${JSON.stringify({ seal: seal.digest('hex') })}\n`);
}

/** Takes a peer's flows, all of them or none. Rejects with a short sentence when the peer is away, silent or not who it should be. */
export async function pullFlows(
  from: { address: string; port: number },
  local: string,
  secret: Buffer,
): Promise<Flow[]> {
  const socket = connect({
    host: from.address,
    port: from.port,
    localAddress: local,
    autoSelectFamily: false,
  });
  let why = '';
  const giveUp = () => {
    why = 'no answer';
    socket.destroy();
  };
  const timer = setTimeout(giveUp, deadline);
  const connecting = setTimeout(giveUp, connectMs);
  socket.once('connect', () => clearTimeout(connecting));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    why = error.code ?? error.message;
  });
  try {
    const lines = new Lines(socket);
    const theirs = String((await lines.next())['nonce']);
    const mine = randomBytes(16).toString('hex');
    socket.write(`${JSON.stringify({ nonce: mine, proof: proof(secret, 'client', theirs, mine) })}\n`);
    const reply = await lines.next().catch(() => ({}) as Record<string, unknown>);
    if (!same(reply['proof'], proof(secret, 'server', theirs, mine))) throw new Error('another secret');
    lines.limit = longLine;
    const seal = createHmac('sha256', proof(secret, 'flows', theirs, mine));
    const flows: Flow[] = [];
    for (;;) {
      const line = await lines.text();
      if (line.startsWith('[')) {
        seal.update(line);
        for (const flow of JSON.parse(line) as Flow[]) flows.push(flow);
        continue;
      }
      if (!same((JSON.parse(line) as Record<string, unknown>)['seal'], seal.digest('hex')))
        throw new Error('damaged on the way');
      return flows;
    }
  } catch (error) {
    throw new Error(why || (error as Error).message);
  } finally {
    clearTimeout(timer);
    clearTimeout(connecting);
    socket.destroy();
  }
}
