import type { Cluster } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner, memberFolder, restartFragment } from '../../hosts/supervise.ts';
import type { BasePlan, Member, Step } from '../engine.ts';
import { chain } from '../rolling.ts';
import { type Ensemble, majority, serverLine, votersOf } from './ensemble.ts';
import { atHome, hasData, longestTick, type ZooKeeperLive } from './live.ts';
import { hostOf, memberName, type Seat, seatsOf, type ZooKeeperService } from './seats.ts';
import { easing, tightening } from './start.ts';
import { silenceOf, timingOf } from './timing.ts';

/** A change of who the members are: one server comes in, changes its vote or ports, or goes. */
export type Change =
  | { kind: 'add' | 'change'; seat: Seat; why: string }
  | { kind: 'leave'; id: number; host: string | undefined };

/**
 * The changes that make the ensemble what the file says, in the order in which they are safe: first those that come, so
 * that there are never fewer than before, then those that go: silent ones first, the leader last.
 */
export function changes(
  service: ZooKeeperService,
  cluster: Cluster,
  ensemble: Ensemble,
  live: ZooKeeperLive | undefined,
): Change[] {
  const seats = seatsOf(service, cluster);
  const coming = seats.flatMap((seat): Change[] => {
    const now = ensemble.servers.find(({ id }) => id === seat.id);
    if (now && serverLine(now) === serverLine(seat)) return [];
    if (!now) return [{ kind: 'add', seat, why: `server ${seat.id} is in the file and not in the ensemble` }];
    return [{ kind: 'change', seat, why: `now ${serverLine(now)}` }];
  });
  const rank = (host: string | undefined): number => {
    const server = live?.servers[host ?? ''];
    if (server?.state !== 'serving') return 0;
    return server.role === 'leader' ? 2 : 1;
  };
  const going = ensemble.servers
    .filter(({ id }) => !seats.some((seat) => seat.id === id))
    .map(({ id }) => ({ kind: 'leave' as const, id, host: hostOf(service, cluster, id) }))
    .sort((a, b) => rank(a.host) - rank(b.host));
  return [...coming, ...going];
}

/**
 * Says so when most voters have lost their disks: a majority of those that have data can never come together again, and what is
 * left may lack writes that only the lost ones had. Undefined while there is hope, also for disks that cannot be seen.
 */
function lostMajority(
  service: ZooKeeperService,
  cluster: Cluster,
  ensemble: Ensemble,
  live: ZooKeeperLive,
): string | undefined {
  const voters = votersOf(ensemble.servers);
  const lost = voters.filter(({ id }) => {
    const server = live.servers[hostOf(service, cluster, id) ?? ''];
    return server?.disk !== undefined && !hasData(server);
  });
  if (voters.length - lost.length >= majority(voters.length)) return undefined;
  return `${lost.length} of ${voters.length} voters lost their data: writes that only they had are gone, the others' are kept`;
}

/**
 * Says so when most voters can never come together at the addresses that the file gives them: each listens at the one that the ensemble knows it
 * by, which only a majority that serves can change. One that serves is where it is known.
 */
export function strandedMajority(
  service: ZooKeeperService,
  cluster: Cluster,
  ensemble: Ensemble,
  live: ZooKeeperLive,
): string | undefined {
  const seats = seatsOf(service, cluster);
  const voters = votersOf(ensemble.servers);
  const moved = voters.flatMap((voter) => {
    const seat = seats.find(({ id }) => id === voter.id);
    const server = live.servers[seat?.host ?? ''];
    const empty = server?.disk !== undefined && !hasData(server);
    return seat && seat.address !== voter.address && server?.state !== 'serving' && !empty
      ? [{ seat, voter }]
      : [];
  });
  const lost = voters.filter(({ id }) => {
    const server = live.servers[hostOf(service, cluster, id) ?? ''];
    return server?.disk !== undefined && !hasData(server);
  });
  if (moved.length === 0 || voters.length - moved.length - lost.length >= majority(voters.length))
    return undefined;
  const known = moved.map(({ voter }) => voter.address).join(', ');
  const now = moved.map(({ seat }) => `${seat.host} at ${seat.address}`).join(', ');
  return `its members know each other as ${known}, and the file has ${now}: most of them would never find each other. Give the hosts back the addresses that they had (\`network\`, \`address\`); then one at a time may change, while the others serve`;
}

/**
 * What a new ensemble would pass over, where the file's own disks are all seen to be empty: data on hosts that the file no longer
 * has which can never come together again, or disks there that cannot be looked at. Undefined where there is nothing of the kind, and
 * where an ensemble serves or may still be brought up: then there is none to be formed.
 */
