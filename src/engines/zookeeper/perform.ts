import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import {
  asOwner,
  diedFragment,
  memberFolder,
  startFragment,
  stopFragment,
  wantedUp,
} from '../../hosts/supervise.ts';
import { type EngineAction, StepFailed, StepHeld } from '../engine.ts';
import { accessLists, appUser, chroot, digest, proof, sameAcl } from './acl.ts';
import { withSession } from './client.ts';
import { ensembleText, majority, serverLine, votersOf } from './ensemble.ts';
import {
  atHome,
  hasData,
  type LiveServer,
  longestTick,
  servingVoters,
  writable,
  type ZooKeeperLive,
} from './live.ts';
import { zooKeeperMembers } from './members.ts';
import { observeZooKeeper, portsOf, reason, stateOf } from './observe.ts';
import { anew, changes, strandedMajority } from './plan.ts';
import { hostOf, memberName, type Seat, seatsOf, type ZooKeeperService } from './seats.ts';
import type { Session } from './session.ts';
import { nodeExists, ZooKeeperError } from './wire.ts';
import { ask } from './words.ts';

/** How long a JVM may take to start and to be in step with its leader. */
const readyMs = 60_000;
/** How long a step waits for a majority before it gives up and holds. */
const gateMs = 30_000;
/** How long no voter may serve before that is more than an election, or a control machine that is late itself. */
const quietMs = 5_000;
/** How often it is read from a server's disk at which port it answers, while it does not. */
const portsMs = 2_000;
/** Longest time for one reconfiguration or one write, the followers' disks included. */
const writeMs = 5_000;

interface Work {
  service: ZooKeeperService;
  cluster: Cluster;
  reach: Reach;
  say: (line: string) => void;
}

/** Carries out the engine's own steps; each may be repeated, and does nothing where it is done already. */
export async function performZooKeeper(
  action: EngineAction,
  service: ZooKeeperService,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  const work: Work = { service, cluster, reach, say };
  const host = String(action.args['host']);
  switch (action.name) {
    case 'form':
      return form(work, action.args['force'] === true);
    case 'seed':
      return seed(work, host, action.args['force'] === true);
    case 'ready':
      return untilServing(work, host);
    case 'hold':
      return untilSpared(work, host);
    case 'add':
    case 'change':
      return add(work, seatOf(work, host));
    case 'leave':
      return leave(work, Number(action.args['id']));
    case 'serve':
      return serve(work);
    default:
      throw new StepFailed(`zookeeper knows no step ${action.name}`);
  }
}

const seatOf = ({ service, cluster }: Work, host: string): Seat =>
  seatsOf(service, cluster).find((seat) => seat.host === host)!;

/**
 * Tells every member of a new ensemble who the others are. Every voter's disk must be seen to be empty, and that of every host that
 * ever had a member: an ensemble that is down, or that the file no longer has, has left its data there, and a new one would pass it
 * over. With data anywhere there is nothing to form. `force`: the user has accepted that what is elsewhere is passed over.
 */
async function form(work: Work, force: boolean): Promise<void> {
  const { service, cluster, reach } = work;
  const live = await observeZooKeeper(service, cluster, reach);
  const passedOver = anew(service, cluster, live);
  if (live.ensemble && !(force && passedOver !== undefined)) {
    // Disks that nobody could look at when the plan was made.
    const stranded = strandedMajority(service, cluster, live.ensemble, live);
    if (stranded !== undefined) throw new StepFailed(stranded);
    return;
  }
  const seats = seatsOf(service, cluster);
  const unknown = seats.filter((seat) => seat.role === 'participant' && !live.servers[seat.host]?.disk);
  if (unknown.length > 0)
    throw new StepFailed(
      `the disks of ${unknown.map(({ name }) => name).join(', ')} cannot be looked at: data may be there, and a new ensemble would pass it over. Bring the hosts up and run up again`,
    );
  const filled = seats.filter(({ host }) => hasData(live.servers[host]));
  if (filled.length > 0)
    throw new StepFailed(
      `${filled.map(({ name }) => name).join(', ')} hold data, and nothing there says who the members are: a new ensemble would pass it over. Restore data/zoo.cfg and the file that it names, or move the data away`,
    );
  if (passedOver !== undefined && !force)
    throw new StepFailed(
      `${passedOver}. Bring those hosts up, or put them back into the file; where they are gone for good, run up again, which then can be told --allow-data-loss ${service.name}`,
    );
  const strange = (await Promise.all(seats.map((seat) => othersOn(work, seat)))).flat();
  if (strange.length > 0)
    throw new StepFailed(
      `${strange.join(', ')} hold data of this service: a host of another name has it, and a new ensemble would pass it over. Give the hosts their former names, or move the data away`,
    );
  await Promise.all(seats.map((seat) => introduce(work, seat, ensembleText(seats))));
}

