import type { BasePlan, Step } from './engine.ts';

/** Puts `steps` one after the other: each needs the one before it, besides what it needs already. */
export function chain(steps: Step[]): Step[] {
  return steps.map((step, i) =>
    i === 0 ? step : { ...step, needs: [...new Set([...step.needs, steps[i - 1]!.id])] },
  );
}

/** Every step of a base plan, members side by side. */
export const sideBySide = (base: BasePlan): Step[] => [...base.byMember.values()].flat();

/**
 * A rolling change: members that run and must restart go one after the other, each taken out of the traffic before
 * and put back after it is ready, so a member that does not come up stops the roll and the others keep serving; also in the
 * next run, where it runs what it is to run and still does not serve. Members that nobody is served by yet (new, or found dead) are brought up first, side by side.
 */
export function rolling(base: BasePlan): Step[] {
  const fresh: Step[] = [];
  const gate: string[] = [];
  const idle: Step[] = [];
  const turns: Step[][] = [];
  for (const member of base.members) {
    const own = base.byMember.get(member.name) ?? [];
    if (!own.some((step) => step.verb === 'restart')) {
      // Whose host does not answer, and who was never there, holds up nobody.
      const seen = base.observed.get(member.name);
      const ready = own.length === 0 && seen?.running ? base.ready(member) : undefined;
      if (ready) idle.push(ready);
      fresh.push(...own);
      const last = ready ?? (seen?.present ? own.at(-1) : undefined);
      if (last) gate.push(last.id);
      continue;
    }
    const { before, after } = base.around(member);
    const write = own.filter((step) => step.verb === 'write');
    const rest = own.filter((step) => step.verb !== 'write');
    turns.push(chain([...write, ...before, ...rest, ...after]));
  }
  const rolled = chainTurns(turns);
  const [first, ...others] = rolled;
  if (first === undefined) return fresh;
  const needs = [...first.needs, ...gate];
  return [...fresh, ...idle, { ...first, needs, after: fresh.map((step) => step.id) }, ...others];
}

/** Each turn begins only when the one before it has been done whole. */
function chainTurns(turns: Step[][]): Step[] {
  return turns.flatMap((turn, i) => {
    const previous = turns[i - 1]?.at(-1);
    const [first, ...rest] = turn;
    return previous ? [{ ...first!, needs: [...first!.needs, previous.id] }, ...rest] : turn;
  });
}
