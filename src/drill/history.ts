import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';

/**
 * The history of a drill: JSON Lines, append only. The first line is the header; then operations, faults and final
 * reads in the order in which they were seen. Times `t` are whole microseconds of one monotonic clock, 0 at the
 * header, and never decrease. The verdict follows from these lines alone.
 */
export const formatVersion = 1;

/** What a checker knows how to judge. `request` is availability only: an answer proves nothing about data. */
export const models = ['set', 'log', 'queue', 'counter', 'register', 'request'] as const;
export type Model = (typeof models)[number];

/** Every operation belongs to exactly one model, and either changes something (`write`) or only asks (`read`). */
export const operations = {
  add: { model: 'set', kind: 'write' },
  has: { model: 'set', kind: 'read' },
  append: { model: 'log', kind: 'write' },
  poll: { model: 'log', kind: 'read' },
  enqueue: { model: 'queue', kind: 'write' },
  dequeue: { model: 'queue', kind: 'read' },
  incr: { model: 'counter', kind: 'write' },
  count: { model: 'counter', kind: 'read' },
  write: { model: 'register', kind: 'write' },
  cas: { model: 'register', kind: 'write' },
  read: { model: 'register', kind: 'read' },
  request: { model: 'request', kind: 'write' },
  /** What lasts is counted when it breaks (lasting.ts), and too rare to measure a gap by: a request that is slow to be sent, a long download, */
  transfer: { model: 'request', kind: 'long' },
  download: { model: 'request', kind: 'long' },
  /** and a websocket, `k`, held open throughout: a ping that is not answered means that it was cut. */
  ping: { model: 'request', kind: 'long' },
} as const satisfies Record<string, { model: Model; kind: 'write' | 'read' | 'long' }>;
export type OperationName = keyof typeof operations;

/** What a checker can find wrong. A header may tolerate some where the service never promised otherwise. */
export const anomalies = [
  'lost',
  'duplicated',
  'unexpected',
  'reordered',
  'stale',
  'unconsumed',
  'miscounted',
  'not linearizable',
] as const;
export type Anomaly = (typeof anomalies)[number];

/** What the service's `promise` in the user's file says. */
export interface ServicePromise {
  /** Milliseconds. */
  rtoMs?: number;
  /** How many acknowledged writes may be lost. */
  lostWrites?: number;
}

export interface Header {
  history: typeof formatVersion;
  cluster: string;
  service: string;
  /** The service's type: redis, kafka, ... */
  engine: string;
  /** Of everything that matters: { redis: '7.0.15', phalanx: '0.1.0' }. */
  versions: Record<string, string>;
  seed: number;
  /** sha256 of the user's file, hex. */
  file: string;
  /** The client in words: 'ioredis 6.0.0, 8 connections through the front door'. */
  client: string;
  /** The fault that is planned; null: a run without one, for comparison. */
  fault: { name: string; target?: string; forMs?: number } | null;
  /**
   * Which models the operations are of. `groups`: shards, partitions or queues whose authority must be read in the end (default: one, without a name). `clean`: the operations are
   * of customers of whom a part can be turned away, and so many in a row that are acknowledged end that (customers.ts).
   */
  models: Partial<Record<Model, { groups?: string[]; tolerates?: Anomaly[]; clean?: number }>>;
  /** Every member that must have been read in the end, as named in final reads. */
  replicas: string[];
  promise?: ServicePromise;
  /** 'default' or 'fast'. */
  timing?: string;
  /** Wall clock of the start, ISO 8601, for people. */
  started?: string;
}

/** A value of an element (add, append, enqueue): a whole number, unique in its model, dense enough to index pages by. */
export type Value = number | null | boolean | number[] | [number | null, number];

export interface Invoke {
  /** The operation's number, increasing; its completion carries the same. */
  i: number;
  type: 'invoke';
  t: number;
  /** Client (logical process). */
  p: number;
  f: OperationName;
  /** Key of a counter, register or websocket; for `has` the element asked for is `v`. */
  k?: string;
  /** Shard, partition or queue: acknowledgements are timed for each by itself, or a third of the keys dark would go unseen. */
  g?: string;
  v?: Value;
}

