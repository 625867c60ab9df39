// An HTTP server that answers with its name: node answerer.ts NAME PORT
import { createServer } from 'node:http';

const [name, port] = process.argv.slice(2);
createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  response.setHeader('x-path', request.url ?? '');
  response.end(name);
}).listen(Number(port), '::');
