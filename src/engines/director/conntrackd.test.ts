import { expect, test } from 'vitest';
import { conntrackdConfig } from './conntrackd.ts';

test('only flows of the VIPs are told, to the peer alone, and the peer takes them into its kernel', () => {
  const text = conntrackdConfig({
    address: '10.77.0.1',
    peer: '10.77.0.2',
    port: 3780,
    device: 'eth0',
    vips: ['10.77.0.100', 'fd77::100'],
  });
  expect(text).toContain('Mode FTFW {\n    DisableExternalCache On\n');
  expect(text).toContain('IPv4_address 10.77.0.1\n    IPv4_Destination_Address 10.77.0.2\n    Port 3780\n');
  expect(text).toContain(
    'Address Accept {\n      IPv4_address 10.77.0.100\n      IPv6_address fd77::100\n    }\n',
  );
});
