import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Journal } from '../cluster/journal.ts';
import { removeSteps, unknownMember } from '../cluster/members.ts';
import { type Observed, observe } from '../cluster/observe.ts';
import { wantedMembers } from '../cluster/plan.ts';
import type { Step } from '../engines/engine.ts';
import { engines } from '../engines/index.ts';
import type { Cluster } from '../file/cluster.ts';
import { HostUnreachable } from '../hosts/host.ts';
import { diskImage } from '../hosts/lab/disk.ts';
import { elsewhereText, Lab } from '../hosts/lab/lab.ts';
import { leaveScript } from '../hosts/ssh/leave.ts';
import { SshHost } from '../hosts/ssh/ssh-host.ts';
import { clearFragment } from '../hosts/supervise.ts';
import { backupsOf } from './backup.ts';
import { UserError } from './error.ts';
import { bold, green, tookText, yellow } from './paint.ts';
import { doubts, lockAndKeep, openSession, type Session } from './session.ts';
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
  // It would say that the cluster is gone.
  const [doubt] = doubts(session);
  if (doubt) throw doubt;
  const lock = await lockAndKeep(session);
  let machines: Machines;
  try {
    const observed = await observe(cluster, engines, session.reach);
    const { elsewhere } = observed.lab;
    if (elsewhere !== undefined && Object.values(cluster.hosts).some(({ kind }) => kind === 'lab'))
      throw new UserError(elsewhereText(cluster, elsewhere));
    const steps = stopSteps(cluster, observed, options.purge === true);
    const journal = new Journal(join(cluster.home, 'journal.jsonl'));
    if (steps.length > 0) {
      const { interrupted } = await carryOut(session, steps, journal, 'down', options.json === true);
      if (interrupted) {
        if (options.json) console.log(JSON.stringify({ outcome: 'stopped' }));
        else console.error('stopped: what still runs goes on, hosts and network stay');
        return 1;
      }
    }
    await new Lab().destroy(cluster, { purge: options.purge === true });
    machines = await leaveMachines(session, options.purge === true);
  } finally {
    await lock.release();
  }
  const kept = [...(options.purge ? [] : keptData(session)), ...machines.kept];
  const away = Object.entries(machines.away);
  const backups = kept.length === 0 && away.length === 0 ? forgetAll(cluster) : undefined;
  if (options.json)
    console.log(
      JSON.stringify({
        ...{ outcome: away.length === 0 ? 'done' : 'failed', kept, away: machines.away },
        ...(backups === undefined ? {} : { backups }),
      }),
    );
  else if (away.length > 0) {
    for (const [host, why] of away) console.error(`${yellow(host)}: ${why}`);
    console.error(
      `cluster ${bold(cluster.name)} is gone from every other host; when ${away.length === 1 ? 'this one answers' : 'these answer'}, run down again`,
    );
  } else {
    console.log(
      `${green('down')} after ${tookText(performance.now() - began)}: cluster ${bold(cluster.name)} is gone`,
    );
    if (kept.length > 0)
      console.log(
        `  its data stays ${Object.values(cluster.hosts).every((host) => host.kind === 'ssh') ? 'on its machines' : `in ${cluster.home}`} (phalanx down --purge removes it): ${kept.join(', ')}`,
      );
    if (backups !== undefined) console.log(`  its backups stay in ${backups}: they are yours to remove`);
  }
  return away.length === 0 ? 0 : 1;
}

/** Removes all that this machine keeps of the cluster but its backups: they are for the day when the rest is gone. Gives where they stay. */
function forgetAll(cluster: Cluster): string | undefined {
  const backups = backupsOf(cluster);
  if (!existsSync(backups) || readdirSync(backups).length === 0) {
    rmSync(cluster.home, { recursive: true, force: true });
    return undefined;
  }
  for (const name of readdirSync(cluster.home).map((entry) => join(cluster.home, entry)))
    if (name !== backups) rmSync(name, { recursive: true, force: true });
  return backups;
}

