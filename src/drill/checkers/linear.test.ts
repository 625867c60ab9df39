import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Access, LinearSearch } from './linear.ts';

const enough = { states: 1_000_000, operations: 1000 };
const never = Number.POSITIVE_INFINITY;

function search(accesses: Access[], budget = enough): LinearSearch {
  const linear = new LinearSearch(budget);
  const lines = accesses.flatMap((one) =>
    one.returned === never ? [one.invoked] : [one.invoked, one.returned],
  );
  // As the checker does it: whenever nothing certain is in flight, the register is quiet.
  for (const line of [...new Set(lines)].sort((a, b) => a - b)) {
    for (const one of accesses)
      if ((one.returned === never ? one.invoked : one.returned) === line) linear.add(one);
    if (!accesses.some((one) => one.returned !== never && one.invoked <= line && one.returned > line))
      linear.quiet();
  }
  return linear;
}

/** Every order there is. */
function bruteForce(accesses: Access[], value: number | null = null): boolean {
  const certain = accesses.filter((one) => one.returned !== never);
  if (certain.length === 0) return true;
  const first = Math.min(...certain.map((one) => one.returned));
  return accesses.some((one) => {
    if (one.invoked > first) return false;
    if (one.f === 'read' && one.value !== value) return false;
    if (one.f === 'cas' && one.from !== value) return false;
    return bruteForce(
      accesses.filter((other) => other !== one),
      one.value,
    );
  });
}

const write = (value: number, invoked: number, returned: number): Access => ({
  f: 'write',
  value,
  invoked,
  returned,
});
const read = (value: number | null, invoked: number, returned: number): Access => ({
  f: 'read',
  value,
  invoked,
  returned,
});
const cas = (from: number | null, value: number, invoked: number, returned: number): Access => ({
  f: 'cas',
  from,
  value,
  invoked,
  returned,
});

/** Up to seven operations whose times overlap at random and whose reads see anything that was written. */
const histories = fc
  .array(
    fc.record({
      f: fc.constantFrom('write' as const, 'read' as const, 'read' as const, 'cas' as const),
      at: fc.integer({ min: 0, max: 20 }),
      took: fc.integer({ min: 1, max: 12 }),
      sees: fc.integer({ min: 0, max: 7 }),
      unknown: fc.boolean(),
    }),
    { minLength: 2, maxLength: 7 },
  )
  .map((drawn) =>
    drawn.flatMap(({ f, at, took, sees, unknown }, n): Access[] => {
      // Distinct lines: two per operation.
      const invoked = at * 100 + n * 2;
      const returned = (at + took) * 100 + n * 2 + 1;
      const seen = sees === 0 || sees > drawn.length ? null : sees;
      if (f === 'read') return [read(seen, invoked, returned)];
      const until = unknown && n % 2 === 0 ? never : returned;
      return [f === 'write' ? write(n + 1, invoked, until) : cas(seen, n + 1, invoked, until)];
    }),
  );

test('the search agrees with trying every order', { tags: ['long'] }, () => {
  const found = { linearizable: 0, 'not linearizable': 0, unknown: 0 };
  fc.assert(
    fc.property(histories, (accesses) => {
      const { verdict } = search(accesses);
      found[verdict]++;
      expect(verdict).toBe(bruteForce(accesses) ? 'linearizable' : 'not linearizable');
    }),
    { numRuns: 3000 },
  );
  // Else the comparison above would prove little.
  expect(found.linearizable).toBeGreaterThan(300);
  expect(found['not linearizable']).toBeGreaterThan(300);
});

test('two readers may not see two concurrent writes in opposite orders', () => {
  const both = [write(1, 1, 20), write(2, 2, 21)];
  expect(search([...both, read(1, 3, 4), read(2, 5, 6)]).verdict).toBe('linearizable');
  const torn = search([...both, read(1, 3, 4), read(2, 5, 6), read(1, 7, 8)]);
  expect(torn.verdict).toBe('not linearizable');
  expect(torn.why).toBe('line 8: a read of 1 fits no order of the operations');
});

test('a write of unknown outcome may take effect long after, once', () => {
  const late = [write(1, 1, never), write(2, 2, 3), read(2, 4, 5), read(1, 6, 7)];
  expect(search(late).verdict).toBe('linearizable');
  expect(search([...late, write(3, 8, 9), read(3, 10, 11), read(1, 12, 13)]).verdict).toBe(
    'not linearizable',
  );
});

test('a thousand writes of unknown outcome that nobody read cost nothing', () => {
  const lost = Array.from({ length: 1000 }, (_, n) => write(n + 10, n + 1, never));
  const linear = search([...lost, write(1, 2001, 2002), read(1, 2003, 2004)], {
    states: 50,
    operations: 2000,
  });
  expect(linear.verdict).toBe('linearizable');
});

test('beyond its budget the search says unknown, never yes', () => {
  const wide = Array.from({ length: 12 }, (_, n) => write(n + 1, n + 1, 100 + n));
  expect(search(wide, { states: 100, operations: 1000 })).toMatchObject({
    verdict: 'unknown',
    why: 'more than 100 states to look at',
  });
  const crowd = Array.from({ length: 31 }, (_, n) => write(n + 1, n + 1, 100 + n));
  expect(search(crowd).verdict).toBe('unknown');
  const long = Array.from({ length: 20 }, (_, n) => write(n + 1, n * 2 + 1, n * 2 + 4));
  expect(search(long, { states: 1000, operations: 10 }).verdict).toBe('unknown');
});
