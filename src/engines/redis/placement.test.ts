import fc from 'fast-check';
import { expect, it } from 'vitest';
import { place } from './placement.ts';

it('no two members of a shard share a host when the members were dealt to hosts in turn', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 6 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 3 }),
      (hosts, shards, replicas) => {
        fc.pre(hosts > replicas);
        const names = Array.from({ length: hosts }, (_, i) => `h${i}`);
        const members = Array.from({ length: shards * (1 + replicas) }, (_, i) => ({
          name: `m${i}`,
          host: names[i % hosts]!,
        }));
        const masters = members.slice(0, shards);
        const given = place(
          masters.map(({ name, host }) => ({ name, hosts: [host], need: replicas })),
          members.slice(shards),
          names,
        );
        expect(given.size).toBe(shards * replicas);
        for (const { name, host } of masters) {
          const own = [host, ...members.filter((one) => given.get(one.name) === name).map((one) => one.host)];
          expect(new Set(own).size).toBe(own.length);
          expect(own.length).toBe(replicas + 1);
        }
      },
    ),
    { numRuns: 200 },
  );
});

it('shares a host rather than leave a shard without a replica', () => {
  const given = place([{ name: 'a', hosts: ['h0'], need: 1 }], [{ name: 'b', host: 'h0' }], ['h0']);
  expect(given.get('b')).toBe('a');
});
