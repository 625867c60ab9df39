import { expect, test } from 'vitest';
import { conntrackdConfig } from './conntrackd.ts';

test('only flows to the real servers are told, to the peer alone, and the peer takes them into its kernel', () => {
  const text = conntrackdConfig({
    address: '10.77.0.1',
    peer: '10.77.0.2',
    port: 3780,
    device: 'eth0',
    folder: '/var/lib/phalanx/shop/hosts/lb1/front.conntrackd@lb1',
    servers: ['10.77.0.11', 'fd77::11'],
  });
  expect(text).toContain('Mode FTFW {\n    DisableExternalCache On\n');
  expect(text).toContain('IPv4_address 10.77.0.1\n    IPv4_Destination_Address 10.77.0.2\n    Port 3780\n');
  expect(text).toContain(
    'Address Accept {\n      IPv4_address 10.77.0.11\n      IPv6_address fd77::11\n    }\n',
  );
});
