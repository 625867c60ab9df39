import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Journal } from '../cluster/journal.ts';
import { removeSteps, unknownMember } from '../cluster/members.ts';
import { observe } from '../cluster/observe.ts';
import { wantedMembers } from '../cluster/plan.ts';
import type { Step } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import { Lab } from '../hosts/lab/lab.ts';
import { bold, green, tookText } from './paint.ts';
import { lockAndKeep, openSession, type Session } from './session.ts';
import { carryOut } from './up.ts';

/**
 * `phalanx down`: every member is stopped gracefully, then the hosts are powered off and removed. What members keep as
 * data stays (with the addresses and secrets that belong to it) unless `purge`.
 */
export async function down(
  file: string | undefined,
  options: { purge?: boolean; json?: boolean },
): Promise<number> {
  const began = performance.now();
  const session = await openSession(file);
  const { cluster } = session;
  const lock = await lockAndKeep(session);
  try {
    const steps = await stopSteps(session, options.purge === true);
    if (steps.length > 0)
      await carryOut(
        session,
        steps,
        new Journal(join(cluster.home, 'journal.jsonl')),
        'down',
        options.json === true,
      );
    await new Lab().destroy(cluster, { purge: options.purge === true });
  } finally {
    await lock.release();
  }
  const kept = options.purge ? [] : keptData(session);
  if (kept.length === 0) rmSync(cluster.home, { recursive: true, force: true });
  if (options.json) console.log(JSON.stringify({ outcome: 'done', kept }));
  else {
    console.log(
      `${green('down')} after ${tookText(performance.now() - began)}: cluster ${bold(cluster.name)} is gone`,
    );
    if (kept.length > 0)
      console.log(
        `  its data stays in ${cluster.home} (phalanx down --purge removes it): ${kept.join(', ')}`,
      );
  }
  return 0;
}

/** A graceful stop of every member on a host that answers, also of those that the file no longer has; then its files go. */
async function stopSteps(session: Session, purge: boolean): Promise<Step[]> {
  const { cluster } = session;
  const observed = await observe(cluster, engines, session.reach);
  const members = new Map(wantedMembers(cluster, engines).map((member) => [member.name, member]));
  return [...observed.members.values()]
    .filter((state) => state.present && state.host in cluster.hosts)
    .flatMap((state) => {
      const root = cluster.hosts[state.host]!.root;
      return removeSteps(members.get(state.name) ?? unknownMember(state.name), state.host, root, {
        why: 'the cluster goes down',
        purge,
      });
    });
}

/** Members that have data on this machine. */
function keptData({ cluster }: Session): string[] {
  const hosts = join(cluster.home, 'hosts');
  if (!existsSync(hosts)) return [];
  return readdirSync(hosts).flatMap((host) => {
    const members = join(hosts, host, 'members');
    return existsSync(members) ? readdirSync(members).filter((name) => hasFiles(join(members, name))) : [];
  });
}

const hasFiles = (folder: string): boolean =>
  readdirSync(folder, { withFileTypes: true, recursive: true }).some((entry) => !entry.isDirectory());