/** Other members of the service with data on the seat's host, as path: those of a host that was given another name. */
async function othersOn({ service, cluster, reach }: Work, seat: Seat): Promise<string[]> {
  const root = cluster.hosts[seat.host]!.root;
  const at = (name: string): string => memberFolder({ name }, root);
  const script = `for epoch in ${quote(at(memberName(service, '')))}*/data/version-2/currentEpoch; do
  folder=\${epoch%/data/*}
  if [ -s "$epoch" ] && [ "$folder" != ${quote(at(seat.name))} ]; then echo "$folder"; fi
done
`;
  const { text } = await reach.host(seat.host).run(script, { timeoutMs: 5_000 });
  return text.split('\n').flatMap((line) => (line ? [`${line} on ${seat.host}`] : []));
}

/**
 * Tells a member without data who the ensemble is, and that it is an observer itself: it then never proposes its emptiness. The
 * others count its vote nevertheless, so it must not be there when they elect: with it, one that lacks the newest writes could win.
 * So it waits until they have a leader, copies from that one, and has its vote back from then on. `force`: they will
 * never have one without it, and the user has accepted what that may cost.
 */
async function seed(work: Work, host: string, force: boolean): Promise<void> {
  const { service, cluster } = work;
  const seat = seatOf(work, host);
  const byId = (id: number) => hostOf(service, cluster, id);
  const settled = (live: ZooKeeperLive): boolean => {
    const server = live.servers[host];
    const known = live.ensemble?.servers.some(({ id }) => id === seat.id) === true;
    return (
      server?.state === 'serving' || !live.ensemble || (known && hasData(server) && atHome(server, seat))
    );
  };
  const live = await untilOpen(work, `${seat.name} is not told who the ensemble is`, (seen) => {
    if (settled(seen)) return undefined;
    // A disk that was not seen is not an empty one: what is on it would be moved away.
    if (seen.servers[host]?.disk === undefined) return `its disk cannot be looked at`;
    if (force || writable(seen, byId)) return undefined;
    const voters = votersOf(seen.ensemble!.servers);
    return `it has no data of its own to go by and must not vote, and without it ${lacks(work, seen, seat.id, voters.length)}`;
  });
  if (settled(live)) return;
  const known = live.ensemble!.servers.find(({ id }) => id === seat.id);
  // What it copies says where it listens: that has to be true before.
  if (known && known.address !== seat.address) await add(work, seat);
  const others = live.ensemble!.servers.filter(({ id }) => id !== seat.id);
  await introduce(work, seat, ensembleText([...others, { ...seat, role: 'observer' }]));
}

/** Writes what a member without data starts with. One that runs is started again; one that has it already is left alone. */
async function introduce({ service, cluster, reach }: Work, seat: Seat, text: string): Promise<void> {
  const root = cluster.hosts[seat.host]!.root;
  const member = zooKeeperMembers(service, cluster).find(({ name }) => name === seat.name)!;
  const folder = quote(`${memberFolder(member, root)}/data`);
  const write = `mkdir -p ${folder} && cd ${folder} || exit 1
# What an earlier membership left: kept beside, once, and never believed again.
if [ -e version-2 ]; then rm -rf before && mkdir before && mv version-2 before/ || exit 1; fi
rm -f zoo.cfg zoo.cfg.dynamic.*
printf '%s\\n' ${quote(text.trimEnd())} >first.cfg.new && mv first.cfg.new first.cfg`;
  const script = `folder=${folder} text=${quote(text.trimEnd())}
[ "$(cat "$folder/first.cfg" 2>/dev/null)" != "$text" ] || [ -e "$folder/version-2/currentEpoch" ] || exit 0
running=false
if ${wantedUp(member, root)}; then running=true; fi
( ${stopFragment(member, root)} ) || exit 1
${asOwner(member, root, write)} || exit 1
[ "$running" != true ] || ( ${startFragment(member, root)} )
`;
  const { exit, stderr } = await reach
    .host(seat.host)
    .run(script, { timeoutMs: member.stop.timeoutMs + 30_000 });
  if (exit !== 0) throw new StepFailed(`${seat.name}: ${stderr.trim()}`);
}

