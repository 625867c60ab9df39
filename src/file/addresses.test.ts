import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocate, canonical, networkOf, parseAddress, parseRange, rangeText } from './addresses.ts';

const network = networkOf('shop', {}, ['10.77.0.100']);
const hosts = (...names: string[]) => names.map((name) => ({ name }));

describe('addresses', () => {
  test('equal addresses are equal text', () => {
    expect(canonical('FD00:0:0::0:1')).toBe('fd00::1');
    expect(canonical('::ffff:1.2.3.4')).toBe('::ffff:102:304');
    expect(canonical('1:0:0:2:0:0:0:3')).toBe('1:0:0:2::3');
    expect(canonical('::')).toBe('::');
    expect(canonical('10.0.0.1')).toBe('10.0.0.1');
  });

  test('any address is read back as it was written', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const written = canonical(text);
        expect(parseAddress(written)).toEqual(parseAddress(text));
        expect(canonical(written)).toBe(written);
      }),
    );
  });

  test('what is no address', () => {
    for (const text of ['', '10.0.0', '10.0.0.256', '10.0.0.1/24', 'fe80::1%eth0', '1::2::3', 'x'])
      expect(parseAddress(text)).toBeUndefined();
  });

  test('what is no network says why', () => {
    expect(parseRange('10.77.0.0')).toMatch(/not a network/);
    expect(parseRange('10.77.0.0/33')).toMatch(/prefix/);
    expect(parseRange('10.77.0.1/24')).toMatch(/write 10\.77\.0\.0\/24/);
    expect(rangeText(parseRange('fd00:77::/64') as never)).toBe('fd00:77::/64');
  });
});

describe('a host keeps its address for life', () => {
  test('in the order of the file from .11, past VIPs and the machine', () => {
    expect(allocate(hosts('a', 'b', 'c'), network, ['10.77.0.12'], {}).addresses).toEqual({
      a: { address: '10.77.0.11' },
      b: { address: '10.77.0.13' },
      c: { address: '10.77.0.14' },
    });
  });

  test('whatever is inserted, moved or removed', { tags: ['long'] }, () => {
    const names = fc.uniqueArray(fc.constantFrom(...'abcdefghij'.split('')));
    fc.assert(
      fc.property(fc.array(names, { maxLength: 6 }), (files) => {
        let kept: ReturnType<typeof allocate>['addresses'] = {};
        for (const file of files) {
          const { addresses, missing } = allocate(hosts(...file), network, ['10.77.0.100'], kept);
          expect(missing).toEqual([]);
          for (const [name, { address }] of Object.entries(addresses))
            expect(address).toBe(kept[name]?.address ?? address);
          kept = { ...kept, ...addresses };
          const all = Object.values(kept).map(({ address }) => address);
          expect(new Set(all).size).toBe(all.length);
        }
      }),
    );
  });

  test('a host that left has its address back when it returns, unless nothing else was free', () => {
    const small = networkOf('shop', { ipv4: parseRange('10.0.0.0/29') as never }, []);
    const first = allocate(hosts('a', 'b', 'c', 'd', 'e'), small, [], {}).addresses;
    expect(Object.values(first).map(({ address }) => address)).toEqual(
      [1, 2, 3, 4, 5].map((n) => `10.0.0.${n}`),
    );
    const second = allocate(hosts('a', 'b', 'c', 'd', 'f'), small, [], first);
    expect(second).toEqual({ addresses: { ...first, e: undefined, f: first['e'] }, missing: [] });
    expect(allocate(hosts('a', 'b', 'c', 'd', 'e', 'f'), small, [], first).missing).toEqual(['f']);
  });

  test('but one outside a network that was changed is given anew', () => {
    const before = { a: { address: '10.1.0.11' } };
    expect(allocate(hosts('a'), network, [], before).addresses['a']).toEqual({ address: '10.77.0.11' });
  });

  test('IPv6 beside IPv4, the machine at ::fe left free', () => {
    const both = networkOf('shop', { ipv4: parseRange('10.0.0.0/16') as never }, ['fd00::100']);
    const names = Array.from({ length: 300 }, (_, index) => `h${index}`);
    const { addresses } = allocate(hosts(...names), both, ['fd00::100'], {});
    const six = Object.values(addresses).map(({ address6 }) => address6);
    expect(six[0]).toBe('fd00::11');
    expect(new Set(six).size).toBe(300);
    expect(six).not.toContain('fd00::fe');
    expect(six).not.toContain('fd00::100');
  });
});
