/** Message numbers of the SSH connection protocol (RFC 4254, section 9). */
export const message = {
  globalRequest: 80,
  requestFailure: 82,
  open: 90,
  openConfirmation: 91,
  openFailure: 92,
  windowAdjust: 93,
  data: 94,
  extendedData: 95,
  eof: 96,
  close: 97,
  request: 98,
  success: 99,
  failure: 100,
} as const;

/** A 32-bit number, most significant byte first (RFC 4251, section 5). */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The parts behind their length in bytes. */
export function packet(...parts: Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([uint32(length), ...parts]);
}

/** Reads the fields of a message one after the other; past the end they are 0 and empty. */
export interface Fields {
  byte(): number;
  uint32(): number;
  bytes(): Buffer;
  text(): string;
}

export const fields = {
  /** A string field: its length, then its bytes. */
  text: (value: string): Buffer => packet(Buffer.from(value)),

  of(body: Buffer): Fields {
    let at = 0;
    const take = (length: number): Buffer => {
      const part = body.subarray(at, at + length);
      at += length;
      return part;
    };
    const number = (): number => {
      const part = take(4);
      return part.length === 4 ? part.readUInt32BE(0) : 0;
    };
    const bytes = (): Buffer => take(number());
    return { byte: () => take(1)[0] ?? 0, uint32: number, bytes, text: () => bytes().toString() };
  },
};
