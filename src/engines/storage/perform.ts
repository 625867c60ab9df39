import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { restartFragment } from '../../hosts/supervise.ts';
import { type EngineAction, StepFailed, StepHeld } from '../engine.ts';
import { forgetHint } from '../forget.ts';
import { lostBricks, notYetTogether, pendingOf, type StorageLive, strayed, volumeOf } from './live.ts';
import { storageMembers } from './members.ts';
import { leftBehind } from './observe.ts';
import {
  gluster,
  look,
  readyMs,
  settle,
  speaker,
  untilOpen,
  untilWhole,
  type Work,
  wanting,
} from './pool.ts';
import { reshape } from './reshape.ts';
import { brickFolder, brickName, entryOf, memberName, mountName, type StorageService } from './seats.ts';
import { timingOf } from './timing.ts';

/** How long a mount's client may take to find the next glusterd. */
const findMs = 15_000;
/** How much longer than the volume's ping timeout a mount may answer nothing: it is held up for so long by a copy that is silent, and is well afterwards. */
const overPingMs = 5_000;

/** Carries out the engine's own steps; each may be repeated, and does nothing where it is done already. */
export async function performStorage(
  action: EngineAction,
  service: StorageService,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  const work: Work = { service, cluster, reach, say };
  const host = String(action.args['host']);
  switch (action.name) {
    case 'form':
      return form(work);
    case 'hold':
      return untilWhole(work, `${memberName(service, host)} is not restarted`, host);
    case 'heal':
      return untilWhole(work, `${memberName(service, host)} is not whole yet`);
    case 'reshape':
      return reshape(work);
    case 'serve':
      return serve(work);
    case 'follow':
      return follow(work, host);
    default:
      throw new StepFailed(`storage knows no step ${action.name}`);
  }
}

/**
 * Makes the volume, where there is none. Every glusterd must answer and be connected to every other, and every data host's folder must
 * be seen to be empty: a volume that is known to any of them is theirs, and data without one is never built over. Nor is a volume made beside one
 * whose copies are all on hosts that the service has left.
 */
async function form(work: Work): Promise<void> {
  const { service, cluster } = work;
  const { hosts, name } = service;
  const live = await untilOpen(
    work,
    `${name} is not formed`,
    (seen) => (volumeOf(seen) ? undefined : notYetTogether(service, cluster, seen)),
    readyMs,
  );
  if (volumeOf(live)) return;
  const filled = hosts.filter((host) => live.servers[host]?.disk?.brick);
  if (filled.length > 0)
    throw new StepFailed(
      `${filled.map((host) => memberName(service, host)).join(', ')}: data of a volume that no glusterd knows. Move data/brick of that member's folder away, or bring back its data/state, and run up again`,
    );
  await refuseLeftBehind(work);
  const copies = hosts.length === 1 ? [] : ['replica', String(hosts.length)];
  const arbiter = service.spec.arbiter ? ['arbiter', '1'] : [];
  const bricks = hosts.map((host) => brickName(service, cluster.hosts[host]!));
  // `force`: the folder lies on the disk that the member's folder lies on, which may be the system's.
  await gluster(work, hosts[0]!, ['volume', 'create', name, ...copies, ...arbiter, ...bricks, 'force']);
  await settle(work, hosts[0]!, await look(work));
  await gluster(work, hosts[0]!, ['volume', 'start', name]);
}

async function refuseLeftBehind({ service, cluster, reach }: Work): Promise<void> {
  const { held, unknown } = await leftBehind(service, cluster, reach);
  if (held.length > 0) {
    const folders = held.map((host) => brickFolder(service, entryOf(cluster, host)));
    throw new StepFailed(
      `${held.join(', ')} hold${held.length === 1 ? 's' : ''} the data of ${service.name}: leave ${held.length === 1 ? 'it' : 'one of them'} in the file, run up, and exchange it afterwards; or, to begin anew without that data, move ${folders.join(', ')} away`,
    );
  }
  if (unknown.length === 0) return;
  throw new StepFailed(
    `${unknown.join(', ')} cannot be asked whether the data of ${service.name} is there, and a new volume would pass it over: bring ${unknown.length === 1 ? 'it' : 'them'} up and run up again${forgetHint(cluster, unknown)}`,
  );
}

