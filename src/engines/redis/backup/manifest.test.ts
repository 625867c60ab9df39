import { expect, it } from 'vitest';
import { deal } from '../slots.ts';
import { parseManifest, sealed } from './manifest.ts';

const content = {
  ...{ backup: 1 as const, cluster: 'shop', service: 'cart', mode: 'cluster' as const, redis: '7.0.15' },
  taken: '2026-11-23T18:00:00.000Z',
  shards: deal(3).map((slots, i) => ({
    ...{ file: `shard-${i + 1}.rdb`, slots: [slots], from: 'cart.2@d1', role: 'replica' as const },
    ...{ master: 'cart@d2', replid: 'a', offset: 100, bytes: 10, sha256: 'f', keys: 3 },
    ...{ databases: [0], memory: 1000 },
  })),
};

it('a manifest is read back as it was written', () => {
  expect(parseManifest(sealed(content))).toMatchObject(content);
});

it('a manifest in which a character was changed is refused', () => {
  expect(() => parseManifest(sealed(content).replace('"keys": 3', '"keys": 4'))).toThrow(
    'was changed after it was written',
  );
});

it.each([
  ['half of one', sealed(content).slice(0, 200), 'is no JSON'],
  ['something else', '{"name":"phalanx"}', 'its manifest.json is damaged'],
  ['one of a later format', '{"backup":2}', 'it has format 2'],
  [
    'one without a shard',
    sealed({ ...content, shards: content.shards.slice(1) }),
    'it holds 10923 of 16384 slots',
  ],
  [
    'one with a shard twice',
    sealed({ ...content, shards: [...content.shards, content.shards[0]!] }),
    'slots are in two of its files',
  ],
])('%s is refused', (_, text, why) => {
  expect(() => parseManifest(text)).toThrow(why);
});
