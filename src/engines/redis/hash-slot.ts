import { slotCount } from './slots.ts';

const brace = { open: 123, close: 125 };

/** The slot of a key: CRC16 (XMODEM) of what stands between its first braces, or of all of it (Redis Cluster specification, "Key distribution model" and "Hash tags"). */
export function hashSlot(key: string | Buffer): number {
  const bytes = typeof key === 'string' ? Buffer.from(key) : key;
  const open = bytes.indexOf(brace.open);
  const close = open < 0 ? -1 : bytes.indexOf(brace.close, open + 1);
  const hashed = close > open + 1 ? bytes.subarray(open + 1, close) : bytes;
  let crc = 0;
  for (const byte of hashed) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc % slotCount;
}
