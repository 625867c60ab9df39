import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { within } from '../../../hosts/deadline.ts';
import { adminUser } from '../users.ts';

/** A member that sends nothing for this long, not even the newlines it sends while it prepares, has gone. Milliseconds. */
const silenceMs = 60_000;
const markLength = 40;

/**
 * Takes a dump as a replica would (SYNC) and writes it to a new file of mode 0600: nothing is written on the member's
 * host, and what comes is the data of one moment. The member names us by a name instead of an address, so that no sentinel takes us for
 * a replica. Rejects when the member refuses or the stream ends early; what was written is then to be thrown away.
 * Source: Redis documentation, "How Redis replication works"; redis-cli --rdb of Redis 7.0.
 */
export async function dump(
  stream: Duplex,
  password: string,
  path: string,
): Promise<{ bytes: number; sha256: string }> {
  const input = new Input(stream);
  const file = await open(path, 'wx', 0o600);
  try {
    const before = [
      ['AUTH', adminUser, password],
      ['REPLCONF', 'ip-address', 'phalanx-backup'],
      ['REPLCONF', 'capa', 'eof'],
      ['REPLCONF', 'rdb-only', '1'],
    ];
    stream.write(before.map(command).join(''));
    for (const [name] of before) {
      const said = await input.line();
      if (!said.startsWith('+')) throw new Error(`it refuses ${name}: ${said.slice(1)}`);
    }
    // Not with the others: SYNC is refused while an answer is still to be sent.
    stream.write(command(['SYNC']));
    let head = '';
    while (head === '') head = await input.line();
    if (!head.startsWith('$')) throw new Error(`it gives no copy: ${head.slice(1)}`);
    const out = new Output(file);
    if (head.startsWith('$EOF:')) await untilMark(input, Buffer.from(head.slice(5), 'latin1'), out);
    else await counted(input, Number(head.slice(1)), out);
    await file.sync();
    return out.sum();
  } finally {
    stream.destroy();
    await file.close();
  }
}

const command = (words: string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;

/** A dump of known length. */
async function counted(input: Input, length: number, out: Output): Promise<void> {
  for (let left = length; left > 0; ) {
    const chunk = await input.chunk();
    await out.write(chunk.subarray(0, left));
    left -= chunk.length;
  }
}

/** A dump that is made while it is sent: it ends where the mark stands that was announced. */
async function untilMark(input: Input, mark: Buffer, out: Output): Promise<void> {
  if (mark.length !== markLength) throw new Error('its answer is not one that Redis gives');
  let tail: Buffer = Buffer.alloc(0);
  while (!tail.equals(mark)) {
    const all = Buffer.concat([tail, await input.chunk()]);
    const sure = Math.max(0, all.length - markLength);
    await out.write(all.subarray(0, sure));
    tail = all.subarray(sure);
  }
}

class Input {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: Duplex) {
    this.#chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** The next bytes, however many there are. Rejects at the stream's end. */
  async chunk(): Promise<Buffer> {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = Buffer.alloc(0);
      return rest;
    }
    const late = `nothing came for ${silenceMs / 1000} s`;
    const next = await within(this.#chunks.next(), silenceMs, late);
    if (next.done) throw new Error('the connection ended before the copy was whole');
    return next.value;
  }

  /** A line without its end; '' for the newlines by which Redis keeps the connection alive. */
  async line(): Promise<string> {
    let read = Buffer.alloc(0);
    for (;;) {
      const end = read.indexOf(10);
      if (end >= 0) {
        this.#rest = read.subarray(end + 1);
        return read.subarray(0, end).toString('latin1').trimEnd();
      }
      if (read.length > 4_096) throw new Error('its answer is not one that Redis gives');
      read = Buffer.concat([read, await this.chunk()]);
    }
  }
}

class Output {
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  #bytes = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    this.#hash.update(bytes);
    this.#bytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, at);
      at += bytesWritten;
    }
  }

  sum(): { bytes: number; sha256: string } {
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }
}
