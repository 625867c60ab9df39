import { expect, test } from 'vitest';
import type { Service } from '../file/cluster.ts';
import { faultNamed, faults, minorityWith } from './faults.ts';

const named = (name: string) => faultNamed(name, ['master', 'owner', 'host-owner']);

test('a fault is a verb and a role, and the longest verb wins', () => {
  expect(named('kill-master')).toMatchObject({ fault: faults['kill'], role: 'master' });
  expect(named('power-off-owner')).toMatchObject({ fault: faults['power-off'], role: 'owner' });
  expect(named('freeze-host-owner')).toMatchObject({ fault: faults['freeze-host'], role: 'owner' });
  expect(named('full-disk-master')).toMatchObject({ fault: faults['full-disk'], role: 'master' });
  expect(named('clock-master')).toMatchObject({ fault: faults['clock'], role: 'master' });
  expect(named('one-way-master')).toMatchObject({ fault: faults['one-way'], role: 'master' });
});

test('what is no fault is answered with what there is', () => {
  expect(named('kill-queen')).toContain('one of master, owner, host-owner');
  expect(named('explode-master')).toContain('one of kill, restart, freeze');
  expect(named('kill')).toContain('there is no fault kill');
});

test('what cannot be done here is refused with the reason', () => {
  expect(named('latency-master')).toContain('netem');
});

test('a minority is never half', () => {
  const service = (...hosts: string[]): Service => ({ name: 's', type: 'redis', hosts, uses: [], spec: {} });
  expect(minorityWith(service('a', 'b', 'c'), 'b')).toEqual(['b']);
  expect(minorityWith(service('a', 'b', 'c', 'd', 'e'), 'c')).toEqual(['c', 'a']);
  expect(minorityWith(service('a', 'b', 'c', 'd'), 'd')).toEqual(['d']);
  expect(minorityWith(service('a', 'b'), 'a')).toEqual(['a']);
});
