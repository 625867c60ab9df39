import type { Connection, ConnectionPoolEventPayload } from '@platformatic/kafka';
import { within } from '../../hosts/deadline.ts';

/** What hangs up; the library's own clients. */
export interface Closing {
  on(event: 'client:broker:connect', made: (payload: ConnectionPoolEventPayload) => void): unknown;
  on(event: 'error', happened: (error: Error) => void): unknown;
  close(force: boolean): Promise<void>;
}

/** How long a client may take to take its leave, milliseconds: a consumer tells its group, whose coordinator may be gone. */
const leaveMs = 3_000;

/**
 * How to end a client of the library: with every connection that it has made, to be asked for before the first. Its pool knows one connection an
 * address and forgets it at its first error, and at the late end of the one before it; `close` of 2.12.1 closes what the pool knows, and what
 * it does not keeps the process alive for as long as the broker holds the line (seen: a drill that did not end, minutes after its verdict).
 */
export function hangingUp(client: Closing): () => Promise<void> {
  const open = new Set<Connection>();
  let over = false;
  // A consumer says by it that it was not let in again; whoever reads learns it from the records that do not come.
  client.on('error', () => {});
  client.on('client:broker:connect', ({ connection }) => {
    if (over) connection.socket.destroy();
    open.add(connection);
    connection.once('close', () => open.delete(connection));
  });
  return async () => {
    await within(client.close(true), leaveMs).catch(() => {});
    over = true;
    for (const { socket } of open) socket.destroy();
  };
}
