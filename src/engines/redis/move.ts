import type { EngineAction, Step } from '../engine.ts';

/** Something to do to a running service: what becomes a step of the plan, or is done at once while a service settles. */
export interface Move {
  id: string;
  verb: string;
  target: string;
  why: string;
  /** Ids of moves that come before. */
  needs: string[];
  destroys?: string;
  action: EngineAction;
}

export function move(
  verb: string,
  target: string,
  why: string,
  action: EngineAction,
  more: { needs?: string[]; destroys?: string; id?: string } = {},
): Move {
  const { needs = [], destroys, id = `${verb} ${target}` } = more;
  return { id, verb, target, why, needs, action, ...(destroys === undefined ? {} : { destroys }) };
}

/** Nothing can be done now, and waiting may help: an election, a member that reads its data. */
export const wait = (target: string, why: string): Move =>
  move('wait for', target, why, { name: 'wait', args: { why } });

/** Nothing may be done until a person has decided. */
export const hold = (target: string, why: string): Move =>
  move('hold', target, why, { name: 'hold', args: { why } });

/** A member that leaves is a copy, and one that the file wants is not there: the last replica waits. */
export function stays(member: { name: string }, of: string, missing: { name: string }[]): Move {
  const names = missing.map(({ name }) => name).join(', ');
  const silent = names === '' ? '' : `: ${names} ${missing.length === 1 ? 'does' : 'do'} not answer`;
  return hold(
    member.name,
    `it stays while ${of} lacks a member${silent}. Bring back what is missing, or take it out of the file as well`,
  );
}

/** Waits until a replica has its master's data: a copy that was begun is none yet, and others leave on its account. */
export const copied = (name: string, needs: string[]): Move =>
  move(
    'sync',
    name,
    'until it has its data: others leave',
    { name: 'sync', args: { member: name } },
    { id: `copied ${name}`, needs },
  );

export const blocks = (one: Move): boolean => one.action.name === 'hold' || one.action.name === 'wait';

export const stepOf = (service: string, one: Move): Step => ({
  id: one.id,
  verb: one.verb,
  target: one.target,
  service,
  why: one.why,
  needs: one.needs,
  ...(one.destroys === undefined ? {} : { destroys: one.destroys }),
  do: { kind: 'engine', service, action: one.action },
});
