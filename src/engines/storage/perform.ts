import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { memberFolder, restartFragment } from '../../hosts/supervise.ts';
import { type EngineAction, StepFailed, StepHeld } from '../engine.ts';
import {
  answering,
  brickHosts,
  difference,
  differingOptions,
  healSentence,
  lostBricks,
  notYetTogether,
  pendingOf,
  type StorageLive,
  volumeOf,
} from './live.ts';
import { storageMembers } from './members.ts';
import { observeStorage } from './observe.ts';
import { brickName, hostAt, memberName, type StorageService, uuidOf } from './seats.ts';

/** How long glusterds may take to start and to find each other. */
const readyMs = 60_000;
/** How long a step waits for the other copies to be whole before it holds, once nothing gets better any more. */
const gateMs = 60_000;
/** One command of gluster; it takes a lock of the whole pool. */
const commandMs = 30_000;

interface Work {
  service: StorageService;
  cluster: Cluster;
  reach: Reach;
  say: (line: string) => void;
}

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
    default:
      throw new StepFailed(`storage knows no step ${action.name}`);
  }
}

const look = ({ service, cluster, reach }: Work): Promise<StorageLive> =>
  observeStorage(service, cluster, reach);

/** Looks again and again until `blocked` names no reason; then gives what was seen. The time starts anew whenever less is to be healed. */
async function untilOpen(
  work: Work,
  what: string,
  blocked: (live: StorageLive) => string | undefined,
  limitMs = gateMs,
): Promise<StorageLive> {
  let deadline = performance.now() + limitMs;
  let said = '';
  let least = Number.POSITIVE_INFINITY;
  for (;;) {
    const live = await look(work);
    const blocker = blocked(live);
    if (blocker === undefined) return live;
    if (blocker !== said) work.say(blocker);
    said = blocker;
    const pending = pendingOf(live);
    if (pending < least && least < Number.POSITIVE_INFINITY) deadline = performance.now() + limitMs;
    least = Math.min(least, pending);
    if (performance.now() > deadline) throw new StepHeld(`${what}: ${blocker}`);
    await wait(100);
  }
}

/**
 * Runs gluster on a host. Its commands lock the pool, one at a time: one that finds it locked is tried again. Throws StepFailed with what
 * gluster said.
 */
async function gluster(work: Work, host: string, words: string[]): Promise<string> {
  const { service, cluster, reach, say } = work;
  const folder = memberFolder({ name: memberName(service, host) }, cluster.hosts[host]!.root);
  const command = ['./gluster', `--timeout=${commandMs / 1000}`, ...words].map(quote).join(' ');
  const deadline = performance.now() + commandMs;
  for (;;) {
    const { exit, text, stderr } = await reach
      .host(host)
      .run(`cd ${quote(folder)} && ${command}`, { timeoutMs: commandMs + 5_000 });
    if (exit === 0) return text;
    const told = `${text} ${stderr}`.replaceAll(/\s+/g, ' ').trim();
    if (!/another transaction|locking failed|Please try again/i.test(told) || performance.now() > deadline)
      throw new StepFailed(`gluster ${words.slice(0, 2).join(' ')} on ${host}: ${told || `exit ${exit}`}`);
    say(told);
    await wait(500);
  }
}

/** A host whose glusterd answers, the best connected one first. */
function speaker(live: StorageLive): string {
  const [best] = answering(live)
    .filter(({ volume }) => volume !== undefined)
    .sort((a, b) => b.peers.length - a.peers.length);
  if (best === undefined) throw new StepFailed('no glusterd answers: see phalanx logs');
  return best.host;
}

/**
 * Makes the volume, where there is none. Every glusterd must answer and be connected to every other, and every data host's folder must
 * be seen to be empty: a volume that is known to any of them is theirs, and data without one is never built over.
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
  const copies = hosts.length === 1 ? [] : ['replica', String(hosts.length)];
  const arbiter = service.spec.arbiter ? ['arbiter', '1'] : [];
  const bricks = hosts.map((host) => brickName(service, cluster.hosts[host]!));
  // `force`: the folder lies on the disk that the member's folder lies on, which may be the system's.
  await gluster(work, hosts[0]!, ['volume', 'create', name, ...copies, ...arbiter, ...bricks, 'force']);
  await settle(work, hosts[0]!, await look(work));
  await gluster(work, hosts[0]!, ['volume', 'start', name]);
}

/** Sets the options that differ, all in one command. */
async function settle(work: Work, host: string, live: StorageLive): Promise<void> {
  const { service, cluster } = work;
  const differing = differingOptions(service, cluster, volumeOf(live)!);
  if (differing.length > 0) await gluster(work, host, ['volume', 'set', service.name, ...differing.flat()]);
}

/** Why not every copy is there and whole; `spared` may be away. Undefined when nothing is wanting. */
function wanting(work: Work, live: StorageLive, spared?: string): string | undefined {
  const { service, cluster } = work;
  const volume = volumeOf(live);
  if (volume === undefined) return 'no glusterd that knows the volume answers';
  for (const host of brickHosts(volume, cluster)) {
    const server = live.servers[host ?? ''];
    if (host === spared || server === undefined) continue;
    if (server.silent !== undefined) return `${memberName(service, host!)}: ${server.silent}`;
    if (!server.online) return `the brick of ${memberName(service, host!)} does not run`;
    if (!server.disk?.brick) return `the copy on ${host} is gone`;
  }
  if (live.splitBrain) return `${live.splitBrain} entries in split brain`;
  return healSentence(live);
}

