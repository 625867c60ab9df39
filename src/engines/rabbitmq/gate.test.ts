import { describe, expect, it } from 'vitest';
import { againstBlindly, servingAs } from './gate.ts';
import { liveOf, node, sample, view } from './sample.ts';

const three = ['h1', 'h2', 'h3'];

describe('a gate where no node can be asked', () => {
  it('opens only when all are known to serve nothing', () => {
    const hosts = { h1: { blank: false, idle: true }, h2: { blank: false, idle: true } };
    expect(againstBlindly({ hosts })).toEqual([]);
    expect(againstBlindly({ hosts: { ...hosts, h3: { blank: false, why: 'does not answer' } } })).toEqual([
      'h3: does not answer',
    ]);
    expect(againstBlindly({ hosts: { ...hosts, h3: { why: 'h3: is frozen' } } })).toEqual(['h3: is frozen']);
  });
});

it('who serves on a host that has another address now is found under the old one', () => {
  const { service, cluster } = sample(three);
  const live = liveOf(view(['h9', 'h2', 'h3'], []), { h1: true, h2: false, h3: false });
  expect(servingAs(service, cluster, live, 'h1')).toBeUndefined();
  live.hosts['h1']!.others = [node('h9')];
  expect(servingAs(service, cluster, live, 'h1')).toBe(node('h9'));
  expect(servingAs(service, cluster, live, 'h2')).toBe(node('h2'));
});
