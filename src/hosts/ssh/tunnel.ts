import { createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream';
import type { SshHost } from './ssh-host.ts';

/** Longest time for the host to connect to its own port. */
const connectMs = 5_000;

/**
 * A port on this machine's loopback that stands for one of the host's, for client libraries that dial by themselves. It is open while
 * this process lives and keeps no finished command alive. A connection that the host cannot make is reset.
 */
export async function openTunnel(
  host: SshHost,
  address: string,
  port: number,
): Promise<{ host: string; port: number }> {
  const server: Server = createServer(
    { allowHalfOpen: true },
    (socket) => void carry(socket, host, address, port),
  );
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port };
}

async function carry(socket: Socket, host: SshHost, address: string, port: number): Promise<void> {
  socket.setNoDelay(true);
  // Who dialled keeps the process alive, by its own end, for as long as it wants anything. It may have gone, and the far end be too frozen to take leave.
  socket.unref();
  socket.on('error', () => {});
  try {
    const channel = (await host.forward(address, port, connectMs)).unref();
    pipeline(socket, channel, () => {});
    pipeline(channel, socket, () => {});
    socket.once('close', () => channel.destroy());
  } catch {
    socket.resetAndDestroy();
  }
}
