import { expect, it } from 'vitest';
import { redisStatus } from './status.ts';
import { following, sample, up, watching } from './testing/sample.ts';

const of = sample({ mode: 'sentinel' });

/** cart@d1 leads, cart@d2 and cart@d3 follow, and every sentinel says so. */
function whole() {
  const master = up(of, 'cart@d1');
  const members = [master, following(of, 'cart@d2', master), following(of, 'cart@d3', master)];
  return { members, sentinels: watching(of, master, members) };
}
const healthOf = (live: ReturnType<typeof whole>): Record<string, string> =>
  Object.fromEntries(
    redisStatus(of.service, of.cluster, live)
      .filter(({ health }) => health !== 'ok')
      .map(({ name, health, why }) => [name, `${health}: ${why}`]),
  );

it('all follow whom the sentinels name: all is well', () => {
  expect(healthOf(whole())).toEqual({});
});

it('a master that the sentinels have replaced is not well until it knows, nor is a sentinel that has not heard', () => {
  const live = whole();
  const [old, next] = live.members as [ReturnType<typeof up>, ReturnType<typeof up>];
  delete next.upstream;
  Object.assign(next, { role: 'master', followers: old.followers });
  const { address, port } = next;
  for (const sentinel of live.sentinels.slice(1))
    sentinel.master = { ...sentinel.master!, address, port, epoch: 4 };
  const found = healthOf(live);
  expect(found['cart@d1']).toContain('the sentinels have made cart@d2 one in its place');
  expect(found[live.sentinels[0]!.name]).toContain('sends clients to the old one');
  expect(Object.keys(found).sort()).toEqual(['cart@d1', live.sentinels[0]!.name].sort());
});

it('a replica that may not be promoted is told, a master that may not is as it should be', () => {
  const live = whole();
  live.members[0]!.config!['replica-priority'] = '0';
  expect(healthOf(live)).toEqual({});
  live.members[1]!.config!['replica-priority'] = '0';
  expect(healthOf(live)).toEqual({ 'cart@d2': expect.stringContaining('cannot be promoted') });
});
