import { describe, expect, it } from 'vitest';
import { redisCheck } from './check.ts';
import { sample } from './testing/sample.ts';

const messages = (spec: Record<string, unknown>, hosts = 3): string[] => {
  const { service, cluster } = sample(spec, hosts);
  return redisCheck(service, cluster).map(
    (problem) =>
      `${problem.path.slice(2).join('.')}: ${problem.message}${problem.hint ? ` (${problem.hint})` : ''}`,
  );
};

describe('a file that can work has no problem', () => {
  it.each([
    [{}],
    [{ mode: 'sentinel' }],
    [{ mode: 'cluster' }],
    [{ mode: 'cluster', replicas: 2 }],
    [{ depth: 2 }],
    [{ upstream: { 'cart@d3': 'cart@d2' } }],
    [{ config: { 'repl-backlog-size': '64mb' } }],
  ])('%j', (spec) => expect(messages(spec)).toEqual([]));
});

describe('a file that cannot work is told why', () => {
  it.each([
    [{ shards: 4 }, 3, /^shards: shards has no meaning in mode replication/],
    [{ mode: 'cluster', shards: 2 }, 3, /^shards: 2 shards cannot fail over/],
    [{ mode: 'cluster', replicas: 3 }, 3, /^hosts: 3 replicas of each master need 4 hosts/],
    [{ mode: 'sentinel', sentinels: 4 }, 5, /^sentinels: 4 sentinels bear the loss of no more than 3/],
    [{ mode: 'sentinel', quorum: 4 }, 3, /^quorum: a quorum of 4 can never be reached by 3/],
    [{ mode: 'sentinel', replicas: 1 }, 2, /^hosts: sentinels need 3 hosts/],
    [{ minReplicas: 3 }, 3, /^minReplicas: .* no master could ever accept a write/],
    [{ config: { maxmemory: '1gb' } }, 3, /^config.maxmemory: .* \(use the key maxmemory\)/],
    [{ config: { 'repl-backlog-sise': 1 } }, 3, /did you mean "repl-backlog-size"/],
    [{ upstream: { 'cart@d3': 'cart@d2', 'cart@d2': 'cart@d3' } }, 3, /^upstream: .* in a circle/],
    [{ upstream: { 'cart@d9': 'cart@d2' } }, 3, /cart@d9 is no member/],
    [{ users: { phalanx: {} } }, 3, /own/],
    [{ users: { 'rules-of-mine': {} } }, 3, /own/],
  ])('%j on %i hosts', (spec, hosts, expected) => expect(messages(spec, hosts).join('\n')).toMatch(expected));
});
