import { expect, it } from 'vitest';
import type { BasePlan, Member, MemberState, Step } from './engine.ts';
import { rolling } from './rolling.ts';

const member = (name: string): Member => ({ name, service: 'web', host: name.split('@')[1]! }) as Member;
const state = (name: string, running: boolean): MemberState => ({
  name,
  host: name.split('@')[1]!,
  reachable: true,
  present: true,
  running,
  files: {},
});
const steps = (name: string, ...verbs: string[]): Step[] =>
  verbs.map((verb, i) => ({
    id: `${verb} ${name}`,
    verb,
    target: name,
    why: '',
    needs: i === 0 ? [] : [`${verbs[i - 1]} ${name}`],
    do: { kind: 'machine', script: ':', timeoutMs: 1 },
  }));

/** What is to be done with each member, and how it was found; undefined: its host did not answer, or it was never there. */
function base(members: Record<string, { todo: string[]; running?: boolean }>): BasePlan {
  return {
    members: Object.keys(members).map(member),
    byMember: new Map(Object.entries(members).map(([name, { todo }]) => [name, steps(name, ...todo)])),
    observed: new Map(
      Object.entries(members).flatMap(([name, { running }]) =>
        running === undefined ? [] : [[name, state(name, running)] as const],
      ),
    ),
    leaving: new Map(),
    ready: ({ name }) => steps(name, 'ready')[0],
    around: ({ name }) => ({ before: steps(name, 'drain'), after: steps(name, 'undrain') }),
    dismiss: () => [],
  };
}

const roll = ['write', 'restart', 'ready'];
const find = (plan: Step[], id: string): Step => plan.find((step) => step.id === id)!;

it('a member that has the new version and does not serve holds up the others, run after run', () => {
  const plan = rolling(
    base({
      'web@a': { todo: [], running: true },
      'web@b': { todo: roll, running: true },
      'web@c': { todo: roll, running: true },
    }),
  );
  expect(plan[0]!.id).toBe('ready web@a');
  expect(find(plan, 'write web@b').needs).toContain('ready web@a');
  expect(find(plan, 'write web@c').needs).toContain('undrain web@b');
});

it('so does one that ended and does not come up', () => {
  const plan = rolling(
    base({
      'web@a': { todo: ['write', 'start', 'ready'], running: false },
      'web@b': { todo: roll, running: true },
    }),
  );
  expect(find(plan, 'write web@b').needs).toContain('ready web@a');
});

it('nobody waits for a new member, nor for one whose host does not answer, but to have been tried', () => {
  const plan = rolling(
    base({ 'web@a': { todo: ['write', 'start', 'ready'] }, 'web@b': { todo: roll, running: true } }),
  );
  expect(find(plan, 'write web@b').needs).toEqual([]);
  expect(find(plan, 'write web@b').after).toContain('ready web@a');
});

it('where nothing restarts, nothing is asked of those that run', () => {
  expect(rolling(base({ 'web@a': { todo: [], running: true } }))).toEqual([]);
});
