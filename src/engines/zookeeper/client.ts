import type { Reach } from '../../hosts/host.ts';
import { Packet } from './jute.ts';
import { type Session, sessionOn } from './session.ts';
import { types, Wire } from './wire.ts';

/*
 * A client for what Phalanx itself asks of ZooKeeper: one short session, a few requests, one deadline for all. Our own because
 * the choices are worse: node-zookeeper-client is dormant and waits for ever on a frozen server, and zkCli starts a
 * JVM (a second or more of both cores) for each `status` and takes passwords as arguments. Applications use stock clients.
 */

/**
 * Opens a session at that host's server, proves to be `users` (name:password), works, and closes it. Rejects with the server's
 * refusal (ZooKeeperError), or when everything together took longer than `deadlineMs`.
 */
export async function withSession<T>(
  reach: Reach,
  place: { host: string; port: number },
  users: string[],
  deadlineMs: number,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const socket = await reach.connect(place.host, place.port, Math.min(deadlineMs, 1_500));
  const wire = new Wire(socket);
  const timer = setTimeout(
    () => wire.fail(new Error(`${place.host}: no answer within ${deadlineMs} ms`)),
    deadlineMs,
  );
  try {
    await wire.open(10_000, true);
    for (const user of users) await wire.auth(user);
    const result = await work(sessionOn(wire));
    await wire.request(types.close, 'close', new Packet());
    return result;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
