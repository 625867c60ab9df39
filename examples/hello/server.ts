import { createServer, type ServerResponse } from 'node:http';

// What Phalanx tells every app: where to listen and who it is.
const address = process.env['ADDRESS'] ?? '127.0.0.1';
const port = Number(process.env['PORT'] ?? 8080);
const member = process.env['MEMBER'] ?? 'web';

let stopping = false;

const page = `<!doctype html>
<meta charset="utf-8">
<title>Hello</title>
<style>body { font: 1.1rem/1.5 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }</style>
<h1>Hello</h1>
<p>This page came from <strong>${member}</strong>. Load it again and another server may answer.</p>
`;

function reply(response: ServerResponse, status: number, type: string, body: string): void {
  // A stopping server asks its clients to come back on a new connection, which the director gives to another one.
  if (stopping) response.setHeader('Connection', 'close');
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}

const server = createServer((request, response) => {
  const path = request.url?.split('?')[0];
  if (path === '/') reply(response, 200, 'text/html; charset=utf-8', page);
  else if (path === '/healthz')
    reply(response, stopping ? 503 : 200, 'text/plain', stopping ? 'stopping\n' : 'ok\n');
  else if (path === '/who') reply(response, 200, 'application/json', `${JSON.stringify({ member })}\n`);
  else reply(response, 404, 'text/plain', 'not found\n');
});
// Longer than any client keeps an idle connection, so that it is the client who closes.
server.keepAliveTimeout = 65_000;
server.listen(port, address, () => console.log(`${member} listens on ${address}:${port}`));

process.on('SIGTERM', () => {
  stopping = true;
  console.log(`${member} stops: answering what is under way`);
  // The director sends no new connection by now. Every open one is asked, with its next answer, to come back elsewhere;
  // what is still open after three seconds is idle.
  const giveUp = Date.now() + 3000;
  setInterval(() => {
    server.getConnections((_error, open) => {
      if (open === 0 || Date.now() > giveUp) server.close(() => process.exit(0));
    });
  }, 50);
});
