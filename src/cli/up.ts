import { statSync } from 'node:fs';
import { join } from 'node:path';
import { apply, type Outcome } from '../cluster/apply.ts';
import { interrupted, Journal } from '../cluster/journal.ts';
import { observe } from '../cluster/observe.ts';
import { type Plan, plan } from '../cluster/plan.ts';
import { writeKept } from '../cluster/state.ts';
import { healLeftOver } from '../drill/standing.ts';
import type { Step } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { UserError } from './error.ts';
import { bold, dim, green, red, tookText, yellow } from './paint.ts';
import { planJson, planLines } from './plan.ts';
import { progressView } from './progress.ts';
import { saysYes } from './question.ts';
import {
  doubts,
  forget,
  lockAndKeep,
  needReleases,
  openSession,
  packReleases,
  type Session,
  takeDevices,
} from './session.ts';

export interface UpOptions {
  yes?: boolean;
  json?: boolean;
  /** Services whose data may be destroyed. */
  allowDataLoss?: string[];
}

/** `phalanx up`: plan, show it, apply it. Gives the exit status: 0 done, 1 failed. */
export async function up(file: string | undefined, options: UpOptions): Promise<number> {
  const began = performance.now();
  const session = await openSession(file);
  const allowed = options.allowDataLoss ?? [];
  const strangers = allowed.filter((name) => !(name in session.cluster.services));
  const swallowed = strangers.find((name) => statSync(name, { throwIfNoEntry: false })?.isFile());
  if (swallowed !== undefined) throw noService(session, swallowed);
  const lock = await lockAndKeep(session);
  try {
    packReleases(session);
    const journalPath = join(session.cluster.home, 'journal.jsonl');
    if (!options.json) tellInterrupted(journalPath);
    const healed = await healLeftOver(session.cluster, session.reach);
    if (healed !== undefined) console.error(yellow(healed));
    const made = await planNow(session);
    writeKept(session.cluster.home, session.kept);
    // A service that left the file may have data to lose as well.
    const stranger = strangers.find((name) => !made.steps.some(({ destroys }) => destroys === name));
    if (stranger !== undefined) throw noService(session, stranger);
    const steps = permitted(made, allowed);
    const refused = made.steps.filter((step) => !steps.includes(step)).map(({ id }) => id);
    if (steps.length === 0) {
      const outcome = refused.length > 0 ? 'refused' : 'done';
      if (options.json)
        console.log(JSON.stringify({ cluster: session.cluster.name, steps: [], outcome, refused }));
      else if (refused.length === 0)
        console.log(`${green('nothing to do')}: cluster ${bold(session.cluster.name)} is as the file says`);
      for (const why of Object.values(made.away)) console.error(`${yellow('not looked at')}: host ${why}`);
      tellLost(made);
      return made.steps.length === 0 && Object.keys(made.away).length === 0 ? 0 : 1;
    }
    if (options.json) console.log(JSON.stringify({ cluster: session.cluster.name, steps: planJson(steps) }));
    else console.log(planLines(session.cluster, steps).join('\n'));
    if (!(await agreed(steps, options))) {
      console.log('nothing was changed');
      return 1;
    }
    const journal = new Journal(journalPath);
    const outcome = await carryOut(session, steps, journal, 'up', options.json === true, made.away);
    const left = Object.keys(session.cluster.former ?? {});
    forget(
      session,
      left.filter((name) => outcome.done.some(({ id }) => id === `leave ${name}`)),
    );
    if (!options.json) tellLost(made);
    const ms = performance.now() - began;
    return tellOutcome(session, { ...outcome, refused, away: made.away }, ms, options.json === true);
  } finally {
    await lock.release();
  }
}

const noService = ({ cluster }: Session, name: string): UserError =>
  new UserError(
    `--allow-data-loss ${name}: cluster ${cluster.name} of ${cluster.file} has no service ${name}`,
    'every word after --allow-data-loss is a service: the file comes before it, or with -f',
  );

/** Observes and plans; refuses, with every reason, where the whole plan may not be done. What machines say of themselves is in the session then, to be kept. */
export async function planNow(session: Session): Promise<Plan> {
  const [doubt] = doubts(session);
  if (doubt) throw doubt;
  needReleases(session);
  let observed = await observe(session.cluster, engines, session.reach);
  const late = session.learnt.silent.find((name) => name in observed.handed);
  if (late !== undefined)
    throw new UserError(
      `${late} did not answer at first, and holds the state of a cluster ${session.cluster.name}`,
      'once more, now that it does',
    );
  // It was asked what is set for the interface of before.
  if (takeDevices(session, observed.machines))
    observed = await observe(session.cluster, engines, session.reach);
  const made = plan(session.cluster, engines, observed);
  if (made.refusals.length > 0) throw new UserError(made.refusals.join('\n'));
  return made;
}

/** Machines that left the file and are not there to be left in order. */
export function tellLost({ lost }: Plan): void {
  for (const name of lost)
    console.error(
      `${yellow(name)} left the file and does not answer: what is on it stays there. When it is gone for good: phalanx forget ${name}`,
    );
}

function tellInterrupted(journalPath: string): void {
  const cut = interrupted(journalPath);
  if (!cut) return;
  console.log(
    dim(
      `the last ${cut.command} (${cut.at}) was cut short after ${cut.done} of ${cut.of} steps; going on from what is there`,
    ),
  );
}

