import type { Redis } from 'ioredis';
import { StepFailed } from '../../engine.ts';

/** Bytes of values that are in flight at once. */
const flight = 4 * 2 ** 20;
const most = 1_000;

export interface Copied {
  keys: number;
  /** Of them: with a time to live. */
  mortal: number;
}

/** Where a key belongs: a master's connection, already in the right database. */
export type Route = (key: Buffer) => Redis;

/**
 * Copies every key of the source's present database: value by DUMP and RESTORE, whatever its type, and the moment at which it
 * ends (PEXPIRETIME, RESTORE ABSTTL). While one batch is written the next is read. A key that is there already is replaced, so that it can be done again.
 */
export async function copyKeys(
  source: Redis,
  route: Route,
  onBatch: (keys: number) => void,
): Promise<Copied> {
  const copied: Copied = { keys: 0, mortal: 0 };
  let size = 16;
  let writing: Promise<unknown> = Promise.resolve();
  let cursor = '0';
  do {
    const [next, page] = (await source.callBuffer('SCAN', cursor, 'COUNT', String(most))) as [
      Buffer,
      Buffer[],
    ];
    cursor = next.toString();
    for (let at = 0; at < page.length; ) {
      const keys = page.slice(at, at + size);
      at += keys.length;
      const entries = await read(source, keys);
      await writing;
      copied.keys += entries.length;
      copied.mortal += entries.filter(({ end }) => end !== '0').length;
      onBatch(entries.length);
      writing = write(entries, route);
      // Said by whoever awaits it next; until then it must not end the process.
      writing.catch(() => {});
      const bytes = entries.reduce((sum, { value }) => sum + value.length, 1);
      size = Math.max(1, Math.min(most, 2 * size, Math.floor((flight * keys.length) / bytes)));
    }
  } while (cursor !== '0');
  await writing;
  return copied;
}

interface Entry {
  key: Buffer;
  value: Buffer;
  /** Milliseconds since 1970; '0': never. */
  end: string;
}

async function read(source: Redis, keys: Buffer[]): Promise<Entry[]> {
  const flight = source.pipeline();
  for (const key of keys) {
    flight.callBuffer('DUMP', key);
    flight.call('PEXPIRETIME', key);
  }
  const answers = values(await flight.exec(), () => 'reading the dump');
  return keys.flatMap((key, i) => {
    const value = answers[2 * i] as Buffer | null;
    const end = Number(answers[2 * i + 1]);
    // Its time came while we read.
    return value === null || end === -2 ? [] : [{ key, value, end: end === -1 ? '0' : String(end) }];
  });
}

async function write(entries: Entry[], route: Route): Promise<void> {
  const byMaster = Map.groupBy(entries, ({ key }) => route(key));
  await Promise.all(
    [...byMaster].map(async ([master, list]) => {
      const flight = master.pipeline();
      for (const { key, value, end } of list) flight.call('RESTORE', key, end, value, 'REPLACE', 'ABSTTL');
      values(await flight.exec(), (i) => `key ${list[i]!.key.toString()}`);
    }),
  );
}

/** The answers of a pipeline; throws the first error, naming what it was about. */
function values(
  answers: [error: Error | null, result: unknown][] | null,
  what: (i: number) => string,
): unknown[] {
  return (answers ?? []).map(([error, value], i) => {
    if (!error) return value;
    const hint = /^OOM/.test(error.message)
      ? ': the members have too little maxmemory for this backup'
      : /^(MOVED|ASK|READONLY|CLUSTERDOWN)/.test(error.message)
        ? ': the cluster changed'
        : '';
    throw new StepFailed(`${what(i)}: ${error.message}${hint}. Run restore again: it goes on`);
  });
}
