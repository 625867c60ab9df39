import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { withValue } from './edit.ts';

const text = `# the shop
cluster: shop
services:
  front: { type: director, hosts: [lb1], advert: 50ms } # in front
  cart:
    type: redis
`;

test('one value of a service is replaced, or put in; all else stays, comments too', () => {
  const edited = withValue(text, 'front', ['advert'], '1s');
  expect(edited).toContain('# the shop');
  expect(edited).toContain('# in front');
  expect(parse(edited).services.front).toEqual({ type: 'director', hosts: ['lb1'], advert: '1s' });
  expect(parse(withValue(text, 'cart', ['timing', 'nodeTimeout'], '1s')).services.cart).toEqual({
    type: 'redis',
    timing: { nodeTimeout: '1s' },
  });
});

test('a word in the place of the keys that hold the value gives way to them', () => {
  const fast = text.replace('type: redis', 'type: redis\n    timing: fast\n    hosts: [d1]');
  expect(parse(withValue(fast, 'cart', ['timing', 'nodeTimeout'], '1s')).services.cart).toEqual({
    type: 'redis',
    timing: { nodeTimeout: '1s' },
    hosts: ['d1'],
  });
});
