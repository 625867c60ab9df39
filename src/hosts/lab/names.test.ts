import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bridge, hostNamespace, portName, switchNamespace, uplinkName, uplinkPort } from './names.ts';

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