/** Puts right what is wrong with bricks and options, then waits until every copy that can be there is, and is whole. */
async function serve(work: Work): Promise<void> {
  const { service, cluster } = work;
  const { name } = service;
  const live = await untilOpen(
    work,
    `${name} is not whole`,
    (seen) => {
      const reachable = service.hosts.filter((host) => seen.servers[host]?.disk !== undefined);
      return notYetTogether(service, cluster, seen, reachable) ?? unknown(seen);
    },
    readyMs,
  );
  const host = speaker(live);
  const volume = volumeOf(live)!;
  await settle(work, host, live);
  const lost = lostBricks(service, cluster, live);
  for (const one of lost) await renew(work, one);
  const stopped = service.hosts.filter(
    (one) => live.servers[one]?.silent === undefined && !live.servers[one]?.online,
  );
  if (!volume.started) await gluster(work, host, ['volume', 'start', name]);
  else if (stopped.some((one) => !lost.includes(one)))
    await gluster(work, host, ['volume', 'start', name, 'force']);
  let asked = false;
  await untilOpen(work, `${name} is not whole`, (seen) => {
    const why = wanting(work, seen);
    const away = service.hosts.some((one) => seen.servers[one]?.disk === undefined);
    // What only a host that is away could mend is for status to say.
    if (why === undefined || (away && Object.values(seen.servers).some(({ online }) => online)))
      return undefined;
    if (!asked && pendingOf(seen) > 0) {
      asked = true;
      // Otherwise the self-heal daemon begins when it looks next; a refusal is no more than that.
      gluster(work, host, ['volume', 'heal', name]).catch((error: Error) => work.say(error.message));
    }
    return why;
  });
}

const unknown = (live: StorageLive): string | undefined =>
  volumeOf(live) ? undefined : 'no glusterd knows the volume yet';

/**
 * Makes a lost copy anew from the others. The glusterd is started again first: it takes a folder for the same brick as before only when it has
 * seen it at its start. reset-brick marks everything as wanting there, so that nobody reads from it before it is healed.
 */
async function renew(work: Work, host: string): Promise<void> {
  const { service, cluster, say } = work;
  const name = memberName(service, host);
  if (service.hosts.length === 1)
    throw new StepFailed(
      `${name}: the only copy is gone, and its folder is empty. Bring it back; or, if its data is given up, down --purge and up`,
    );
  say(`${name}: its copy is gone, made anew from the others`);
  await untilOpen(work, `${name} is not made anew`, (live) => {
    const others = Object.values(live.servers).filter(({ host: other, online }) => other !== host && online);
    return others.length * 2 > service.hosts.length ? undefined : 'most of the other copies are away';
  });
  await restart(work, host, name);
  await untilOpen(work, `${name} is not made anew`, (live) => {
    const reachable = service.hosts.filter((one) => live.servers[one]?.disk !== undefined);
    return (
      notYetTogether(service, cluster, live, reachable) ??
      (live.servers[host]?.volume ? undefined : `${name} does not know the volume yet`)
    );
  });
  const brick = brickName(service, cluster.hosts[host]!);
  await gluster(work, host, ['volume', 'reset-brick', service.name, brick, 'start']);
  await gluster(work, host, ['volume', 'reset-brick', service.name, brick, brick, 'commit', 'force']);
}

/** Waits until the mount uses the volume's copies. One that does not by itself is made anew. */
async function follow(work: Work, host: string): Promise<void> {
  const name = mountName(work.service, host);
  const until = (ms: number): Promise<unknown> =>
    untilOpen(work, `${name} does not follow the volume`, (live) => strayed(live, host), ms);
  // As its client has it, which may not be what the file says by now.
  const told = volumeOf(await look(work))?.options['network.ping-timeout'];
  const pingTimeout = Number(told) || timingOf(work.service).pingTimeout;
  try {
    await until(Math.max(findMs, pingTimeout * 1000 + overPingMs));
  } catch (error) {
    if (!(error instanceof StepHeld)) throw error;
    work.say(`${name} is made anew: files that are open in it have to be opened again`);
    await restart(work, host, name);
    await until(readyMs);
  }
}

async function restart({ service, cluster, reach }: Work, host: string, name: string): Promise<void> {
  const member = storageMembers(service, cluster).find((one) => one.name === name)!;
  const { exit, stderr } = await reach
    .host(host)
    .run(restartFragment(member, cluster.hosts[host]!.root), { timeoutMs: member.stop.timeoutMs + 30_000 });
  if (exit !== 0) throw new StepFailed(`${name}: ${stderr.trim()}`);
}