/** Waits until the member serves; a follower that serves is in step with its leader. */
async function untilServing({ service, cluster, reach, say }: Work, host: string): Promise<void> {
  const name = memberName(service, host);
  const deadline = performance.now() + readyMs;
  let ports: number[] = [];
  let read = Number.NEGATIVE_INFINITY;
  let why = '';
  const tell = (now: string): void => {
    if (now !== why) say(now);
    why = now;
  };
  while (performance.now() < deadline) {
    if (performance.now() - read > portsMs) {
      ports = await portsOf(service, cluster, reach, host);
      read = performance.now();
    }
    try {
      const said = await Promise.any(ports.map((port) => ask(reach, { host, port }, 'srvr')));
      const state = stateOf(said);
      if (state === 'serving') return;
      tell(state === 'electing' ? 'it runs and finds no majority yet' : `it is ${state}`);
    } catch (error) {
      tell(reason((error as AggregateError).errors[0] as Error));
    }
    await wait(50);
  }
  const died = await reach
    .host(host)
    .run(diedFragment({ name }, cluster.hosts[host]!.root), { timeoutMs: 3_000 })
    .then(({ stderr }) => stderr.trim())
    .catch((error: Error) => error.message);
  throw new StepFailed(`${name} does not serve after ${readyMs / 1000} s: ${why}${died ? `\n${died}` : ''}`);
}

/** Looks again and again until `blocked` names no reason; then gives what was seen. Holds when its time is over. */
async function untilOpen(
  work: Work,
  what: string,
  blocked: (live: ZooKeeperLive) => string | undefined,
): Promise<ZooKeeperLive> {
  const deadline = performance.now() + gateMs;
  let said = '';
  for (;;) {
    const live = await observeZooKeeper(work.service, work.cluster, work.reach);
    const blocker = blocked(live);
    if (blocker === undefined) return live;
    if (blocker !== said) work.say(blocker);
    said = blocker;
    if (performance.now() > deadline) throw new StepHeld(`${what}: ${blocker}`);
    await wait(100);
  }
}

/** Why the ensemble would have no majority without server `spared` (0: as it is); undefined when it would. */
function lacks(
  { service, cluster }: Work,
  live: ZooKeeperLive,
  spared: number,
  voters: number,
): string | undefined {
  const byId = (id: number) => hostOf(service, cluster, id);
  const serving = servingVoters(live, byId).filter((id) => id !== spared);
  const needed = majority(voters);
  const leader = live.leader === undefined ? undefined : live.servers[live.leader];
  // The leader counts the followers that have everything; itself, unless it is the one to go.
  const without = byId(spared);
  const synced =
    (leader?.synced ?? 0) +
    (live.leader === without ? 0 : 1) -
    (without !== undefined && live.servers[without]?.role === 'follower' ? 1 : 0);
  if (live.leader !== undefined && serving.length >= needed && synced >= needed) return undefined;
  const silent = votersOf(live.ensemble?.servers ?? [])
    .filter(({ id }) => id !== spared && !serving.includes(id))
    .map(({ id }) => {
      const host = byId(id);
      const found = live.servers[host ?? ''];
      const left = host && !seatsOf(service, cluster).some((seat) => seat.host === host);
      const put = left ? ' (no longer in the file: put it back until others have its vote)' : '';
      return `${host ? memberName(service, host) : `server ${id}`} ${found?.why ?? found?.state ?? 'is gone'}${put}`;
    });
  const blocking = silent.length > 0 ? silent.join(', ') : 'its followers are not in step with the leader';
  return `${needed} voters in step are needed, ${Math.min(serving.length, synced)} would be left: ${blocking}`;
}

/**
 * Waits until the others have a majority in step without the member, whatever is seen of the member itself: one that did not
 * answer us may well serve its clients. They have it for longer than a tick: a follower that leaves its leader for want of a word is back before that. Only where no voter serves, and goes on not to, is there nothing to be spared for.
 */
async function untilSpared(work: Work, host: string): Promise<void> {
  const { id, name } = seatOf(work, host);
  let quietSince: number | undefined;
  let openSince: number | undefined;
  await untilOpen(work, `${name} is not restarted`, (live) => {
    const voters = votersOf(live.ensemble?.servers ?? []);
    if (!Object.values(live.servers).some(({ state }) => state === 'serving')) {
      quietSince ??= performance.now();
      if (performance.now() - quietSince >= quietMs) return undefined;
      return `nobody serves: that may be an election, and is looked at for ${quietMs / 1000} s`;
    }
    quietSince = undefined;
    const blocker = lacks(work, live, voters.some((voter) => voter.id === id) ? id : 0, voters.length);
    openSince = blocker === undefined ? (openSince ?? performance.now()) : undefined;
    const tick = longestTick(live);
    if (openSince === undefined || performance.now() - openSince >= tick) return blocker;
    return `the others have a majority: whether they keep it is looked at for ${tick / 1000} s`;
  });
}