export function anew(service: ZooKeeperService, cluster: Cluster, live: ZooKeeperLive): string | undefined {
  const servers = Object.values(live.servers);
  const empty = seatsOf(service, cluster).every(({ host, role }) => {
    const server = live.servers[host];
    return !hasData(server) && (role === 'observer' || server?.disk !== undefined);
  });
  if (!empty || servers.some(({ state }) => state === 'serving')) return undefined;
  const lost = live.ensemble && lostMajority(service, cluster, live.ensemble, live);
  if (live.ensemble && lost === undefined) return undefined;
  const names = (hosts: string[]): string => hosts.map((host) => memberName(service, host)).join(', ');
  const holding = servers.filter(hasData).map(({ host }) => host);
  const said = [
    ...(lost ? [lost.replace(/:.*/, '')] : []),
    ...(holding.length > 0
      ? [`${names(holding)}, no longer in the file, hold data, and a new ensemble passes it over`]
      : []),
    ...(live.unseen?.length
      ? [
          `the disks of ${names(live.unseen)}, no longer in the file, cannot be looked at: data may be there, and a new ensemble passes it over`,
        ]
      : []),
  ];
  return said.length > 0 ? said.join('; ') : undefined;
}

/** Makes a member that is about to be restarted patient enough for a leader of that tick. */
function easeStep(service: ZooKeeperService, cluster: Cluster, member: Member, tick: number): Step {
  const { tickTime } = timingOf(service);
  const syncLimit = Math.ceil((2 * tick) / tickTime);
  const why = `who leads until all are restarted speaks each ${tick / 2} ms: it waits ${(syncLimit * tickTime) / 1000} s`;
  return inFolder('ease', why, service, cluster, member, easing(syncLimit));
}

function tightenStep(service: ZooKeeperService, cluster: Cluster, member: Member): Step {
  const why = `it waited longer than the file says while ticks of before were about: now ${silenceOf(service)} ms`;
  const step = inFolder('tighten', why, service, cluster, member, tightening);
  const { root } = cluster.hosts[member.host]!;
  if (step.do.kind !== 'script') return step;
  const script = `${step.do.script} || exit 1\n${restartFragment(member, root)}`;
  return { ...step, do: { ...step.do, script, timeoutMs: member.stop.timeoutMs + 30_000 } };
}

function inFolder(
  verb: string,
  why: string,
  service: ZooKeeperService,
  cluster: Cluster,
  member: Member,
  script: string,
): Step {
  const { root } = cluster.hosts[member.host]!;
  const work = `cd ${quote(memberFolder(member, root))} || exit 1\n${script}`;
  return {
    id: `${verb} ${member.name}`,
    verb,
    target: member.name,
    host: member.host,
    service: service.name,
    why,
    needs: [],
    do: { kind: 'script', script: asOwner(member, root, work), timeoutMs: 30_000 },
  };
}

const memberOf = (service: ZooKeeperService, cluster: Cluster, id: number): string | undefined => {
  const host = hostOf(service, cluster, id);
  return host === undefined ? undefined : memberName(service, host);
};

/**
 * Members that do not run are started, side by side: that can only help. New ones, and ones that lost their disk, first
 * learn who the ensemble is. Then, one at a time, each step only with a majority that stays: servers come in, members
 * restart (observers, followers, the leader last), servers leave. At the end a client writes and reads. Nothing here
 * depends on who leads but the order, and nothing that runs is stopped for what was seen when the plan was made: a member may
 * not have answered us and serve, and the hosts that an ensemble is on may not have been looked at.
 */
