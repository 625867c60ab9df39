import type { Step } from '../engines/engine.ts';
import type { Cluster } from '../file/cluster.ts';
import { bold, columns, dim, green, red, yellow } from './paint.ts';
import { openSession } from './session.ts';
import { planNow, tellLost } from './up.ts';

const verbColour = (step: Step): ((text: string) => string) => {
  if (step.destroys !== undefined || step.verb === 'remove') return red;
  if (['restart', 'drain', 'stop', 'reload'].includes(step.verb)) return yellow;
  return green;
};

/** The plan as a person reads it: what, where, why; a line a step, in the order they may begin. */
export function planLines(cluster: Cluster, steps: Step[]): string[] {
  const rows = steps.map((step) => [
    `  ${verbColour(step)(step.verb)}`,
    step.id.startsWith(`${step.verb} `) ? step.id.slice(step.verb.length + 1) : step.id,
    dim(step.why + (step.destroys ? `; destroys data of ${step.destroys}` : '')),
  ]);
  const count = steps.length === 1 ? '1 step' : `${steps.length} steps`;
  return [`plan for cluster ${bold(cluster.name)}: ${count}`, ...columns(rows)];
}

/** The plan for machines; scripts are left out, since they hold the content of files and with it secrets. */
export function planJson(steps: Step[]): unknown[] {
  return steps.map(({ id, verb, target, host, service, why, needs, after, destroys }) => ({
    id,
    verb,
    target,
    host,
    service,
    why,
    needs,
    after,
    destroys,
  }));
}

/** `phalanx plan`: what `up` would do, changing nothing. Exit status 0 nothing to do, 2 changes. */
export async function planCommand(file: string | undefined, options: { json?: boolean }): Promise<number> {
  const session = await openSession(file);
  const made = await planNow(session);
  const { steps } = made;
  if (options.json) console.log(JSON.stringify({ cluster: session.cluster.name, steps: planJson(steps) }));
  else if (steps.length === 0)
    console.log(`${green('nothing to do')}: cluster ${bold(session.cluster.name)} is as the file says`);
  else console.log(planLines(session.cluster, steps).join('\n'));
  if (!options.json) tellLost(made);
  return steps.length === 0 ? 0 : 2;
}
