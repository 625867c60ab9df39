import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import {
  type Completion,
  type End,
  type FaultEvent,
  type FinalRead,
  formatVersion,
  type Header,
  type Line,
  type OperationName,
  type Phase,
  type Value,
} from './history.ts';

const bufferBytes = 1 << 16;
const bufferUs = 100_000;
const valuesPerLine = 5_000;

/** Microseconds of the machine's monotonic clock. */
export function monotonicUs(): number {
  return Number(process.hrtime.bigint() / 1_000n);
}

/**
 * Writes one history. Every line is stamped when it is recorded, so times never decrease. Operations are buffered for
 * at most 64 KB or 100 ms of recording; faults, final reads and the end are handed to the kernel at once. After kill -9
 * the file is a prefix of the drill with at most its last line cut short.
 */
export class Recorder {
  #file: number;
  #clock: () => number;
  #zero: number;
  #lines: string[] = [];
  #size = 0;
  #flushed = 0;
  #next = 0;

  /** Creates the file, which must not exist. `clock` gives monotonic microseconds. */
  constructor(path: string, header: Omit<Header, 'history'>, clock: () => number = monotonicUs) {
    this.#file = openSync(path, 'ax');
    this.#clock = clock;
    this.#zero = clock();
    this.#append({ history: formatVersion, ...header });
    this.flush();
  }

  /** Microseconds since the header. */
  now(): number {
    return this.#clock() - this.#zero;
  }

  /** Client `p` is about to call; gives the operation's number for its completion. */
  invoke(p: number, f: OperationName, what: { k?: string; g?: string; v?: Value } = {}): number {
    const i = this.#next++;
    this.#append({ i, type: 'invoke', t: this.now(), p, f, ...what });
    return i;
  }

  /** It happened; `v` is what a read saw. */
  ok(i: number, v?: Value, by?: Completion['by']): void {
    const line: Completion = { i, type: 'ok', t: this.now() };
    if (v !== undefined) line.v = v;
    if (by !== undefined) line.by = by;
    this.#append(line);
  }

  /** It certainly did not happen (refused before it was carried out). When in doubt: `info`. */
  fail(i: number, error: string, by?: Completion['by']): void {
    this.#append({ i, type: 'fail', t: this.now(), error, ...(by === undefined ? {} : { by }) });
  }

  /** Nobody knows whether it happened: a timeout, a connection that broke. */
  info(i: number, error: string, by?: Completion['by']): void {
    this.#append({ i, type: 'info', t: this.now(), error, ...(by === undefined ? {} : { by }) });
  }

  /** From now on the load runs at its usual pace, as far as can be told. */
  steady(): void {
    this.#append({ load: 'steady', t: this.now() });
  }

  /** Record `planned` before the command that injects is sent, `evidence` only for proof that it took effect. */
  fault(fault: string, phase: Phase, more: { target?: string; detail?: unknown } = {}): void {
    this.#append({ fault, phase, t: this.now(), ...more } satisfies FaultEvent);
    this.flush();
  }

  /** The read of one member after the drill, once it has succeeded as a whole; long ones become several lines. */
  final(
    member: string,
    read: Pick<FinalRead, 'model' | 'role'> & { group?: string } & (
        | { values: Iterable<number | string> }
        | { keys: Record<string, number | null> }
        | { failed: string }
      ),
  ): void {
    const head = { final: member, model: read.model, role: read.role, group: read.group ?? '' };
    if ('failed' in read) {
      this.#append({ ...head, t: this.now(), failed: read.failed });
    } else if ('keys' in read) {
      this.#append({ ...head, t: this.now(), keys: read.keys, done: true });
    } else {
      let values: (number | string)[] = [];
      for (const value of read.values) {
        values.push(value);
        if (values.length === valuesPerLine) {
          this.#append({ ...head, t: this.now(), values });
          values = [];
        }
      }
      this.#append({ ...head, t: this.now(), values, done: true });
    }
    this.flush();
  }

  /** Hands what is buffered to the kernel: it then survives kill -9. */
  flush(): void {
    if (this.#lines.length > 0) {
      const bytes = Buffer.from(this.#lines.join(''));
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#file, bytes, done);
      this.#lines = [];
      this.#size = 0;
    }
    this.#flushed = this.now();
  }

  /** The last line; then everything is on disk. */
  close(end: End['end'], why?: string): void {
    const line: End = { end, t: this.now() };
    if (why !== undefined) line.why = why;
    this.#append(line);
    this.flush();
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  #append(line: Line): void {
    const text = `${JSON.stringify(line)}\n`;
    this.#lines.push(text);
    this.#size += text.length;
    if (this.#size >= bufferBytes || ('t' in line && line.t - this.#flushed >= bufferUs)) this.flush();
  }
}