async function add(work: Work, seat: Seat): Promise<void> {
  const line = serverLine(seat);
  const joined = (live: ZooKeeperLive): boolean =>
    live.ensemble?.servers.some((server) => serverLine(server) === line) === true;
  await reconfigure(work, `${seat.name} is not taken in`, { joining: line }, joined, (live) => {
    const now = live.ensemble?.servers.find(({ id }) => id === seat.id);
    const server = live.servers[seat.host];
    if (!now && server?.state !== 'serving')
      return `it is not in step with the leader (${server?.why ?? server?.state})`;
    return lacks(work, live, 0, votersOf(live.ensemble?.servers ?? []).length);
  });
}

async function leave(work: Work, id: number): Promise<void> {
  const host = hostOf(work.service, work.cluster, id);
  const name = host ? memberName(work.service, host) : `server ${id}`;
  const gone = (live: ZooKeeperLive): boolean =>
    live.leader !== undefined && !live.ensemble?.servers.some((server) => server.id === id);
  await reconfigure(work, `${name} stays in the ensemble`, { leaving: String(id) }, gone, (live) => {
    const voters = votersOf(live.ensemble?.servers ?? []);
    const isVoter = voters.some((voter) => voter.id === id);
    return lacks(work, live, isVoter ? id : 0, voters.length - (isVoter ? 1 : 0));
  });
}

/** One change of the membership, through a majority of the old and of the new ensemble, until it is seen to be done. */
async function reconfigure(
  work: Work,
  what: string,
  change: { joining?: string; leaving?: string },
  done: (live: ZooKeeperLive) => boolean,
  blocked: (live: ZooKeeperLive) => string | undefined,
): Promise<void> {
  const deadline = performance.now() + gateMs;
  for (;;) {
    const live = await untilOpen(work, what, (seen) => (done(seen) ? undefined : blocked(seen)));
    if (done(live)) return;
    try {
      await asSuper(work, live.servers[live.leader!]!, (session) => session.reconfig(change));
    } catch (error) {
      // Also where the answer was lost, because the leader itself left: what counts is what is seen then.
      work.say((error as Error).message);
      if (performance.now() > deadline) throw new StepHeld(`${what}: ${(error as Error).message}`);
      await wait(200);
    }
  }
}

const asSuper = <T>(
  { service, cluster, reach }: Work,
  { host, port = service.spec.port }: LiveServer,
  run: (session: Session) => Promise<T>,
): Promise<T> => withSession(reach, { host, port }, [proof(cluster, service, 'super')], writeMs, run);

/** Makes the members and access lists what they should be, then writes and reads as the application will. */
async function serve(work: Work): Promise<void> {
  const { service, cluster, reach } = work;
  const live = await untilOpen(work, `${service.name} cannot be written`, (seen) =>
    writable(seen, (id) => hostOf(service, cluster, id))
      ? undefined
      : lacks(work, seen, 0, votersOf(seen.ensemble?.servers ?? []).length),
  );
  // Planned one by one where the ensemble could be seen before; after a start from cold disks only now.
  for (const change of changes(service, cluster, live.ensemble!, live))
    await (change.kind === 'leave' ? leave(work, change.id) : add(work, change.seat));

  const { leader, servers } = await untilOpen(work, `${service.name} has no leader`, (seen) =>
    seen.leader === undefined ? 'nobody leads' : undefined,
  );
  const first = servers[leader!]!;
  await asSuper(work, first, async (session) => {
    for (const [path, acl] of Object.entries(accessLists(cluster, service))) {
      const found = await session.getAcl(path);
      if (found === undefined) await session.create(path, Buffer.alloc(0), acl);
      else if (!sameAcl(found, acl)) await session.setAcl(path, acl);
    }
  });

  const app = proof(cluster, service, appUser);
  const probe = `${chroot(service)}/phalanx-probe`;
  const own = [{ perms: 31, scheme: 'digest', id: digest(app) }];
  const said = Buffer.from(String(Date.now()));
  const place = { host: first.host, port: first.port ?? service.spec.port };
  await withSession(reach, place, [app], writeMs, async (session) => {
    await session.create(probe, said, own).catch((error: unknown) => {
      if (!(error instanceof ZooKeeperError && error.code === nodeExists)) throw error;
      return session.setData(probe, said);
    });
    await session.sync(probe);
    const read = await session.getData(probe);
    await session.delete(probe);
    if (!read.equals(said)) throw new StepFailed(`${leader} gave back what was not written`);
  });
}
