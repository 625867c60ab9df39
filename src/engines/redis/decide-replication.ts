import type { Cluster } from '../../file/cluster.ts';
import { at, isReplicaOf, type LiveMember, type RedisLive } from './live.ts';
import { copied, hold, type Move, move, stays, wait } from './move.ts';
import { distrusted, newest } from './newest.ts';
import { type RedisService, type Seat, seatsOf } from './seats.ts';
import { upstreams } from './tree.ts';

/**
 * What to do so that the service has one master, the one that is master now, and everybody else follows it as the
 * file's tree says. A master that is one stays one, whoever it is. Only where there is none, or more than one, data decides:
 * an empty member never leads one that has keys, and where each has writes that the other lacks, a person decides.
 * `fresh` are members that are not on their hosts yet.
 */
export function decideReplication(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  fresh: Set<string>,
): Move[] {
  const wanted = live.members.filter((member) => !member.leaving);
  const slow = wanted.find((member) => member.loading);
  if (slow) return [wait(slow.name, 'it is still reading its data')];
  const leader = leaderOf(service, live, fresh);
  if ('moves' in leader) return leader.moves;
  return [...leader.before, ...follow(service, cluster, live, leader.master, fresh)];
}

/** The master that there is or is to be, with the moves that make it one; or what stands in the way. */
export function leaderOf(
  service: RedisService,
  live: RedisLive,
  fresh: Set<string>,
): { master: LiveMember; before: Move[] } | { moves: Move[] } {
  const ups = live.members.filter((member) => member.up);
  const silent = live.members.filter((member) => !member.up && !member.leaving && !fresh.has(member.name));
  const names = (list: LiveMember[]): string => list.map((member) => member.name).join(', ');
  const masters = ups.filter((member) => member.role === 'master');
  const real = masters.filter((member) => (member.keys ?? 0) > 0 || (member.followers?.length ?? 0) > 0);
  const withData = ups.filter((member) => (member.keys ?? 0) > 0 && !distrusted(member));

  // One master, and nobody cut off from it knows more than it does.
  const sole = real.length === 1 ? real[0]! : undefined;
  if (sole && ((sole.keys ?? 0) > 0 || withData.every((member) => member.linkUp)))
    return { master: sole, before: [] };

  if (real.length === 0) {
    const linked = ups.find(
      (member) => member.role === 'replica' && member.linkUp && !ups.some((one) => isReplicaOf(member, one)),
    );
    if (linked)
      return {
        moves: [
          hold(
            service.name,
            `its master ${at(linked.upstream!)} serves its replicas but does not answer here`,
          ),
        ],
      };
    if (withData.length > 0) {
      // Its master may be cut off from us and alive: two masters would each take writes.
      const lost = silent.find((member) => ups.some((one) => isReplicaOf(one, member)));
      if (lost)
        return {
          moves: [
            hold(
              service.name,
              `its master ${lost.name} does not answer (${lost.why ?? 'down'}). If it is really dead: phalanx switchover ${service.name} --force`,
            ),
          ],
        };
    }
  }

  const found = newest(
    real.length > 1 ? ups.filter((member) => real.includes(member) || !member.linkUp) : ups,
  );
  if (found === undefined)
    return { moves: silent.length > 0 ? [wait(service.name, `${names(silent)} do not answer`)] : [] };
  if ('rivals' in found)
    return {
      moves: [
        hold(
          service.name,
          `${names(found.rivals)} each hold writes that another lacks (${found.rivals.map((one) => `${one.name}: ${one.keys} keys`).join(', ')}). Choose whose data is kept: phalanx switchover ${service.name} --to MEMBER${masters.length > 0 ? '' : ' --force'} --allow-data-loss`,
        ),
      ],
    };
  const master = found.newest;
  // With nothing anywhere the silent ones may be those that hold the data.
  if ((master.keys ?? 0) === 0 && silent.length > 0)
    return {
      moves: [
        wait(
          service.name,
          `${names(silent)} ${silent.length === 1 ? 'does' : 'do'} not answer, and may hold the data that no other member has`,
        ),
      ],
    };
  const why =
    (master.keys ?? 0) > 0 ? 'it has the newest data, and there is no master' : 'there is no data yet';
  return {
    master,
    before:
      master.role === 'master'
        ? []
        : [move('promote', master.name, why, { name: 'promote', args: { member: master.name } })],
  };
}

