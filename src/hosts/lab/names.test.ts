import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  bridge,
  formerAlias,
  hostNamespace,
  portName,
  readAlias,
  switchNamespace,
  uplinkAlias,
  uplinkName,
  uplinkPort,
} from './names.ts';

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,40}$/);

test('an interface name has at most 15 characters and no two hosts share one', () => {
  fc.assert(
    fc.property(name, name, (one, other) => {
      expect(portName(one).length).toBeLessThanOrEqual(15);
      expect(uplinkName(one).length).toBeLessThanOrEqual(15);
      if (one === other) return;
      expect(portName(one)).not.toBe(portName(other));
      expect(uplinkName(one)).not.toBe(uplinkName(other));
      expect([bridge, uplinkPort, 'lo', 'all', 'default']).not.toContain(portName(one));
    }),
  );
  expect(portName('app1')).toBe('app1');
  expect(portName('lan')).toBe('lan_');
  expect(uplinkName('shop')).toBe('phx-shop');
});

test('namespaces of different clusters and hosts never coincide', () => {
  expect(hostNamespace('a-b', 'c')).not.toBe(hostNamespace('a', 'b-c'));
  expect(switchNamespace('shop')).not.toBe(hostNamespace('shop', ''));
});

test("the uplink says whose it is: the cluster's, and of which home, however that is written", () => {
  const folder = mkdtempSync(join(tmpdir(), 'phalanx-names-'));
  try {
    symlinkSync(folder, join(folder, 'link'));
    const at = (home: string): string => uplinkAlias({ name: 'shop', home });
    expect(at(join(folder, 'link/state/shop'))).toBe(at(join(folder, 'state/shop')));
    expect(at('/srv/one/shop')).not.toBe(at('/srv/two/shop'));
    const odd = '/srv/a "b" $(c) #d\\/shop';
    expect(at(odd)).toMatch(/^phalanx shop [^\s"$#\\]+$/);
    expect(readAlias(at(odd))).toEqual({ cluster: 'shop', home: odd });
    const long = at(`/srv/${'x'.repeat(300)}/shop`);
    expect(long.length).toBeLessThan(256);
    expect(readAlias(long)?.home).toMatch(/^sha256:/);
    expect(readAlias(formerAlias({ name: 'shop' }))).toEqual({ cluster: 'shop' });
    expect(readAlias("somebody's own")).toBeUndefined();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