/** ok: it happened. fail: it certainly did not. info: nobody knows (timeouts, broken connections). */
export interface Completion {
  i: number;
  type: 'ok' | 'fail' | 'info';
  t: number;
  /** What a read saw: has: true or false; poll: values in order; dequeue: value or null; count, read: number or null. */
  v?: Value;
  error?: string;
  /** Where the operation's time went, milliseconds by service; absent where nobody can tell. */
  by?: Record<string, number>;
}

export const phases = ['planned', 'injected', 'evidence', 'healed', 'whole'] as const;
export type Phase = (typeof phases)[number];

/**
 * `planned` is written before the fault's command is sent, so a gap shorter than the command is not missed. `fault` is
 * unique: one that is repeated is numbered (restart#2), for each needs its own evidence.
 */
export interface FaultEvent {
  fault: string;
  phase: Phase;
  t: number;
  target?: string;
  detail?: unknown;
}

/**
 * A piece of the read of one member after the drill; recorded only once the read has succeeded as a whole. `failed`
 * carries no values. One member is the authority of a group: what it holds is what the service would answer.
 */
export interface FinalRead {
  final: string;
  model: Model;
  role: 'authority' | 'replica';
  /** Shard, partition or queue; '' where there is one. */
  group: string;
  t: number;
  /** set, log (in order), queue (drained). A string is something that is not ours. */
  values?: (number | string)[];
  /** counter, register. */
  keys?: Record<string, number | null>;
  done?: true;
  failed?: string;
}

/** What came before was not yet the load at its usual pace: it tells of losses, and is no measure of gaps. The last such line counts. */
export interface Steady {
  load: 'steady';
  t: number;
}

export interface End {
  end: 'complete' | 'aborted';
  t: number;
  why?: string;
}

export type Line = Header | Invoke | Completion | Steady | FaultEvent | FinalRead | End;

export function isHeader(line: Line): line is Header {
  return 'history' in line;
}
export function isFault(line: Line): line is FaultEvent {
  return 'fault' in line && 'phase' in line;
}
export function isFinal(line: Line): line is FinalRead {
  return 'final' in line;
}
export function isSteady(line: Line): line is Steady {
  return 'load' in line;
}
export function isEnd(line: Line): line is End {
  return 'end' in line;
}

/** A history that cannot be judged because it is not one: says the line and what is wrong there. */
export class HistoryBroken extends Error {
  override name = 'HistoryBroken';
  line: number;
  constructor(line: number, what: string) {
    super(`line ${line} of the history: ${what}`);
    this.line = line;
  }
}

const longestLine = 1 << 26;

/** What is known of a history's file once it has been read to its end. */
export interface HistoryFile {
  bytes: number;
  sha256: string;
  /** The writer was killed within its last line; that line is left out. */
  torn: boolean;
}

/**
 * Gives the lines of a history one by one in bounded memory and, as the generator's return value, what the file is.
 * Tolerates exactly one injury, a last line cut short (kill -9 of the drill). Throws HistoryBroken for any other.
 */
export function* readHistory(path: string): Generator<Line, HistoryFile> {
  const file = openSync(path, 'r');
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(1 << 18);
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  let bytes = 0;
  try {
    while (true) {
      const read = readSync(file, chunk, 0, chunk.length, null);
      if (read === 0) break;
      bytes += read;
      const fresh = chunk.subarray(0, read);
      hash.update(fresh);
      const whole = fresh.lastIndexOf(10);
      if (whole < 0) {
        rest = Buffer.concat([rest, fresh]);
        if (rest.length > longestLine)
          throw new HistoryBroken(number + 1, 'is longer than 64 MB; this is not a history');
        continue;
      }
      // A multi-byte character may straddle two chunks, so bytes are joined before they are decoded.
      const ended = fresh.subarray(0, whole);
      const block = (rest.length === 0 ? ended : Buffer.concat([rest, ended])).toString('utf8');
      rest = Buffer.from(fresh.subarray(whole + 1));
      for (const line of block.split('\n')) yield parseLine(line, ++number);
    }
  } finally {
    closeSync(file);
  }
  let torn = false;
  if (rest.length > 0) {
    const last = parsed(rest.toString('utf8'));
    if (last === undefined) torn = true;
    else yield last;
  }
  return { bytes, sha256: hash.digest('hex'), torn };
}

function parsed(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}

function parseLine(text: string, number: number): Line {
  const line = parsed(text);
  if (line === undefined)
    throw new HistoryBroken(
      number,
      'is not a JSON object, and only the last line may be cut short; take the untouched file from the evidence bundle',
    );
  return line;
}
