/** As much of DER (ITU-T X.690) as a certificate of RFC 5280 needs. Each function gives one encoded value. */

const length = (size: number): Buffer => {
  if (size < 128) return Buffer.from([size]);
  const hex = size.toString(16).padStart(size > 0xff ? 4 : 2, '0');
  const bytes = Buffer.from(hex, 'hex');
  return Buffer.concat([Buffer.from([0x80 | bytes.length]), bytes]);
};

const tagged = (tag: number, ...content: Buffer[]): Buffer => {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag]), length(body.length), body]);
};

export const sequence = (...items: Buffer[]): Buffer => tagged(0x30, ...items);
export const set = (...items: Buffer[]): Buffer => tagged(0x31, ...items);
export const octets = (content: Buffer): Buffer => tagged(0x04, content);
export const bits = (content: Buffer): Buffer => tagged(0x03, Buffer.from([0]), content);
export const text = (value: string): Buffer => tagged(0x0c, Buffer.from(value, 'utf8'));
export const yes = (): Buffer => Buffer.from([0x01, 0x01, 0xff]);
/** Context-specific, constructed: the [n] of the standard. */
export const explicit = (n: number, content: Buffer): Buffer => tagged(0xa0 | n, content);
/** Context-specific, primitive. */
export const implicit = (n: number, content: Buffer): Buffer => tagged(0x80 | n, content);

/** A positive integer from its big-endian bytes. */
export const integer = (bytes: Buffer): Buffer =>
  tagged(0x02, bytes[0]! & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);

/** YYYYMMDDHHMMSSZ (years from 2050 on need this form; RFC 5280 wants the short one before). */
export const time = (value: string): Buffer =>
  tagged(value.length === 13 ? 0x17 : 0x18, Buffer.from(value, 'ascii'));

/** An object identifier such as '2.5.4.3'. */
export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tagged(0x06, Buffer.from(bytes));
}