interface Machines {
  /** Members whose data is still on their machine. */
  kept: string[];
  /** Machines that were not left clean, and why. */
  away: Record<string, string>;
}

/** Takes back on each real machine what was set there for the cluster, and removes its folder but for members' data. */
async function leaveMachines({ cluster, reach }: Session, purge: boolean): Promise<Machines> {
  const machines: Machines = { kept: [], away: {} };
  const real = [...Object.values(cluster.hosts), ...Object.values(cluster.former ?? {})];
  await Promise.all(
    real
      .filter((host) => host.kind === 'ssh')
      .map(async (host) => {
        try {
          const at = reach.host(host.name);
          const { exit, lines, stderr } = await at.run(leaveScript(host.root, purge), { timeoutMs: 60_000 });
          for (const { kept } of lines) if (typeof kept === 'string') machines.kept.push(kept);
          if (exit !== 0) machines.away[host.name] = stderr.trim();
          if (at instanceof SshHost) await at.end();
        } catch (error) {
          if (!(error instanceof HostUnreachable)) throw error;
          machines.away[host.name] = error.message.replace(`${host.name}: `, '');
        }
      }),
  );
  return machines;
}

/**
 * A graceful stop of every member on a host that answers, also of those that the file no longer has; then its files go. So do those of members of lab hosts that are off: their
 * passwords are no data.
 */
export function stopSteps(cluster: Cluster, observed: Observed, purge: boolean): Step[] {
  const members = new Map(wantedMembers(cluster, engines).map((member) => [member.name, member]));
  const steps = [...observed.members.values()].flatMap((state) => {
    const root = (cluster.hosts[state.host] ?? cluster.former?.[state.host])?.root;
    if (!state.present || root === undefined) return [];
    return removeSteps(members.get(state.name) ?? unknownMember(state.name), state.host, root, {
      why: 'the cluster goes down',
      purge,
    });
  });
  const lying = Object.entries(observed.lying).flatMap(([host, names]) => {
    const root = (cluster.hosts[host] ?? cluster.former?.[host])?.root;
    if (root === undefined) return [];
    return names.map((name): Step => {
      const script = clearFragment(members.get(name) ?? unknownMember(name), root, { purge });
      return {
        id: `remove ${name}`,
        verb: 'remove',
        target: name,
        why: 'the cluster goes down, and its host is off',
        needs: [],
        do: { kind: 'machine', script, timeoutMs: 60_000 },
      };
    });
  });
  return [...usersFirst(cluster, steps), ...lying];
}

/** Who uses a service stops before it: a broker hands its partitions over while its ZooKeeper still answers. */
function usersFirst({ services }: Cluster, steps: Step[]): Step[] {
  const serviceOf = ({ target }: Step): string => /^[^.@]*/.exec(target)![0];
  const stops = steps.filter(({ verb }) => verb === 'stop');
  return steps.map((step) => {
    if (step.verb !== 'stop') return step;
    const users = new Set(
      Object.values(services)
        .filter(({ uses }) => uses.includes(serviceOf(step)))
        .map(({ name }) => name),
    );
    return { ...step, after: stops.filter((one) => users.has(serviceOf(one))).map(({ id }) => id) };
  });
}

/** Members that have data on this machine. */
function keptData({ cluster }: Session): string[] {
  const hosts = join(cluster.home, 'hosts');
  if (!existsSync(hosts)) return [];
  return readdirSync(hosts).flatMap((host) => {
    if (existsSync(diskImage(join(hosts, host)))) return [`the disk of ${host}`];
    const members = join(hosts, host, 'members');
    return existsSync(members) ? readdirSync(members).filter((name) => hasFiles(join(members, name))) : [];
  });
}

const hasFiles = (folder: string): boolean =>
  readdirSync(folder, { withFileTypes: true, recursive: true }).some((entry) => !entry.isDirectory());
