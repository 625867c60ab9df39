import fc from 'fast-check';
import { expect, test } from 'vitest';
import { check } from './check.ts';
import { nearest } from './nearest.ts';
import { duration, durationText, parseDuration, parseSize, size, sizeText } from './units.ts';

test('durations are milliseconds', () => {
  const values = { '300ms': 300, '2s': 2000, '1.5s': 1500, '5m': 300_000, '1h': 3_600_000, '0': 0 };
  for (const [written, ms] of Object.entries(values)) expect(parseDuration(written)).toBe(ms);
  for (const written of ['', '5', '-1s', '1 s', '1d', 's', '1e3s', '0x1s'])
    expect(parseDuration(written)).toBeUndefined();
  expect(duration().parse(0)).toBe(0);
  expect(() => duration({ min: 10 }).parse('9ms')).toThrow('9ms is too short: at least 10ms');
  expect(() => duration().parse('501h')).toThrow('501h is too long: at most 500h');
});

test('sizes are bytes, each step 1024', () => {
  const values = {
    '64k': 65_536,
    '256mb': 2 ** 28,
    '1gb': 2 ** 30,
    '1G': 2 ** 30,
    '512b': 512,
    '1.5m': 1_572_864,
  };
  for (const [written, bytes] of Object.entries(values)) expect(parseSize(written)).toBe(bytes);
  for (const written of ['', '5', '-1k', '1 k', '1tb', 'kb']) expect(parseSize(written)).toBeUndefined();
  expect(size().parse(4096)).toBe(4096);
  expect(() => size({ min: 2 ** 20 }).parse('1k')).toThrow('1k is too small: at least 1mb');
});

test('what is written for a person is read back as the same', () => {
  fc.assert(
    fc.property(fc.nat(1e9), (n) => {
      expect(parseDuration(durationText(n))).toBe(n);
      expect(parseSize(sizeText(n))).toBe(n);
    }),
  );
});

test('a check is what it says, with the times that were not said', () => {
  const times = { intervalMs: 500, timeoutMs: 1000, rise: 1, fall: 2 };
  expect(check.parse({})).toEqual({ kind: 'tcp', ...times });
  expect(check.parse({ tcp: true, interval: '2s' })).toEqual({ kind: 'tcp', ...times, intervalMs: 2000 });
  expect(check.parse({ script: './check.sh' })).toEqual({ kind: 'script', command: './check.sh', ...times });
  expect(check.parse({ http: '/x', host: 'shop.example', status: 204 })).toEqual({
    kind: 'http',
    path: '/x',
    host: 'shop.example',
    status: [204, 204],
    ...times,
  });
  expect(check.parse({ http: '/x', status: '200-299' }).status).toEqual([200, 299]);
  expect(() => check.parse({ http: '/x', tcp: true })).toThrow('not http and tcp');
  expect(() => check.parse({ tcp: true, status: 200 })).toThrow('belongs to an http check');
  expect(() => check.parse({ http: 'x' })).toThrow('starts with /');
  expect(() => check.parse({ http: '/x', status: '299-200' })).toThrow('the range is empty');
});

test('the nearest word is the one with the fewest slips, or none', () => {
  expect(nearest('schedular', ['port', 'scheduler'])).toBe('scheduler');
  expect(nearest('ful-nat', ['nat', 'fullnat', 'dr'])).toBe('fullnat');
  expect(nearest('wcl', ['rr', 'lc', 'wlc'])).toBe('wlc');
  expect(nearest('Port', ['port'])).toBe('port');
  expect(nearest('banana', ['port', 'hosts'])).toBeUndefined();
  expect(nearest('x'.repeat(10_000), ['x'.repeat(10_001)])).toBeUndefined();
});
