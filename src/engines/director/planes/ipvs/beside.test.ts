import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { Beside } from './beside.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

test('the table beside IPVS is made again when somebody else has removed it, and it is said', async () => {
  // An nft whose kernel has what is in `tables`; it refuses as long as there is a file `refuse`.
  const folder = mkdtempSync(join(tmpdir(), 'nft-'));
  const nft = `#!/bin/sh
cd ${folder}
case "$*" in
'-f -') [ ! -e refuse ] || { rm refuse; echo 'out of memory' >&2; exit 1; }
  cat >>sent ;;
'list tables') echo looked >>looks; cat tables ;;
esac
`;
  writeFileSync(join(folder, 'nft'), nft, { mode: 0o755 });
  vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`);
  const kernel = (tables: string) => writeFileSync(join(folder, 'tables'), tables);
  const made = () => readFileSync(join(folder, 'sent'), 'utf8').split('add chain').length - 1;
  const said: string[] = [];
  const beside = new Beside('c_front', (line) => said.push(line));
  const name = 'inet phalanx_c_front_ipvs';
  const lines = [`add table ${name}`, `add chain ${name} in { type filter hook prerouting priority -150; }`];

  await beside.mend();
  kernel(`table inet filter\ntable ${name}\n`);
  await beside.make(lines);
  await beside.make([...lines]);
  await beside.mend();
  expect(made()).toBe(1);

  kernel('table inet filter\n');
  writeFileSync(join(folder, 'refuse'), '');
  await expect(beside.mend()).rejects.toThrow('out of memory');
  await beside.mend();
  kernel(`table inet filter\ntable ${name}\n`);
  await beside.mend();
  expect(made()).toBe(2);
  expect(said).toEqual([
    'ipvs: the nftables table beside it had been removed by somebody else, and is made again',
  ]);

  // Where nothing is needed beside IPVS, nothing is missing.
  kernel('');
  await beside.make([`add table ${name}`, `delete table ${name}`]);
  const looks = readFileSync(join(folder, 'looks'), 'utf8');
  await beside.mend();
  expect(readFileSync(join(folder, 'looks'), 'utf8')).toBe(looks);
  expect(made()).toBe(2);
});
