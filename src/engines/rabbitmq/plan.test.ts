import { describe, expect, it } from 'vitest';
import type { BasePlan, Member, Step } from '../engine.ts';
import type { Definitions } from './definitions.ts';
import type { RabbitLive } from './live.ts';
import { rabbitMembers } from './members.ts';
import { passwordHash } from './password.ts';
import { planRabbit } from './plan.ts';
import { classic, liveOf, node, nothing, quorum, sample, view } from './sample.ts';

const three = ['h1', 'h2', 'h3'];
const defined: Definitions = {
  ...nothing,
  users: [{ name: 'jobs', password_hash: passwordHash('app-word'), tags: [] }],
  permissions: [{ user: 'jobs', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
};

const generic = (verb: string, name: string, needs: string[] = []): Step => ({
  id: `${verb} ${name}`,
  verb,
  target: name,
  host: name.split('@')[1]!,
  service: 'jobs',
  why: '',
  needs,
  do: { kind: 'script', script: 'true', timeoutMs: 1 },
});

/** The generic steps, by host: 'start' brings one up from nothing, 'restart' takes in a change. */
function base(
  members: Member[],
  work: Record<string, 'start' | 'restart'>,
  leaving: string[] = [],
): BasePlan {
  return {
    members,
    observed: new Map(),
    byMember: new Map(
      members.map((member) => {
        const how = work[member.host];
        const steps = how
          ? ['write', how, 'ready'].map((verb, i, all) =>
              generic(verb, member.name, i > 0 ? [`${all[i - 1]} ${member.name}`] : []),
            )
          : [];
        return [member.name, steps];
      }),
    ),
    leaving: new Map(
      leaving.map((host) => [
        `jobs@${host}`,
        [generic('stop', `jobs@${host}`), generic('remove', `jobs@${host}`, [`stop jobs@${host}`])],
      ]),
    ),
    ready: () => undefined,
    around: (member) => ({
      before: [generic('drain', member.name)],
      after: [generic('undrain', member.name)],
    }),
    dismiss: () => [],
  };
}

function planned(
  live: RabbitLive | undefined,
  work: Record<string, 'start' | 'restart'> = {},
  { hosts = three, leaving = [], spec = {} }: { hosts?: string[]; leaving?: string[]; spec?: object } = {},
): Step[] {
  const { service, cluster } = sample(hosts, { ...spec }, leaving);
  return planRabbit(service, cluster, live, base(rabbitMembers(service, cluster), work, leaving));
}
const ids = (steps: Step[]): string[] => steps.map((step) => step.id);
const find = (steps: Step[], id: string): Step => {
  const step = steps.find((one) => one.id === id);
  if (!step) throw new Error(`no step ${id} in ${ids(steps).join(', ')}`);
  return step;
};
/** Whether `id` waits, directly or not, for `before` to be done. */
const behind = (steps: Step[], id: string, before: string): boolean => {
  const { needs } = find(steps, id);
  return (
    needs.includes(before) || needs.some((one) => ids(steps).includes(one) && behind(steps, one, before))
  );
};

const full = { h1: false, h2: false, h3: false };
const whole = (queues = [quorum('mail', three)]) => liveOf(view(three, queues, [], defined), full);

describe('a plan', () => {
  it('whole: nothing to do, whoever leads', () => {
    expect(planned(whole())).toEqual([]);
    expect(planned(whole([quorum('mail', ['h3', 'h2', 'h1'])]))).toEqual([]);
  });

  it('from nothing: nodes are admitted before they are waited for, then the definitions', () => {
    const steps = planned(undefined, { h1: 'start', h2: 'start', h3: 'start' });
    for (const host of three) {
      expect(find(steps, `ready jobs@${host}`).needs).toContain('admit jobs');
      expect(find(steps, 'admit jobs').after).toContain(`start jobs@${host}`);
      expect(find(steps, 'define jobs').after).toContain(`ready jobs@${host}`);
    }
  });

  it('a node that was stopped is started, and nobody else is touched', () => {
    const steps = planned(liveOf(view(three, [quorum('mail', three, ['h1', 'h3'])], ['h2'], defined), full), {
      h2: 'start',
    });
    expect(ids(steps)).toEqual(['write jobs@h2', 'start jobs@h2', 'ready jobs@h2']);
  });

  it('restarts go one after the other, each behind its gate and before the next one', () => {
    const steps = planned(whole(), { h1: 'restart', h2: 'restart', h3: 'restart' });
    for (const host of three) {
      expect(behind(steps, `drain jobs@${host}`, `gate jobs@${host}`)).toBe(true);
      expect(behind(steps, `restart jobs@${host}`, `drain jobs@${host}`)).toBe(true);
      expect(behind(steps, `undrain jobs@${host}`, `rejoin jobs@${host}`)).toBe(true);
    }
    expect(behind(steps, 'restart jobs@h2', 'undrain jobs@h1')).toBe(true);
    expect(behind(steps, 'restart jobs@h3', 'undrain jobs@h2')).toBe(true);
  });

  it('a node that lost its data is admitted and gets its members back', () => {
    const live = liveOf(view(three, [quorum('mail', three, ['h1', 'h3'])], ['h2'], defined), {
      ...full,
      h2: true,
    });
    const steps = planned(live, { h2: 'start' });
    expect(find(steps, 'admit jobs').why).toMatch('h2 without data');
    expect(find(steps, 'spread jobs').why).toMatch('mail on h2');
    expect(find(steps, 'spread jobs').after).toContain('ready jobs@h2');
  });

  it('a node that runs and waits to be admitted is waited for as well', () => {
    const steps = planned(liveOf(view(['h1', 'h3'], [], [], defined), { ...full, h2: true }));
    expect(find(steps, 'ready jobs@h2').needs).toContain('admit jobs');
  });

  it('a node that is being let in is waited for, neither admitted twice nor taken for a stray', () => {
    for (const blank of [true, false]) {
      const live = liveOf(view(['h1', 'h3'], [], [], defined), { ...full, h2: blank });
      live.hosts['h2']!.admitted = true;
      expect(ids(planned(live))).toEqual(['ready jobs@h2']);
    }
  });

  it('a node whose process runs and does not serve is waited for: a start that hangs is not nothing to do', () => {
    const live = whole();
    live.hosts['h2'] = { blank: false, idle: true, port: 25672 };
    expect(ids(planned(live))).toEqual(['ready jobs@h2']);
    expect(ids(planned(live, { h2: 'restart' })).filter((id) => id === 'ready jobs@h2')).toHaveLength(1);
  });

  it('data of a member that the cluster forgot is set aside, never deleted', () => {
    const live = liveOf(view(['h1', 'h3'], [], [], defined), full);
    live.hosts['h2']!.idle = true;
    const steps = planned(live, { h2: 'start' });
    const aside = find(steps, 'set aside jobs@h2');
    expect(aside.destroys).toBeUndefined();
    expect(aside.do.kind === 'script' && aside.do.script).toMatch(/mv mnesia "set-aside-/);
    expect(behind(steps, 'start jobs@h2', 'set aside jobs@h2')).toBe(true);
    expect(behind(steps, 'ready jobs@h2', 'admit jobs')).toBe(true);
  });

  it('a node that serves alone is taken back only with leave', () => {
    const live = liveOf(view(['h1', 'h3'], [], [], defined), full);
    live.hosts['h2']!.nodes = view(['h2'], []).nodes;
    expect(find(planned(live), 'set aside jobs@h2').destroys).toBe('jobs');
  });

  it('nor is one that runs and is too slow to answer, since it may serve alone', () => {
    const live = liveOf(view(['h1', 'h3'], [], [], defined), full);
    Object.assign(live.hosts['h2']!, { port: 25672, why: 'does not answer within 3 s' });
    const aside = find(planned(live), 'set aside jobs@h2');
    expect(aside.destroys).toBe('jobs');
    expect(aside.why).toMatch('may serve as a cluster of its own (does not answer within 3 s)');
  });

  it('a node that was split off, and that RabbitMQ has not taken back, is restarted, alone', () => {
    const live = liveOf(view(three, [quorum('mail', three, ['h1', 'h3'])], ['h2'], defined), full);
    expect(planned(live)).toEqual([]);
    live.hosts['h2']!.nodes = view(three, [], ['h1', 'h3']).nodes;
    const steps = planned(live);
    expect(find(steps, 'restart jobs@h2').destroys).toBeUndefined();
    expect(steps.filter((step) => step.verb === 'restart')).toHaveLength(1);
    expect(find(planned(live, {}, { spec: { partitions: 'ignore' } }), 'restart jobs@h2').destroys).toBe(
      'jobs',
    );
  });

  it('a side of a split is restarted only with leave where it may have taken messages, also for another reason', () => {
    const live = liveOf(view(three, [], ['h2'], defined), full);
    live.hosts['h2']!.nodes = view(three, [], ['h1', 'h3']).nodes;
    for (const partitions of ['ignore', 'autoheal']) {
      const steps = planned(live, { h2: 'restart' }, { spec: { partitions } });
      expect(find(steps, 'restart jobs@h2').destroys).toBe('jobs');
      // Not done without leave, and so is nothing that leads to it.
      expect(ids(steps)).not.toContain('drain jobs@h2');
    }
    expect(find(planned(live, { h2: 'restart' }), 'restart jobs@h2').destroys).toBeUndefined();
  });

  it('autoheal is left to itself while the sides do not reach each other', () => {
    const live = liveOf(view(three, [], ['h2'], defined), full);
    live.hosts['h2']!.nodes = view(three, [], ['h1', 'h3']).nodes;
    live.hosts['h2']!.connected = [];
    expect(planned(live, {}, { spec: { partitions: 'autoheal' } })).toEqual([]);
    live.hosts['h2']!.connected = [node('h1')];
    const steps = planned(live, {}, { spec: { partitions: 'autoheal' } });
    expect(find(steps, 'restart jobs@h2').destroys).toBe('jobs');
  });

  it('queues get the members that they lack before any node is restarted', () => {
    const live = liveOf(view(three, [quorum('mail', three, ['h1', 'h3'])], ['h2'], defined), {
      ...full,
      h2: true,
    });
    live.hosts['h2']!.idle = true;
    for (const h2 of ['start', 'restart'] as const) {
      const steps = planned(live, { h1: 'restart', h2, h3: 'restart' });
      expect(find(steps, 'spread jobs').after).toContain('ready jobs@h2');
      expect(find(steps, 'write jobs@h1').after).toContain('spread jobs');
      expect(find(steps, 'admit jobs').after).toContain(`${h2} jobs@h2`);
      expect(behind(steps, 'restart jobs@h3', 'restart jobs@h1')).toBe(true);
    }
  });

  it('a changed port or address is refused while there is something to lose, and nothing else is done, nor does a node leave', () => {
    const moved = whole();
    moved.hosts['h2']!.port = 25673;
    const renamed: RabbitLive = { hosts: { h1: { blank: true, others: ['rabbit-jobs@10.9.9.9'] }, h2: {} } };
    for (const [live, why] of [
      [moved, /jobs@h2 runs with port 5673, and the file says 5672.*phalanx down/],
      [renamed, /h1 has that of rabbit-jobs@10\.9\.9\.9/],
    ] as const) {
      const steps = planned(live, { h1: 'restart' }, { leaving: ['h4'] });
      expect(ids(steps)).toEqual(['hold jobs', 'stop jobs@h4', 'remove jobs@h4']);
      expect(steps[0]!.why).toMatch(why);
      expect(steps.slice(1).every((step) => step.needs.includes('hold jobs'))).toBe(true);
    }
  });

  it('a node of another type than the file says is never passed over in silence', () => {
    const steps = planned(whole(), {}, { spec: { ram: ['h3'] } });
    expect(ids(steps)).toEqual(['hold jobs@h3']);
    expect(steps[0]!.why).toMatch('it is a disk node, and by `ram` a RAM node');
  });

  it('a node leaves after its queues, and is forgotten before its files go', () => {
    const four = [...three, 'h4'];
    const live = liveOf(view(four, [quorum('mail', four)], [], defined), { ...full, h4: false });
    const steps = planned(live, {}, { leaving: ['h4'] });
    expect(ids(steps)).toEqual(['release jobs@h4', 'stop jobs@h4', 'forget jobs@h4', 'remove jobs@h4']);
    expect(behind(steps, 'stop jobs@h4', 'release jobs@h4')).toBe(true);
    expect(behind(steps, 'forget jobs@h4', 'stop jobs@h4')).toBe(true);
    expect(behind(steps, 'remove jobs@h4', 'forget jobs@h4')).toBe(true);
  });

  it('what stands against it is in the plan', () => {
    const live = liveOf(
      view([...three, 'h4'], [classic('old', 'h4', [], { messages: 3 })], [], defined),
      full,
    );
    expect(find(planned(live, {}, { leaving: ['h4'] }), 'release jobs@h4').why).toMatch(
      'queue old is on h4 alone, with 3 messages',
    );
  });

  it('a node that is down leaves only with leave while a queue is there alone, and the plan names the queue', () => {
    const live = liveOf(view([...three, 'h4'], [classic('old', 'h4')], ['h4'], defined), full);
    const release = find(planned(live, {}, { leaving: ['h4'] }), 'release jobs@h4');
    expect(release.destroys).toBe('jobs');
    expect(release.why).toMatch('what it alone has goes with it (queue old)');
    expect(release.do).toMatchObject({ action: { args: { lost: [{ name: 'old', vhost: '/' }] } } });
  });

  it('a replaced disk took classic queues along, which are made again in the same up; while a node is down its queues are not missing', () => {
    const definitions = { ...defined, queues: [{ ...classic('old', 'h2'), down: true as const }] };
    const live = liveOf(view(three, [classic('old', 'h2')], ['h2'], definitions), full);
    const spec = {
      queues: { old: { type: 'classic' } },
      bindings: [{ from: 'amq.topic', to: 'old', key: 'x' }],
    };
    expect(ids(planned(live, { h2: 'start' }, { spec }))).not.toContain('define jobs');
    live.hosts['h2']!.blank = true;
    const steps = planned(live, { h2: 'start' }, { spec });
    expect(find(steps, 'define jobs').why).toBe(
      'queue old is missing; binding amq.topic -> old (x) is missing',
    );
  });

  it('a node whose host is gone is forgotten all the same', () => {
    const live = liveOf(view([...three, 'h4'], [quorum('mail', three)], ['h4'], defined), full);
    expect(ids(planned(live))).toEqual([`release ${node('h4')}`, `forget ${node('h4')}`]);
  });

  it('a queue of another nature is a step of its own, which destroys', () => {
    const live = liveOf(
      view(three, [], [], {
        ...defined,
        queues: [{ name: 'mail', vhost: '/', durable: true, arguments: {} }],
      }),
      full,
    );
    const steps = planned(live, {}, { spec: { queues: { mail: {}, new: {} } } });
    expect(find(steps, 'replace jobs queue mail').destroys).toBe('jobs');
    expect(find(steps, 'define jobs').destroys).toBeUndefined();
    expect(find(steps, 'define jobs').why).toBe('queue new is missing');
  });
});
