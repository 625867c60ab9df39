import { Socket } from 'node:net';
import type { Waiting } from '../nftables.ts';

/** Clients spoken to at once: bounds the sockets open, and the burst of packets. */
const atOnce = 256;
/** How long the answers of one batch are awaited before looking who is left; a client further away is caught by the next round. */
const patienceMs = 60;
const rounds = 3;

/**
 * Makes waiting clients of a dead server speak, so that their connections can be reset. A SYN from the VIP's
 * own port, sent into an established connection, is answered with a challenge ACK (RFC 5961, section 4.2). That ACK meets the
 * plane's rule for dead servers, which answers it with a reset carrying exactly the sequence number that the client
 * expects; no raw socket and no guess is needed. The rule also forgets the connection, so who is still in the listing after a
 * batch has not heard and is tried again (kernels before 5.19 send at most 1,000 challenge ACKs a second,
 * before 4.19 about 100); after three rounds the rest is forgotten, and their next packet is answered by a reset.
 * Gives the number of connections; 0 where the VIP is not this host's. UDP flows are forgotten, nobody is told.
 */
export async function knock(
  vip: string,
  proto: 'tcp' | 'udp',
  find: () => Promise<Waiting>,
): Promise<number> {
  const first = await find();
  if (proto === 'udp') {
    await first.forget();
    return first.ends.length;
  }
  let left = first;
  for (let round = 0; round < rounds && left.ends.length > 0; round++) {
    for (let i = 0; i < left.ends.length; i += atOnce) {
      const batch = left.ends.slice(i, i + atOnce);
      const sockets = batch.map((end) => speak(vip, end));
      const mine = await Promise.all(sockets.map((socket) => socket.sent));
      if (mine.includes('elsewhere')) {
        for (const { socket } of sockets) socket.destroy();
        return 0;
      }
      await new Promise((resolve) => setTimeout(resolve, patienceMs));
      for (const { socket } of sockets) socket.destroy();
    }
    left = await find();
  }
  if (left.ends.length > 0) await left.forget();
  return first.ends.length;
}

function speak(vip: string, end: { client: string; clientPort: number; port: number }) {
  const socket = new Socket();
  let answer: (where: 'here' | 'elsewhere') => void;
  const sent = new Promise<'here' | 'elsewhere'>((resolve) => {
    answer = resolve;
  });
  socket.on('error', (error: NodeJS.ErrnoException) =>
    answer(error.code === 'EADDRNOTAVAIL' ? 'elsewhere' : 'here'),
  );
  socket.connect({ host: end.client, port: end.clientPort, localAddress: vip, localPort: end.port });
  // libuv binds and sends the SYN before connect returns; a refusal to bind is told in the next turns of the loop.
  setTimeout(() => answer('here'), 10);
  return { socket, sent };
}