/** Moves that make everybody follow the master, directly or along the tree; members out of the file are handed over and let go. */
export function follow(
  service: RedisService,
  cluster: Cluster,
  live: RedisLive,
  master: LiveMember,
  fresh: Set<string>,
): Move[] {
  const moves: Move[] = [];
  const byName = new Map(live.members.map((member) => [member.name, member]));
  const seats = seatsOf(service, cluster);
  const serves = (name: string): boolean => byName.get(name)?.up === true || fresh.has(name);
  if (master.leaving) {
    const heir = live.members.find(
      (member) => !member.leaving && member.up && member.role === 'replica' && member.linkUp,
    );
    if (!heir)
      return [
        wait(
          service.name,
          `the master ${master.name} is to leave, and no replica that stays has its data yet`,
        ),
      ];
    const handed = move('hand over', master.name, `the file no longer has it; ${heir.name} becomes master`, {
      name: 'switchover',
      args: { to: heir.name },
    });
    for (const [name, parent] of upstreams(service, cluster, heir.name, serves)) {
      const member = byName.get(name);
      // Replicas are hung up with the hand-over; what holds more than the master has stopped us before (leaderOf).
      if (member?.up ? member.role === 'replica' : !fresh.has(name)) continue;
      const needs = [handed, ...moves].filter((one) => one === handed || one.target === parent);
      moves.push(
        copies(
          name,
          parent,
          `${member?.up ? 'copies nobody yet' : 'new'}: copies ${parent}`,
          needs.map((one) => one.id),
        ),
      );
    }
    return [handed, ...moves, ...lastCopies(service, seats, live, fresh, heir, handed)];
  }
  // Parents before children, so that a chain is built from the top.
  for (const [name, parent] of upstreams(service, cluster, master.name, serves)) {
    const seat = seats.find((one) => one.name === parent)!;
    const member = byName.get(name);
    const needs = moves.filter((one) => one.target === parent).map((one) => one.id);
    const replicate = (why: string): void => {
      moves.push(copies(name, parent, why, needs));
    };
    if (!member?.up) {
      if (fresh.has(name)) replicate(`new: copies ${parent}`);
      continue;
    }
    if (member.role === 'replica') {
      if (at(member.upstream!) !== at(seat))
        replicate(`copies ${at(member.upstream!)}, is to copy ${parent}`);
      continue;
    }
    if ((member.keys ?? 0) === 0) replicate(`empty: copies ${parent}`);
    else if (newestOf(master, member)) replicate(`was master before; all it holds is in ${master.name}`);
    else
      moves.push(
        hold(
          name,
          `it holds writes that the master ${master.name} lacks (${member.keys} keys). To give them up: phalanx switchover ${service.name} --to ${master.name} --allow-data-loss`,
        ),
      );
  }
  const changing = new Set(moves.map((one) => one.target));
  return [
    ...moves,
    ...lastCopies(service, seats, live, fresh, master).filter((one) => !changing.has(one.target)),
  ];
}

const copies = (name: string, parent: string, why: string, needs: string[]): Move =>
  move('replicate', name, why, { name: 'follow', args: { member: name, upstream: parent } }, { needs });

/** What keeps members from leaving: as long as one that the file wants has not copied the master, they are what there is of its data. */
function lastCopies(
  service: RedisService,
  seats: Seat[],
  { members }: RedisLive,
  fresh: Set<string>,
  master: LiveMember,
  handed?: Move,
): Move[] {
  const leavers = members.filter(
    (one) => one.leaving && one.up && (one.role === 'replica' || one.name === handed?.target),
  );
  if (leavers.length === 0) return [];
  const ups = new Map(members.filter((one) => one.up).map((one) => [one.name, one]));
  const missing = seats.filter(({ name }) => !ups.has(name) && !fresh.has(name));
  if (missing.length > 0) return leavers.map((one) => stays(one, service.name, missing));
  return seats
    .filter(({ name }) => name !== master.name && ups.get(name)?.role === 'replica' && !ups.get(name)!.linkUp)
    .map(({ name }) => copied(name, handed ? [handed.id] : []));
}

function newestOf(master: LiveMember, member: LiveMember): boolean {
  const found = newest([master, member]);
  return found !== undefined && 'newest' in found && found.newest === master;
}
