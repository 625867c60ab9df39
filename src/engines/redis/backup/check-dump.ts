import { machine } from '../../../hosts/machine.ts';
import { quote } from '../../../hosts/shell.ts';

/** What a dump says of itself when it is read to its end. */
export interface Dump {
  keys: number;
  /** Databases that hold keys. */
  databases: number[];
  redis: string;
  replid: string;
  offset: number;
  /** Bytes that the server used. */
  memory: number;
}

/** Reads a dump to its end with Redis's own redis-check-rdb, its checksum included. */
export async function checkDump(path: string): Promise<Dump | { wrong: string }> {
  const { exit, text, stderr } = await machine.run(`redis-check-rdb ${quote(path)}`, {
    timeoutMs: 3_600_000,
  });
  return parseCheck(text || stderr, exit);
}

/** What redis-check-rdb of Redis 7.0 printed. */
export function parseCheck(printed: string, exit: number): Dump | { wrong: string } {
  if (exit !== 0) return { wrong: errorOf(printed) };
  const field = (name: string): string => new RegExp(`AUX FIELD ${name} = '(.*)'`).exec(printed)?.[1] ?? '';
  return {
    keys: Number(/\[info\] (\d+) keys read/.exec(printed)?.[1] ?? 0),
    databases: [...printed.matchAll(/Selecting DB ID (\d+)/g)].map(([, id]) => Number(id)),
    redis: field('redis-ver'),
    replid: field('repl-id'),
    offset: Number(field('repl-offset') || -1),
    memory: Number(field('used-mem')),
  };
}

/** '[offset 1234] Unexpected EOF reading RDB file' */
function errorOf(printed: string): string {
  const lines = printed.split('\n').map((line) => line.trim());
  const at = lines.findIndex((line) => line.includes('RDB ERROR DETECTED'));
  const said = at >= 0 ? lines.slice(at + 1).find((line) => line !== '') : undefined;
  return said ?? lines.findLast((line) => line !== '') ?? 'redis-check-rdb failed without a word';
}
