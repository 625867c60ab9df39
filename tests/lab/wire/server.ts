import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { orders } from './orders.ts';

/** A real server: says its name to whoever connects, then answers each line with its name, the port and the line. Arguments: its name, then PORT or ADDRESS@PORT. */
const [name, ...places] = process.argv.slice(2);
const listening: Promise<unknown>[] = [];
for (const place of places) {
  const [address, port] = place.includes('@')
    ? [place.split('@')[0]!, Number(place.split('@')[1])]
    : ['::', Number(place)];
  const tcp = createServer((socket) => {
    socket.write(`${name}\n`);
    socket.on('data', (data) => socket.write(`${name} ${port} ${data.toString()}`));
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
  });
  listening.push(new Promise<void>((resolve) => tcp.listen({ port, host: address, backlog: 4096 }, resolve)));
  // Datagrams are answered from the address of the socket: where that matters (a VIP on lo) it is named.
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (_data, from) => udp.send(`${name} ${port}`, from.port, from.address));
  listening.push(new Promise<void>((resolve) => udp.bind(port, address, resolve)));
}
orders({ ready: () => Promise.all(listening).then(() => name) });
