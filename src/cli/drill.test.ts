import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { drill } from './drill.ts';

test('a file of which nothing can be drilled is told so, and is no success', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'phalanx-drill-')), 'cluster.yaml');
  writeFileSync(
    file,
    'cluster: made-up\nnetwork: 10.9.8.0/24\nhosts: { a: {} }\nservices: { files: { type: storage, hosts: [a] } }\n',
  );
  await expect(drill(undefined, { file })).rejects.toThrow('none of its services can be drilled');
});
