/** The last `bits` bits of an IPv6 address as a number: what the connection maps know an IPv6 client by. */
export function lastBits(address: string, bits: number): bigint {
  const [head = '', tail] = address.split('::') as [string, string | undefined];
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const middle = tail === undefined ? 0 : 8 - left.length - right.length;
  const all = [...left, ...Array.from({ length: middle }, () => 0), ...right];
  let value = 0n;
  for (const group of all) value = (value << 16n) | BigInt(group);
  return value & ((1n << BigInt(bits)) - 1n);
}

/** 16-bit groups; the last may be written as an IPv4 address. */
function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}
