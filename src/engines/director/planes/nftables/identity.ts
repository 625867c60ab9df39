import { createHash } from 'node:crypto';
import type { Listen } from '../../tables.ts';

/**
 * Every server of every virtual service has a number: the packet mark it is known by in all maps. All directors
 * must give the same numbers, because they tell each other about connections by number, and a number must outlive
 * changes of the file, because live connections are remembered by it: so it is a digest of the names, not a
 * position. 24 bits, since it travels as the lower half of a MAC address; 0 means none. Two names with one digest:
 * the one that sorts later takes the next free number.
 */
export function marks(listens: readonly Listen[]): Map<string, number> {
  const names = new Set<string>();
  for (const listen of listens) {
    for (const server of [...listen.servers, ...listen.sorry]) names.add(serverKey(listen.name, server.name));
  }
  const taken = new Set<number>([0]);
  const result = new Map<string, number>();
  for (const name of [...names].sort()) {
    let mark = createHash('sha256').update(name).digest().readUIntBE(0, 3);
    while (taken.has(mark)) mark = (mark + 1) & 0xffffff;
    taken.add(mark);
    result.set(name, mark);
  }
  return result;
}

export function serverKey(listen: string, server: string): string {
  return `${listen} ${server}`;
}

/** First half of the source addresses that carry a connection from director to director: locally administered, unicast, 'PH'. */
export const syncPrefix = '02:50:68';

/** The source MAC address that says 'this packet went to that server'. */
export function syncMac(mark: number): string {
  const hex = mark.toString(16).padStart(6, '0');
  return `${syncPrefix}:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4)}`;
}
