import { expect, it } from 'vitest';
import { damageText, parseDamages } from './damage.ts';

const id = 'a'.repeat(40);
const text = `@ cart@d1
written 1795458013
last appendonly.aof.1.incr.aof
self ${id} 10.1.0.11:6379@16379 myself,master - 0 0 1 connected 0-5460
writes 3
---
Start checking Multi Part AOF
Start to check INCR files.
0x             570: Expected \\r\\n, got: 0d00
AOF analyzed: filename=appendonly.aof.1.incr.aof, size=1395, ok_up_to=1370, ok_up_to_line=284, diff=25
AOF appendonly.aof.1.incr.aof is not valid. Use the --fix option to try fixing it.

@ cart.2@d1
written 1795458000
last appendonly.aof.2.incr.aof
---
Start to check BASE AOF (RDB format).
[offset 0] Checking RDB file appendonly.aof.2.base.rdb
--- RDB ERROR DETECTED ---
[offset 596] RDB CRC error
RDB preamble of AOF file is not sane, aborting.

`;

it('a log that was cut off, and the base of another: each with its place and what is behind it', () => {
  const found = parseDamages(text);
  expect(found.get('cart@d1')).toMatchObject({
    ...{ kind: 'aof', file: 'appendonlydir/appendonly.aof.1.incr.aof', size: 1395, sound: 1370 },
    ...{ writes: 3, last: true, writtenAt: 1_795_458_013 },
    self: { id, slots: [[0, 5460]] },
  });
  expect(damageText(found.get('cart@d1')!)).toBe(
    'appendonlydir/appendonly.aof.1.incr.aof cannot be read from byte 1370 of 1395 on: 25 bytes, at most 3 writes',
  );
  expect(found.get('cart.2@d1')).toMatchObject({
    ...{ kind: 'rdb', file: 'appendonlydir/appendonly.aof.2.base.rdb', sound: 596, why: 'RDB CRC error' },
    last: false,
  });
});

it.each([
  [
    'a file that is not there',
    'Cannot open file appendonlydir/appendonly.aof.1.incr.aof: No such file or directory, aborting...',
    'appendonlydir/appendonly.aof.1.incr.aof cannot be read (No such file or directory)',
  ],
  [
    // redis-check-aof takes such a list for a log and would shorten it to nothing.
    'a list of files that is none',
    'AOF analyzed: filename=data/appendonlydir/appendonly.aof.manifest, size=8, ok_up_to=0, ok_up_to_line=1, diff=8',
    'appendonlydir/appendonly.aof.manifest cannot be read',
  ],
])('%s is never shortened', (_, said, shown) => {
  const damage = parseDamages(`@ cart@d1\nwritten 1\n---\n${said}\n`).get('cart@d1')!;
  expect(damage).toMatchObject({ kind: 'list', last: false });
  expect(damageText(damage)).toContain(shown);
});

it('a log that is not the last of its list is not one that can be shortened', () => {
  const other = text.replace('last appendonly.aof.1.incr.aof', 'last appendonly.aof.2.incr.aof');
  expect(parseDamages(other).get('cart@d1')!.last).toBe(false);
});
