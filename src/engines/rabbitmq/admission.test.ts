import { describe, expect, it } from 'vitest';
import { admission, leftBehindText } from './admission.ts';
import { peersConf } from './configuration.ts';
import { node, sample } from './sample.ts';

const three = ['h1', 'h2', 'h3'];
const { service, cluster } = sample(three, { ram: ['h1'] }, ['h4', 'h5']);
for (const host of ['h4', 'h5']) cluster.former![host]!.kind = 'ssh';
const blank = { h1: { blank: true }, h2: { blank: true }, h3: { blank: true } };
const why = (places: Parameters<typeof admission>[2]): string => {
  const found = admission(service, cluster, places, three);
  return found?.how === 'refuse' ? found.why : `not refused: ${JSON.stringify(found)}`;
};

describe('nodes without data', () => {
  it('begin a cluster on the first disk node when nobody has any', () => {
    expect(admission(service, cluster, blank, three)).toEqual({
      how: 'begin',
      seed: 'h2',
      join: ['h1', 'h3'],
    });
  });
  it('join when somebody has some, or was let in before', () => {
    for (const h1 of [{ blank: false }, { blank: true, admitted: true }])
      expect(admission(service, cluster, { ...blank, h1 }, three)).toEqual({
        how: 'join',
        hosts: ['h2', 'h3'],
        full: ['h1'],
      });
  });
  it('begin nothing beside data of nodes that had other addresses', () => {
    const others = ['rabbit-jobs@10.93.9.11'];
    expect(why({ ...blank, h1: { blank: true, others } })).toMatch(
      /h1 has that of rabbit-jobs@10\.93\.9\.11 \(\/root\/h1\/members\/jobs@h1\/data\/mnesia\/.*Give the hosts back the addresses/,
    );
    // What is on a host that it has left is no cluster to join.
    expect(why({ ...blank, h1: { blank: true, others }, h4: { blank: false } })).toMatch(
      'Give the hosts back',
    );
    // Only one has another address: the others are the cluster, and it joins them as a new node.
    expect(
      admission(service, cluster, { ...blank, h1: { blank: true, others }, h2: { blank: false } }, ['h1'])
        ?.how,
    ).toBe('join');
  });
  it('begin nothing while a host that may have the data cannot be asked, also one that left the file', () => {
    expect(why({ ...blank, h3: {} })).toMatch(/^h3 cannot be asked .* bring it back and run up again$/);
    expect(why({ ...blank, h4: {}, h5: {} })).toMatch(
      /^h4, h5 cannot be asked .*gone for good: phalanx forget h4, phalanx forget h5$/,
    );
  });
  it('begin nothing beside data of hosts that left the file, which is told with what to do', () => {
    const found = admission(service, cluster, { ...blank, h4: { blank: false } }, three);
    expect(found).toMatchObject({ how: 'join', full: ['h4'] });
    expect(leftBehindText(service, cluster, ['h4'])).toMatch('put h4 back under `hosts`');
    expect(leftBehindText(service, cluster, ['h1', 'h4'])).toBeUndefined();
  });
});

it('whom it joins is said where the file has none of them', () => {
  expect(peersConf(service, cluster, [node('h1'), node('h4'), node('h5')])).toBe(
    `cluster_formation.classic_config.nodes.4 = ${node('h4')}\ncluster_formation.classic_config.nodes.5 = ${node('h5')}\n`,
  );
});
