import { describe, expect, it } from 'vitest';
import { againstLeaving, againstStopping, lacking } from './queues.ts';
import { classic, node, quorum, sample, view } from './sample.ts';

const three = ['h1', 'h2', 'h3'];
const four = [...three, 'h4'];

describe('members that queues lack', () => {
  const where = (hosts: string[], of: ReturnType<typeof view>, spec = {}) => {
    const { service, cluster } = sample(hosts, spec);
    return lacking(service, cluster, of).map((one) => `${one.queue.name} ${one.node}`);
  };

  it('a whole queue lacks none', () => {
    expect(where(three, view(three, [quorum('mail', three)]))).toEqual([]);
  });
  it('a node that joined gets every queue', () => {
    expect(where(four, view(four, [quorum('mail', three)]))).toEqual([`mail ${node('h4')}`]);
  });
  it('no more than the file says, and the emptiest nodes first', () => {
    const spec = { queues: { a: { members: 3 }, b: { members: 1 }, c: { members: 1 } } };
    const queues = [quorum('a', ['h1']), quorum('b', ['h2']), quorum('c', ['h3'])];
    expect(where(four, view(four, queues), spec)).toEqual([`a ${node('h4')}`, `a ${node('h2')}`]);
  });
  it('no more than five where nothing is said', () => {
    const six = [...four, 'h5', 'h6'];
    expect(where(six, view(six, [quorum('mail', three)]))).toHaveLength(2);
  });
  it('a member on a node that leaves does not count', () => {
    const moved = view([...three, 'h4'], [quorum('mail', ['h1', 'h2', 'h4'])]);
    expect(where(three, moved)).toEqual([`mail ${node('h3')}`]);
  });
  it('classic queues have no members', () => {
    expect(where(three, view(three, [classic('old', 'h1')]))).toEqual([]);
  });
});

describe('against stopping a node', () => {
  const against = (of: ReturnType<typeof view>, critical: { name: string; virtual_host: string }[] = []) => {
    const { service, cluster } = sample(three);
    return againstStopping(service, cluster, of, node('h1'), critical);
  };

  it('nothing, when all is whole', () => {
    expect(against(view(three, [quorum('mail', three)]))).toEqual([]);
  });
  it('another node is down: the rest would be no majority', () => {
    expect(against(view(three, [], ['h3']))).toEqual(['without it 1 of 3 nodes would run: h3 is down']);
  });
  it('a queue that RabbitMQ calls critical is named with its members', () => {
    const of = view(three, [quorum('mail', three, ['h1', 'h2'])]);
    expect(against(of, [{ name: 'mail', virtual_host: '/' }])).toEqual([
      'queue mail would lose its majority: 2 of 3 members online',
    ]);
  });
  it('a queue of two members stops with either: it never holds a restart for ever', () => {
    const pair = quorum('mail', ['h1', 'h2']);
    pair.arguments['x-quorum-initial-group-size'] = 2;
    expect(against(view(three, [pair]), [{ name: 'mail', virtual_host: '/' }])).toEqual([]);
  });
  it('a queue that has two members for now, and is to have three, is not stopped with either', () => {
    expect(
      against(view(three, [quorum('mail', ['h1', 'h2'])]), [{ name: 'mail', virtual_host: '/' }]),
    ).toEqual(['queue mail would lose its majority: 2 of 2 members online']);
  });
  it('a mirrored queue whose mirrors are behind', () => {
    const behind = classic('old', 'h1', ['h2'], { synchronised_slave_nodes: [] });
    expect(against(view(three, [behind]))).toEqual(['queue old has no mirror that is in step']);
  });
});

describe('against leaving', () => {
  const against = (of: ReturnType<typeof view>) => {
    const { service, cluster } = sample(three, {}, ['h4']);
    return againstLeaving(service, cluster, of, node('h4'));
  };

  it('nothing, when every member that stays is online', () => {
    expect(against(view(four, [quorum('mail', four), classic('old', 'h1')]))).toEqual([]);
  });
  it('a member that stays is offline: one more fault would stop the queue', () => {
    expect(against(view(four, [quorum('mail', four, ['h1', 'h3', 'h4'])], ['h2']))).toEqual([
      'queue mail is critical: without h4 2 of 3 members would be online',
    ]);
  });
  it('a classic queue that is nowhere else, empty or not', () => {
    expect(against(view(four, [classic('old', 'h4', [], { messages: 7 })]))).toEqual([
      'queue old is on h4 alone, with 7 messages',
    ]);
    expect(against(view(four, [classic('old', 'h4')]))[0]).toMatch('queue old is on h4 alone');
    expect(against(view(four, [classic('old', 'h4', ['h1'])]))).toEqual([]);
  });
  it('of a node that is down only what was named goes with it, and nothing once it runs again', () => {
    const { service, cluster } = sample(three, {}, ['h4']);
    const given = (down: string[]) => {
      const of = view(four, [classic('old', 'h4'), classic('other', 'h4')], down);
      return againstLeaving(service, cluster, of, node('h4'), [{ name: 'old', vhost: '/' }]).join();
    };
    expect(given(['h4'])).toMatch(/^queue other is on h4 alone, which is down: .*--allow-data-loss jobs$/);
    expect(given([])).toMatch(/queue old is on h4 alone.*queue other is on h4 alone/);
  });
  it('the only member goes when another node can take its place, and not before', () => {
    expect(against(view(four, [quorum('mail', ['h4'])]))).toEqual([]);
    expect(against(view(['h4'], [quorum('mail', ['h4'])]))).toContain('queue mail has its only member on h4');
  });
  it('a stream has a replica there, and of a type that nobody knows nobody knows where it is', () => {
    const { leader: _, online: __, ...stream } = { ...quorum('log', ['h1', 'h4']), type: 'stream' };
    expect(against(view(four, [stream]))[0]).toMatch('queue log (stream) has a replica on h4');
    expect(against(view(four, [{ ...stream, members: [node('h1'), node('h2')] }]))).toEqual([]);
    const { members: ___, ...strange } = stream;
    expect(against(view(four, [{ ...strange, type: 'rabbit_mqtt' }]))[0]).toMatch(
      'queue log (rabbit_mqtt) may be on h4',
    );
  });
  it('the last disk node', () => {
    expect(against(view(four, [], three))).toEqual(['h4 is the last disk node that runs']);
  });
});