/** Waits until every copy (but the spared host's own) runs and none lacks anything: then one may be away for a while. */
async function untilWhole(work: Work, what: string, spared?: string): Promise<void> {
  await untilOpen(work, what, (live) => wanting(work, live, spared));
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
  const lost = lostBricks(live, cluster);
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
  const { service, cluster, reach, say } = work;
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
  const { root } = cluster.hosts[host]!;
  const member = storageMembers(service, cluster).find((one) => one.name === name)!;
  const { exit, stderr } = await reach
    .host(host)
    .run(restartFragment(member, root), { timeoutMs: member.stop.timeoutMs + 30_000 });
  if (exit !== 0) throw new StepFailed(`${name}: ${stderr.trim()}`);
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

/**
 * Makes the volume's copies be on the file's hosts: new hosts first in the place of those that go, then further ones, then fewer; each
 * change only while the copies that stay are there and whole. A host that has no copy any more leaves the pool.
 */
async function reshape(work: Work): Promise<void> {
  const { service, cluster, say } = work;
  const { name, hosts } = service;
  for (;;) {
    const live = await untilOpen(work, `${name} is not reshaped`, (seen) => {
      const volume = volumeOf(seen);
      if (volume === undefined) return 'no glusterd that knows the volume answers';
      return whyNotReshaped(work, seen);
    });
    const volume = volumeOf(live)!;
    const now = brickHosts(volume, cluster);
    const { coming, going } = difference(service, cluster, volume);
    const staying = hosts.find((host) => now.includes(host)) ?? speaker(live);
    const [from] = going;
    if (coming.length === 0 && from === undefined) break;
    for (const host of coming) await join(work, staying, host);
    if (from !== undefined && coming.length > 0) {
      const index = volume.bricks.indexOf(from);
      const isArbiter = volume.arbiter && index === volume.bricks.length - 1;
      const to = isArbiter || !coming.includes(hosts[index] ?? '') ? coming.at(-1)! : hosts[index]!;
      say(`the copy of ${now[index] ?? from} goes to ${to}`);
      const target = brickName(service, cluster.hosts[to]!);
      await gluster(work, staying, ['volume', 'replace-brick', name, from, target, 'commit', 'force']);
    } else if (coming.length > 0) {
      const targets = coming.map((host) => brickName(service, cluster.hosts[host]!));
      const copies = ['replica', String(volume.bricks.length + coming.length)];
      const arbiter = service.spec.arbiter ? ['arbiter', '1'] : [];
      await gluster(work, staying, ['volume', 'add-brick', name, ...copies, ...arbiter, ...targets, 'force']);
    } else {
      const copies = ['replica', String(volume.bricks.length - going.length)];
      await gluster(work, staying, ['volume', 'remove-brick', name, ...copies, ...going, 'force']);
    }
  }
  await dismiss(work);
}

/** The copies that stay must be whole before another is made from them, or one is given up. */
function whyNotReshaped(work: Work, live: StorageLive): string | undefined {
  const { service, cluster } = work;
  const volume = volumeOf(live)!;
  const { coming, going } = difference(service, cluster, volume);
  if (coming.length === 0 && going.length === 0) return undefined;
  const silent = coming.find((host) => live.servers[host]?.silent !== undefined);
  if (silent !== undefined) return `${memberName(service, silent)}: ${live.servers[silent]!.silent}`;
  const staying = brickHosts(volume, cluster).filter((host) => service.hosts.includes(host ?? ''));
  if (staying.length === 0)
    return 'none of its hosts stays: leave one in the file, run up, and exchange it afterwards';
  return wanting(work, live);
}

/** Takes a host into the pool; what an earlier membership left in its folder is kept beside and never believed again. */
async function join(work: Work, by: string, host: string): Promise<void> {
  const { service, cluster, reach } = work;
  const { address, root } = cluster.hosts[host]!;
  const folder = `${memberFolder({ name: memberName(service, host) }, root)}/data`;
  const script = `cd ${quote(folder)} || exit 1
[ ! -e brick/.glusterfs ] || { rm -rf before && mv brick before; } || exit 1
[ -d brick ] || { mkdir brick && chmod 1777 brick; }`;
  const { exit, stderr } = await reach.host(host).run(script);
  if (exit !== 0) throw new StepFailed(`${memberName(service, host)}: ${stderr.trim()}`);
  await gluster(work, by, ['peer', 'probe', address]);
  await untilOpen(
    work,
    `${host} is not taken into the pool`,
    (live) =>
      live.servers[by]?.peers.includes(uuidOf(service, cluster, host))
        ? undefined
        : `${memberName(service, by)} is not connected to ${host}`,
    readyMs,
  );
}

/** Hosts of the pool that the file does not have leave it; also one that is dead. */
async function dismiss(work: Work): Promise<void> {
  const { service, cluster, say } = work;
  const by = speaker(await look(work));
  const text = await gluster(work, by, ['pool', 'list']);
  const own = new Map(service.hosts.map((host) => [uuidOf(service, cluster, host), host]));
  for (const [, uuid, name] of text.matchAll(/^([0-9a-f-]{36})\s+(\S+)/gm)) {
    if (own.has(uuid!) || name === 'localhost') continue;
    const host = Object.values(cluster.hosts).find((one) => one.name === name) ?? hostAt(cluster, name!);
    say(`${host?.name ?? name} leaves the pool`);
    await gluster(work, by, ['peer', 'detach', name!, 'force']);
  }
}
