/** ZooKeeper's wire format (zookeeper.jute): big-endian numbers, everything else with its length before it. */
export class Packet {
  readonly #parts: Buffer[] = [];

  int(value: number): this {
    const part = Buffer.alloc(4);
    part.writeInt32BE(value);
    this.#parts.push(part);
    return this;
  }

  long(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigInt64BE(value);
    this.#parts.push(part);
    return this;
  }

  bool(value: boolean): this {
    this.#parts.push(Buffer.from([value ? 1 : 0]));
    return this;
  }

  /** Undefined is sent as null: length -1. */
  buffer(value: Buffer | undefined): this {
    this.int(value?.length ?? -1);
    if (value) this.#parts.push(value);
    return this;
  }

  string(value: string | undefined): this {
    return this.buffer(value === undefined ? undefined : Buffer.from(value));
  }

  acl(entries: Acl[]): this {
    this.int(entries.length);
    for (const { perms, scheme, id } of entries) this.int(perms).string(scheme).string(id);
    return this;
  }

  /** The whole, with its length before it, as it goes over the wire. */
  frame(): Buffer {
    const body = Buffer.concat(this.#parts);
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length);
    return Buffer.concat([length, body]);
  }
}

/** Reads what a server sent, from the front. Throws RangeError where it is shorter than it says. */
export class Answer {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int(): number {
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }

  long(): bigint {
    this.#at += 8;
    return this.#bytes.readBigInt64BE(this.#at - 8);
  }

  bool(): boolean {
    this.#at += 1;
    return this.#bytes.readInt8(this.#at - 1) !== 0;
  }

  buffer(): Buffer {
    const length = Math.max(this.int(), 0);
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new RangeError('the answer ends in the middle');
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  string(): string {
    return this.buffer().toString();
  }

  acl(): Acl[] {
    return Array.from({ length: Math.max(this.int(), 0) }, () => ({
      perms: this.int(),
      scheme: this.string(),
      id: this.string(),
    }));
  }
}

/** One entry of a node's access list. */
export interface Acl {
  /** Sum of read 1, write 2, create 4, delete 8, admin 16. */
  perms: number;
  scheme: string;
  id: string;
}
