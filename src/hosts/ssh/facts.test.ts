import { expect, test } from 'vitest';
import { parseFacts, unfitMachine } from './facts.ts';

const machine = (os: string, version: string, device = 'ens3', supervisor = 'systemd') =>
  parseFacts(
    {
      lines: [{ machine: { os, version, supervisor } }],
      text: `${device === '' ? '' : `2: ${device}    inet 10.0.0.7/24 scope global ${device}\\       valid_lft forever`}
Package: iproute2
Status: install ok installed
Priority: important
Section: net
--
Package: keepalived
Essential: no
Status: deinstall ok config-files
Priority: optional`,
    },
    ['s6', 'iproute2', 'keepalived'],
  )!;

test.each([
  ['debian', '12'],
  ['debian', '13'],
  ['ubuntu', '24.04'],
])('%s %s is fit', (os, version) => {
  expect(unfitMachine('lb1', '10.0.0.7', machine(os, version))).toEqual([]);
});

test.each([
  ['debian', '11'],
  ['ubuntu', '22.04'],
  ['alpine', '3.20'],
  ['', ''],
])('%s %s is refused with a sentence', (os, version) => {
  expect(unfitMachine('lb1', '10.0.0.7', machine(os, version))[0]).toMatch(
    /^lb1 runs .*: members run on Debian 12 or 13 and on Ubuntu 24.04$/,
  );
});

test('an address that no interface has is refused', () => {
  expect(unfitMachine('lb1', '10.0.0.7', machine('debian', '12', ''))[0]).toContain(
    'no interface with the address 10.0.0.7',
  );
});

test('systemd needs no s6', () => {
  expect(machine('debian', '12').missing).toEqual(['keepalived']);
  expect(machine('debian', '12', 'eth0', 's6').missing).toEqual(['s6', 'keepalived']);
});
