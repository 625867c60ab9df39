import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { address, member, port } from './settings.ts';

let stopping = false;
/** Requests that have not been answered yet. */
let busy = 0;

export function reply(response: ServerResponse, status: number, type: string, body: string): void {
  // A stopping server asks its clients to come back on a new connection, which the director gives to another one.
  if (stopping) response.setHeader('Connection', 'close');
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

export const json = (response: ServerResponse, status: number, value: unknown): void =>
  reply(response, status, 'application/json', `${JSON.stringify(value)}\n`);

/**
 * Listens where Phalanx says. /healthz tells of this process only: were it to fail when Redis does, every member would
 * be taken out at once, and the page that says what is wrong with them. SIGTERM: answers what is under way, then `leave`.
 */
export function serve(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
  leave: () => Promise<unknown>,
): void {
  const server = createServer((request, response) => {
    if (request.url === '/healthz')
      reply(response, stopping ? 503 : 200, 'text/plain', stopping ? 'stopping\n' : 'ok\n');
    else {
      busy++;
      response.once('close', () => busy--);
      handle(request, response).catch((error: Error) => {
        if (!response.headersSent) json(response, 500, { error: error.message, member });
      });
    }
  });
  // Longer than any client keeps an idle connection, so that it is the client who closes.
  server.keepAliveTimeout = 65_000;
  server.listen(port, address, () => console.log(`${member} listens on ${address}:${port}`));
  process.on('SIGTERM', () => {
    stopping = true;
    // The director sends no new connection by now. What is open without a request after three seconds is idle.
    const giveUp = Date.now() + 3000;
    const looking = setInterval(() => {
      server.getConnections((_error, open) => {
        if (busy > 0 || (open > 0 && Date.now() < giveUp)) return;
        clearInterval(looking);
        const ended = Promise.race([leave(), new Promise((resolve) => setTimeout(resolve, 2000))]);
        ended.finally(() => process.exit(0));
      });
    }, 50);
  });
}
