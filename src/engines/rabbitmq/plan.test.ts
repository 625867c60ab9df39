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
    around: (member) => ({
      before: [generic('drain', member.name)],
      after: [generic('undrain', member.name)],
    }),
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

  it('data of a member that the cluster forgot is set aside, never deleted', () => {
    const live = liveOf(view(['h1', 'h3'], [], [], defined), full);
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
