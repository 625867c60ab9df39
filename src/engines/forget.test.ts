import { expect, it } from 'vitest';
import type { Cluster } from '../file/cluster.ts';
import { forgetHint } from './forget.ts';

it('real machines that left the file can be given up, each once; hosts of a lab and of the file cannot', () => {
  const cluster = {
    hosts: { d1: { kind: 'ssh' } },
    former: { d8: { kind: 'ssh' }, d9: { kind: 'ssh' }, l1: { kind: 'lab' } },
  } as unknown as Cluster;
  expect(forgetHint(cluster, ['d9', 'd1', 'l1', 'd8', 'd9'])).toBe(
    '; where one that left the file is gone for good: phalanx forget d9, phalanx forget d8',
  );
  expect(forgetHint(cluster, ['d1', 'l1'])).toBe('');
  expect(forgetHint({ hosts: {} } as unknown as Cluster, ['d9'])).toBe('');
});
