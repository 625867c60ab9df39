/** Reads what `nft -nn list set|map` prints: a stream of elements between `elements = {` and `}`. */

export interface Element {
  /** Parts of the key as nft prints them, marks and other hexadecimal numbers in decimal. */
  key: string[];
  /** The mapped value or verdict; '' in sets. */
  value: string;
  /** Milliseconds until it is forgotten; undefined for elements that stay. */
  expiresMs?: number;
  comment?: string;
}

const span = /(\d+)(ms|[dhms])/g;
const unit: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** nft's '14m59s120ms' in milliseconds. */
export function milliseconds(text: string): number {
  let total = 0;
  for (const [, count, name] of text.matchAll(span)) total += Number(count) * unit[name!]!;
  return total;
}

function plain(token: string): string {
  return token.startsWith('0x') ? String(BigInt(token)) : token;
}

/**
 * Every element of a listing. nft pads nothing and ends each element with ',' or ' }', so splitting is safe; the
 * only quoted text is a comment, which Phalanx writes without commas.
 */
export function* elements(listing: string): Generator<Element> {
  const marker = 'elements = {';
  const start = listing.indexOf(marker);
  if (start < 0) return;
  let at = start + marker.length;
  const end = listing.lastIndexOf('}', listing.lastIndexOf('}', listing.lastIndexOf('}') - 1) - 1);
  while (at < end) {
    let stop = listing.indexOf(',', at);
    if (stop < 0 || stop > end) stop = end;
    const text = listing.slice(at, stop).trim();
    at = stop + 1;
    if (text !== '') yield element(text);
  }
}

function element(text: string): Element {
  let head = text;
  let value = '';
  const quote = text.indexOf(' comment "');
  let comment: string | undefined;
  if (quote >= 0) {
    comment = text.slice(quote + 10, text.indexOf('"', quote + 10));
    head = text.slice(0, quote);
  }
  const colon = head.indexOf(' : ');
  if (colon >= 0) {
    value = plain(head.slice(colon + 3).trim());
    head = head.slice(0, colon);
  }
  const timeout = head.indexOf(' timeout ');
  const expires = head.indexOf(' expires ');
  const timed = timeout >= 0 ? timeout : expires;
  const key = (timed >= 0 ? head.slice(0, timed) : head).split(' . ').map(plain);
  const result: Element = { key, value };
  if (expires >= 0) result.expiresMs = milliseconds(head.slice(expires + 9));
  if (comment !== undefined) result.comment = comment;
  return result;
}
