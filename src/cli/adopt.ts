import { type Found, handedScript, parseHanded, together } from '../cluster/handed.ts';
import { type Kept, readKept } from '../cluster/state.ts';
import { HostUnreachable } from '../hosts/host.ts';
import { UserError } from './error.ts';
import { knowsNothing } from './machines.ts';
import { bold, columns, green, yellow } from './paint.ts';
import { planLines } from './plan.ts';
import { saysYes } from './question.ts';
import { lockAndKeep, openSession, type Session, strangeState } from './session.ts';
import { planNow } from './up.ts';

/**
 * `phalanx adopt`: takes a running cluster of real machines over from a control machine that is lost. Reads what the
 * machines hold, shows what it found and what `up` would do with it, and keeps it here only when told to. Exit status 0 kept, 2 only shown.
 */
export async function adopt(
  file: string | undefined,
  options: { yes?: boolean; json?: boolean },
): Promise<number> {
  const asked = await openSession(file);
  const { cluster, learnt } = asked;
  if (learnt.strangers.length === 0 && !knowsNothing(readKept(cluster.home)))
    throw new UserError(
      `this machine keeps the state of cluster ${cluster.name} already, in ${cluster.home}`,
      'phalanx up works from here; move that folder away if it is not to be believed',
    );
  if (learnt.strangers.length > 0 && !learnt.adoptable) throw strangeState(asked);
  const { found, silent } = await ask(asked);
  if (found.length === 0)
    throw new UserError(
      `no machine in ${cluster.file} holds anything of a cluster ${cluster.name}`,
      Object.values(silent).join('; ') || 'phalanx up makes a new one',
    );
  const { kept, differ } = together(found);
  const session = await openSession(file, { adopted: kept });
  // Whatever keeps `up` from its work is no reason to leave the state where it is.
  const made = await planNow(session).catch((error: Error) => {
    if (error instanceof UserError) return error;
    throw error;
  });
  const steps = made instanceof UserError ? [] : made.steps;
  if (options.json)
    console.log(
      JSON.stringify({
        cluster: cluster.name,
        from: found.map(({ host }) => host),
        silent,
        differ,
        secrets: Object.keys(kept.secrets),
        ids: kept.ids,
        steps: steps.map((step) => step.id),
        ...(made instanceof UserError ? { refused: made.message.split('\n') } : {}),
      }),
    );
  else {
    tell(session, kept, found, silent, differ, made instanceof UserError ? 'refuse' : steps.length);
    if (made instanceof UserError) console.log(yellow(made.message));
    if (steps.length > 0) console.log(planLines(session.cluster, steps).join('\n'));
  }
  if (!(await agreed(options))) {
    if (!options.json) console.log('nothing was written: phalanx adopt --yes keeps it here');
    return 2;
  }
  const lock = await lockAndKeep(session);
  await lock.release();
  if (!options.json)
    console.log(`${green('adopted')}: cluster ${bold(cluster.name)} is kept in ${cluster.home}`);
  return 0;
}

async function ask({ cluster, reach }: Session): Promise<{ found: Found[]; silent: Record<string, string> }> {
  const found: Found[] = [];
  const silent: Record<string, string> = {};
  const real = Object.values(cluster.hosts).filter((host) => host.kind === 'ssh');
  await Promise.all(
    real.map(async (host) => {
      try {
        const held = parseHanded(await reach.host(host.name).run(handedScript(host.root)));
        if (held === undefined) silent[host.name] = `${host.name} holds nothing of it`;
        else if (held.handed.cluster === cluster.name) found.push({ host: host.name, ...held });
      } catch (error) {
        if (!(error instanceof HostUnreachable)) throw error;
        silent[host.name] = error.message;
      }
    }),
  );
  return { found, silent };
}

function tell(
  { cluster }: Session,
  kept: Kept,
  found: Found[],
  silent: Record<string, string>,
  differ: string[],
  steps: number | 'refuse',
): void {
  console.log(`cluster ${bold(cluster.name)} as its machines know it`);
  const rows = found.map(({ host, handed }) => [
    `  ${green(host)}`,
    `${Object.keys(handed.secrets).length} secrets, ${Object.keys(handed.ids).length} numbers`,
  ]);
  for (const line of columns([
    ...rows,
    ...Object.entries(silent).map(([host, why]) => [`  ${yellow(host)}`, why]),
  ]))
    console.log(line);
  if (differ.length > 0)
    console.log(`  ${yellow('they differ')} in ${differ.join(', ')}: what was written last counts`);
  const unknown = Object.keys(cluster.secrets).filter((name) => !(name in kept.secrets));
  if (unknown.length > 0)
    console.log(`  ${yellow('nobody holds')} the secrets ${unknown.join(', ')}: up would give new ones`);
  const would =
    steps === 0 ? 'have nothing to do' : steps === 'refuse' ? 'be refused' : `have ${steps} steps`;
  console.log(
    `  together ${Object.keys(kept.secrets).length} secrets and ${Object.keys(kept.ids).length} numbers; up would ${would}`,
  );
}

async function agreed(options: { yes?: boolean; json?: boolean }): Promise<boolean> {
  if (options.yes) return true;
  if (options.json || !process.stdin.isTTY) return false;
  return saysYes('Keep it on this machine?');
}