/** The steps that may be done: those that destroy data only where it was allowed by name, and none that need them. */
function permitted(made: Plan, allowed: string[]): Step[] {
  const refused = made.steps.filter(
    (step) => step.destroys !== undefined && !allowed.includes(step.destroys),
  );
  if (refused.length === 0) return made.steps;
  for (const step of refused)
    console.error(
      `${yellow('not done')}: ${step.id} would destroy data of ${step.destroys} (${step.why}); allow it with --allow-data-loss ${step.destroys}`,
    );
  const out = new Set(refused.map((step) => step.id));
  let grew = true;
  while (grew) {
    grew = false;
    for (const step of made.steps)
      if (!out.has(step.id) && step.needs.some((id) => out.has(id))) {
        out.add(step.id);
        grew = true;
      }
  }
  return made.steps.filter((step) => !out.has(step.id));
}

async function agreed(steps: Step[], options: UpOptions): Promise<boolean> {
  const grave = steps.filter((step) => step.verb === 'install' || step.destroys !== undefined);
  if (grave.length === 0 || options.yes || options.json || !process.stdin.isTTY) return true;
  return saysYes(`${grave.map((step) => `${step.id}: ${step.why}`).join('\n')}\nGo on?`);
}

/**
 * Runs steps with progress shown and journalled. Ctrl-C lets what runs end and begins nothing new, and whoever has more to do than
 * these steps asks whether it was `interrupted`; a second one leaves at once.
 */
export async function carryOut(
  session: Session,
  steps: Step[],
  journal: Journal,
  command: string,
  json: boolean,
  away: Plan['away'] = {},
): Promise<Outcome & { interrupted: boolean }> {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130);
    console.error(
      `\nstopping after the steps that are under way (again: leave at once); ${command === 'down' ? 'down again goes on' : 'run up again to go on'}`,
    );
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const view = await progressView(steps.length, json);
  journal.write({ event: 'begin', command, steps: steps.map((step) => step.id) });
  try {
    const outcome = await apply(steps, {
      cluster: session.cluster,
      engines,
      reach: session.reach,
      journal,
      away,
      signal: stop.signal,
      onProgress: (progress) => view.on(progress),
    });
    const whole = outcome.failed.length + outcome.held.length === 0;
    journal.write({ event: 'end', outcome: outcome.stopped ? 'stopped' : whole ? 'done' : 'failed' });
    return { ...outcome, interrupted: stop.signal.aborted };
  } finally {
    view.close();
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

/** What became of a plan, with the steps that were not even tried: they would have destroyed data, or need one that would. */
type Ending = Outcome & { refused: string[]; away: Plan['away'] };

function tellOutcome(session: Session, outcome: Ending, ms: number, json: boolean): number {
  const { away, refused } = outcome;
  const failed = outcome.failed.length + outcome.held.length > 0;
  const state = outcome.stopped ? 'stopped' : failed ? 'failed' : refused.length > 0 ? 'refused' : 'done';
  if (json) {
    const named = (list: { step: Step; why: string }[]) =>
      list.map(({ step, why }) => ({ step: step.id, why }));
    console.log(
      JSON.stringify({
        outcome: state,
        ms: Math.round(ms),
        failed: named(outcome.failed),
        held: named(outcome.held),
        skipped: named(outcome.skipped),
        refused,
      }),
    );
    return state === 'done' ? 0 : 1;
  }
  if (state === 'done') {
    console.log(`${green('done')} in ${tookText(ms)}: cluster ${bold(session.cluster.name)} is up`);
    for (const line of doors(session)) console.log(`  ${line}`);
    return 0;
  }
  const parts = [
    `${outcome.done.length} done`,
    ...(outcome.failed.length > 0 ? [red(`${outcome.failed.length} failed`)] : []),
    ...(outcome.held.length > 0 ? [yellow(`${outcome.held.length} held`)] : []),
    ...(outcome.skipped.length > 0 ? [`${outcome.skipped.length} not tried`] : []),
    ...(refused.length > 0 ? [yellow(`${refused.length} not done`)] : []),
  ];
  const next =
    state === 'refused' ? 'allow the rest by name, or change the file' : 'mend it and run up again';
  console.log(`${red(state)} after ${tookText(ms)}: ${parts.join(', ')}. What is up stays up; ${next}`);
  if (refused.length > 0) console.log(`  not done without --allow-data-loss: ${refused.join(', ')}`);
  const waiting = [...outcome.held, ...outcome.skipped].map(({ step }) => step);
  for (const [host, why] of Object.entries(away)) {
    const here = waiting.filter((step) => step.host === host || hostOf(session, step) === host);
    console.log(`  ${yellow(host)} does not answer (${why.replace(`${host}: `, '')})`);
    if (here.length > 0) console.log(`    waits for it: ${here.map((step) => step.id).join(', ')}`);
  }
  const others = waiting.filter((step) => !((step.host ?? hostOf(session, step) ?? '') in away));
  if (Object.keys(away).length > 0 && others.length > 0)
    console.log(`  waits for these in turn: ${others.map((step) => step.id).join(', ')}`);
  return 1;
}

/** The host of the member that a step is about. */
const hostOf = (session: Session, step: Step): string | undefined => {
  const host = step.target.slice(step.target.lastIndexOf('@') + 1);
  return host in session.cluster.hosts ? host : undefined;
};

/** Where to knock: each service's address as its engine gives it, without those that carry a secret. */
function doors(session: Session): string[] {
  return Object.values(session.cluster.services).flatMap((service) => {
    const given = engines[service.type]!.address?.(service, session.cluster) ?? {};
    const secret = Object.values(session.cluster.secrets);
    const url = given['URL'];
    return url && !secret.some((one) => url.includes(one)) ? [`${service.name}  ${url}`] : [];
  });
}
