import { expect, it } from 'vitest';
import { parseCheck } from './check-dump.ts';

const sound = `[offset 0] Checking RDB file dump.rdb
[offset 26] AUX FIELD redis-ver = '7.0.15'
[offset 67] AUX FIELD used-mem = '3418984'
[offset 100] AUX FIELD repl-id = '2f155e48963e4638b9aec829d3a5107d4cafdba8'
[offset 130] AUX FIELD repl-offset = '335185'
[offset 150] Selecting DB ID 0
[offset 900] Selecting DB ID 3
[offset 118457] Checksum OK
[offset 118457] \\o/ RDB looks OK! \\o/
[info] 1765 keys read
[info] 30 expires
[info] 0 already expired
`;

it('a sound dump tells its keys, databases and place in the history', () => {
  expect(parseCheck(sound, 0)).toEqual({
    keys: 1765,
    databases: [0, 3],
    redis: '7.0.15',
    replid: '2f155e48963e4638b9aec829d3a5107d4cafdba8',
    offset: 335_185,
    memory: 3_418_984,
  });
});

it('a damaged one tells where', () => {
  const printed = `[offset 0] Checking RDB file x.rdb
--- RDB ERROR DETECTED ---
[offset 9] Unexpected EOF reading RDB file
[info] 0 keys read`;
  expect(parseCheck(printed, 1)).toEqual({ wrong: '[offset 9] Unexpected EOF reading RDB file' });
});
