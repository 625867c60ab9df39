import { mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { expect, it } from 'vitest';
import { dump } from './dump.ts';

const mark = 'm'.repeat(40);

/** A member that answers each command with +OK and SYNC with these pieces, each a chunk of its own. */
function member(pieces: string[], refuses = ''): Duplex {
  const stream: Duplex = new Duplex({
    read() {},
    write(bytes: Buffer, _, done) {
      for (const name of bytes.toString().match(/AUTH|REPLCONF|SYNC/g) ?? []) {
        if (name === refuses) stream.push('-ERR not you\r\n');
        else if (name !== 'SYNC') stream.push('+OK\r\n');
        else for (const piece of [...pieces, null]) stream.push(piece === null ? null : Buffer.from(piece));
      }
      done();
    },
  });
  return stream;
}

const file = (): string => join(mkdtempSync(join(tmpdir(), 'phalanx-dump-test-')), 'shard-1.rdb');

it.each([
  ['in one piece', [`$EOF:${mark}\r\nREDIS data${mark}`]],
  ['after newlines that keep the line open', ['\n', '\n\n', `$EOF:${mark}\r\n`, 'REDIS ', 'data', mark]],
  ['with its mark in pieces', [`$EOF:${mark}\r\nREDIS data${mark.slice(0, 7)}`, mark.slice(7)]],
  ['of a length that was said before', ['$10\r\nREDIS', ' data']],
])('a copy that comes %s is written whole, for its owner alone', async (_, pieces) => {
  const path = file();
  const { bytes } = await dump(member(pieces), 'secret', path);
  expect(readFileSync(path, 'utf8')).toBe('REDIS data');
  expect(bytes).toBe(10);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it.each([
  ['ends early', [`$EOF:${mark}\r\nREDIS da`], 'the connection ended before the copy was whole'],
  ['is refused', ["-NOMASTERLINK Can't SYNC\r\n"], 'it gives no copy: NOMASTERLINK'],
])('a copy that %s is none', async (_, pieces, why) => {
  await expect(dump(member(pieces), 'secret', file())).rejects.toThrow(why);
});

it('a member that does not let us in says so', async () => {
  await expect(dump(member([], 'AUTH'), 'secret', file())).rejects.toThrow('it refuses AUTH: ERR not you');
});
