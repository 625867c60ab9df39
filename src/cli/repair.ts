import { join } from 'node:path';
import { Journal } from '../cluster/journal.ts';
import type { Remedy } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { UserError } from './error.ts';
import { bold, green, yellow } from './paint.ts';
import { planJson, planLines } from './plan.ts';
import { saysYes } from './question.ts';
import { namedService, refused } from './service.ts';
import { lockAndKeep, openSession, type Session } from './session.ts';
import { carryOut } from './up.ts';

interface RepairOptions {
  yes?: boolean;
  way?: string;
  json?: boolean;
  /** Services whose data may be destroyed. */
  allowDataLoss?: string[];
}

/**
 * `phalanx repair MEMBER`: says what is damaged, shows what would mend it, and does that only when it is told to. Exit status 0 nothing
 * damaged or mended, 1 nothing mends it or it failed, 2 shown only.
 */
export async function repair(
  file: string | undefined,
  member: string,
  options: RepairOptions,
): Promise<number> {
  const session = await openSession(file);
  const service = namedService(session.cluster, /^[^.@]*/.exec(member)![0]);
  const diagnose = engines[service.type]!.repair;
  if (!diagnose) throw refused(`a service of type ${service.type} has no repair in this version`);
  const lock = await lockAndKeep(session);
  try {
    const remedy = await diagnose(service, session.cluster, session.reach, member, options.way).catch(
      (error: Error) => {
        throw refused(error);
      },
    );
    if (!remedy) {
      if (options.json) console.log(JSON.stringify({ member, outcome: 'sound' }));
      else console.log(`${green('nothing to repair')}: no damage to the data of ${bold(member)} was found`);
      return 0;
    }
    show(session, member, remedy, options);
    if (remedy.steps.length === 0) return 1;
    const loss = remedy.steps.find(
      ({ destroys }) => destroys !== undefined && !options.allowDataLoss?.includes(destroys),
    );
    if (loss)
      throw new UserError(
        `${loss.id} may destroy data of ${loss.destroys}`,
        `allow it with --allow-data-loss ${loss.destroys}`,
      );
    if (!(await told(options))) {
      if (!options.json) console.log(yellow('nothing was changed: --yes does it'));
      return 2;
    }
    return await mend(session, member, remedy, options.json === true);
  } finally {
    await lock.release();
  }
}

function show(session: Session, member: string, { found, steps }: Remedy, options: RepairOptions): void {
  if (options.json) console.log(JSON.stringify({ member, found, steps: planJson(steps) }));
  else {
    console.log(found.join('\n'));
    if (steps.length > 0) console.log(planLines(session.cluster, steps).join('\n'));
  }
}

async function told(options: RepairOptions): Promise<boolean> {
  if (options.yes) return true;
  if (options.json || !process.stdin.isTTY) return false;
  return saysYes('Do it?');
}

async function mend(session: Session, member: string, { steps }: Remedy, json: boolean): Promise<number> {
  const journal = new Journal(join(session.cluster.home, 'journal.jsonl'));
  const outcome = await carryOut(session, steps, journal, 'repair', json);
  const whole = outcome.done.length === steps.length;
  if (json) console.log(JSON.stringify({ member, outcome: whole ? 'done' : 'failed' }));
  else if (whole)
    console.log(`${green('repaired')}: ${bold(member)} answers again; phalanx up looks at the rest`);
  else
    console.log(`${yellow('not repaired')}: run it again when that is mended; the damaged files are there`);
  return whole ? 0 : 1;
}