export function planZooKeeper(
  service: ZooKeeperService,
  cluster: Cluster,
  live: ZooKeeperLive | undefined,
  base: BasePlan,
): Step[] {
  const seats = seatsOf(service, cluster);
  const passedOver = live && anew(service, cluster, live);
  const ensemble = passedOver === undefined ? live?.ensemble : undefined;
  const engine = (
    verb: string,
    target: string,
    why: string,
    args: Record<string, unknown>,
    more: Partial<Step> = {},
  ): Step => ({
    id: `${verb} ${target}`,
    verb,
    target,
    service: service.name,
    why,
    needs: [],
    do: { kind: 'engine', service: service.name, action: { name: verb, args } },
    ...more,
  });
  const ready = (seat: Seat): Step =>
    engine('ready', seat.name, 'until it serves with a majority', { host: seat.host });

  const served = live !== undefined && Object.values(live.servers).some(({ state }) => state === 'serving');
  const stranded = live && ensemble && strandedMajority(service, cluster, ensemble, live);
  if (stranded !== undefined) {
    const refuse = engine('refuse', service.name, stranded, {}, { refuses: true });
    // Those that leave stay too: what is not given back here is done as it is.
    const leaving = [...base.leaving.values()].flat();
    return [refuse, ...leaving.map((step) => ({ ...step, needs: [...step.needs, refuse.id] }))];
  }
  const hopeless = live && ensemble && lostMajority(service, cluster, ensemble, live);
  const steps: Step[] = [];
  const planned = ensemble ? changes(service, cluster, ensemble, live) : [];
  const turns: { rank: number; steps: Step[]; serves: boolean; seat: Seat }[] = [];
  /** Members that are more patient than the file says, since an earlier run was cut short. */
  const eased: Seat[] = [];
  const timing = timingOf(service);
  for (const seat of seats) {
    const own = base.byMember.get(seat.name) ?? [];
    const server = live?.servers[seat.host];
    const writes = own.filter((step) => step.verb === 'write');
    const runs = own.filter((step) => step.verb !== 'write');
    const known = ensemble?.servers.some(({ id }) => id === seat.id);
    // Whether a known member, or one of an ensemble that nobody has seen yet, has its data: it is started, and would only say that it
    // belongs to nobody; then it is told, if need be. A new one is told before.
    const unseen = server?.disk === undefined && (known || !ensemble);
    const seeds: Step[] = [];
    const strayed = known === true && hasData(server) && server?.state !== 'serving' && !atHome(server, seat);
    // It can start nowhere but where it is known: so that is changed before, and what it has on its disk, which says otherwise, it copies anew.
    if (strayed) {
      const change = planned.find((one) => one.kind === 'change' && one.seat.id === seat.id);
      if (change?.kind === 'change') seeds.push(engine('change', seat.name, change.why, { host: seat.host }));
      const why = `its data know it at another address than ${seat.address}: it copies from the others`;
      seeds.push(engine('seed', seat.name, why, { host: seat.host, force: false }));
    } else if (unseen) seeds.push(engine('seed', seat.name, 'should its disk be empty', { host: seat.host }));
    else if (ensemble && server?.state !== 'serving' && !(known && hasData(server))) {
      const why = known ? 'its data is lost: it copies from the others' : 'it learns who the others are';
      const force = known === true && hopeless !== undefined;
      const seed = engine('seed', seat.name, force ? hopeless : why, { host: seat.host, force });
      seeds.push(force ? { ...seed, destroys: service.name } : seed);
    }
    const all = unseen ? [...runs, ...seeds] : [...seeds, ...runs];
    const restart = runs.find((step) => step.verb === 'restart');
    // One that the ensemble says it does not have is nobody's majority.
    const stranger = served && !known && server?.state !== 'serving';
    if (restart && !stranger) {
      const rank = server?.role === 'leader' ? 2 : server?.role === 'follower' ? 1 : 0;
      const { before, after } = base.around(base.members.find(({ name }) => name === seat.name)!);
      const gate = engine('hold', seat.name, 'until the others can do without it', { host: seat.host });
      const turn = chain([...writes, gate, ...before, ...all, ready(seat), ...after]);
      turns.push({ rank, steps: turn, serves: server?.state === 'serving', seat });
      continue;
    }
    if (server?.state === 'serving' && (server.syncLimit ?? timing.syncLimit) !== timing.syncLimit)
      eased.push(seat);
    all.unshift(...writes);
    const searching = server?.state === 'electing' || server?.state === 'read-only';
    steps.push(...chain(all.length > 0 || searching ? [...all, ready(seat)] : []));
  }

  if (!ensemble) {
    const why =
      passedOver ??
      (live === undefined
        ? 'a new ensemble, or the one whose data is there'
        : `a new ensemble of ${service.hosts.length}`);
    const force = passedOver !== undefined;
    const accepted = force ? { destroys: service.name } : {};
    const form = engine('form', service.name, why, { force }, accepted);
    const forming = steps.map((step) =>
      step.verb === 'start' || (step.verb === 'ready' && step.needs.length === 0)
        ? { ...step, needs: [...step.needs, form.id] }
        : step,
    );
    const writes = forming.filter((step) => step.verb === 'write');
    const others = forming.filter((step) => step.verb !== 'write');
    const needs = writes.map(({ id }) => id);
    steps.splice(0, steps.length, ...writes, { ...form, needs }, ...others);
    // Those that a killed `up` had started wait for the same.
    const planned = [...steps, ...turns.flatMap((turn) => turn.steps)];
    for (const seat of seats)
      if (!planned.some(({ id }) => id === `ready ${seat.name}`))
        steps.push({ ...ready(seat), needs: [form.id] });
    for (const turn of turns)
      turn.steps = turn.steps.map((step) =>
        step.verb === 'hold' ? { ...step, needs: [...step.needs, form.id] } : step,
      );
  }

  /** All that was planned so far, as order without dependence. */
  const soFar = (): string[] => steps.map(({ id }) => id);
  const coming: Step[] = [];
  const early = steps.filter(({ verb }) => verb === 'change').map(({ id }) => id);
  for (const change of planned) {
    if (change.kind === 'leave') continue;
    const { seat, kind, why } = change;
    if (early.includes(`${kind} ${seat.name}`)) continue;
    const needs = steps.filter(({ id }) => id === `ready ${seat.name}`).map(({ id }) => id);
    coming.push(engine(kind, seat.name, why, { host: seat.host }, { needs, after: soFar() }));
  }
  steps.push(...chain(coming));

  const before = soFar();
  turns.sort((a, b) => a.rank - b.rank);
  // The last is restarted when all others have the new tick; those before may be led by one that has the old.
  const tick = live ? longestTick(live) : 0;
  if (silenceOf(service) < tick)
    for (const turn of turns.slice(0, -1)) {
      const member = base.members.find(({ name }) => name === turn.seat.name)!;
      turn.steps = chain(
        turn.steps.flatMap((step) =>
          step.verb === 'restart' ? [easeStep(service, cluster, member, tick), step] : [step],
        ),
      );
      eased.push(turn.seat);
    }
  let needs: string[] = [];
  let after = before;
  for (const turn of turns) {
    const [first, ...rest] = turn.steps;
    steps.push({ ...first!, needs: [...first!.needs, ...needs], after }, ...rest);
    const end = turn.steps.at(-1)!.id;
    // One that did not serve before may not serve now: the next one's gate says what that means. Where nobody serves, the first to be
    // restarted may even have to wait for the next.
    needs = [turn.serves ? end : turn.steps.find(({ verb }) => verb === 'restart')!.id];
    after = served ? [...before, end] : before;
  }

  // Then, with nobody left whose tick is long, they take the patience that the file gives them.
  for (const seat of eased) {
    const member = base.members.find(({ name }) => name === seat.name)!;
    const again = (step: Step): Step => ({ ...step, id: `${step.id} again` });
    const { before, after: back } = base.around(member);
    const gate = engine('hold', seat.name, 'until the others can do without it', { host: seat.host });
    const turn = chain([
      again(gate),
      ...before.map(again),
      tightenStep(service, cluster, member),
      again(ready(seat)),
      ...back.map(again),
    ]);
    steps.push({ ...turn[0]!, needs, after }, ...turn.slice(1));
    needs = [turn.at(-1)!.id];
  }

  const rolled = soFar();
  const going: Step[] = [];
  for (const change of planned) {
    if (change.kind !== 'leave') continue;
    const name = memberOf(service, cluster, change.id) ?? `${service.name} server ${change.id}`;
    const needs = [...early, ...coming.map(({ id }) => id)];
    going.push(
      engine('leave', name, 'the file no longer has it', { id: change.id }, { needs, after: rolled }),
    );
  }
  steps.push(...chain(going));

  if (steps.length > 0 || base.leaving.size > 0 || live?.wrong === undefined || live.wrong.length > 0) {
    const why = live?.wrong?.length
      ? `${live.wrong.join(', ')} missing or open to others; then a client writes and reads`
      : 'until the ensemble is as the file says, and a client writes and reads';
    const needs = steps.filter((step) => step.verb === 'form').map(({ id }) => id);
    steps.push(engine('serve', service.name, why, {}, { needs, after: soFar() }));
  }
  // Members that the file no longer has are stopped when the ensemble is without them: as it says now, by the step that makes it so,
  // or, where nobody could be asked, when it serves as the file says.
  for (const [name, own] of base.leaving) {
    const leave = `leave ${name}`;
    const without = served && !ensemble?.servers.some(({ id }) => memberOf(service, cluster, id) === name);
    const gate = going.some(({ id }) => id === leave) ? [leave] : without ? [] : [`serve ${service.name}`];
    steps.push(...own.map((step) => ({ ...step, needs: [...step.needs, ...gate] })));
  }
  return steps;
}
