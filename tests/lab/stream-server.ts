// A server with pages, something large to download, and websockets: node stream-server.ts, told where to listen as every app is.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const large = Buffer.alloc(24 * 2 ** 20, 'x');
const server = createServer((request, response) => response.end(request.url === '/large' ? large : 'ok\n'));
// Answers pings by itself, as RFC 6455 wants it.
new WebSocketServer({ server, path: '/live' }).on('connection', (socket) => socket.on('error', () => {}));
server.listen(Number(process.env['PORT']), process.env['ADDRESS']);
