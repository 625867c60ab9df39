import type { Cluster } from '../../file/cluster.ts';
import type { BasePlan, Step } from '../engine.ts';
import { restartStep } from '../restart.ts';
import { chain } from '../rolling.ts';
import { formed, type KafkaLive, type LiveNode, named } from './live.ts';
import { nearlyEmpty, planMoves } from './moves.ts';
import type { Voter } from './raft.ts';
import { type KafkaService, nodeOf, type Seat, seatsOf } from './seats.ts';
import { downloadOf } from './software.ts';
import { copiesWanted, topicDifferences } from './topics.ts';
import { usersOf } from './users.ts';

/** Why partitions are to move, a phrase each; empty when all are where they belong. */
export function whyMove(service: KafkaService, cluster: Cluster, live: KafkaLive): string[] {
  const { partitions } = live;
  if (!partitions) return [];
  const seats = seatsOf(service, cluster).filter(({ broker }) => broker);
  const ids = seats.map(({ id }) => id);
  const whys: string[] = [];
  const strangers = [...new Set(partitions.flatMap(({ replicas }) => replicas))].filter(
    (id) => !ids.includes(id),
  );
  for (const id of strangers) {
    const held = partitions.filter(({ replicas }) => replicas.includes(id));
    whys.push(
      `${nodeOf(service, cluster, id)?.name ?? `node ${id}`} leaves and holds ${held.length} partitions`,
    );
  }
  const serving = ids.filter((id) => live.brokers.includes(id));
  for (const id of nearlyEmpty(partitions, serving)) {
    const { moves } = planMoves(partitions, serving, { spread: true });
    if (moves.some(({ to, from }) => to.includes(id) && !from.includes(id)))
      whys.push(`${nodeOf(service, cluster, id)?.name} holds next to nothing`);
  }
  const wrong = partitions.find((one) => one.replicas.length !== copiesWanted(service, one));
  if (wrong) {
    const has = wrong.replicas.length;
    whys.push(
      `${named(wrong)} has ${has} ${has === 1 ? 'copy' : 'copies'}, not ${copiesWanted(service, wrong)}`,
    );
  }
  const moving = live.moving?.length ?? 0;
  if (moving > 0) whys.push(`${moving} partitions are on their way`);
  else if (Object.values(live.nodes).some(({ throttled }) => throttled))
    whys.push('a limit on replication is left over');
  return whys;
}

/** Controllers that want a vote and votes that are nobody's any more, from what was found. */
export function whyVote(
  service: KafkaService,
  cluster: Cluster,
  live: KafkaLive,
): { add: Seat[]; remove: { id: number; directory: string }[] } {
  const { quorum } = live;
  if (!quorum) return { add: [], remove: [] };
  const wanted = seatsOf(service, cluster).filter(({ controller }) => controller);
  const directory = (seat: Seat): string | undefined => live.nodes[seat.name]?.disk?.formatted?.directory;
  const holds = (seat: Seat): boolean =>
    quorum.voters.some(
      (voter) =>
        voter.id === seat.id && (directory(seat) === undefined || voter.directory === directory(seat)),
    );
  return {
    add: wanted.filter((seat) => !holds(seat)),
    remove: quorum.voters.filter((voter) => {
      const seat = wanted.find(({ id }) => id === voter.id);
      return !seat || (directory(seat) !== undefined && directory(seat) !== voter.directory);
    }),
  };
}

/**
 * Node ids of the cluster's controllers where none of the file's is among them and in step: until those of the file have their votes, only these may
 * know where the cluster is. Where nobody tells who votes, and none of the file's controllers has data, it may be any that has.
 */
export function otherVoters(service: KafkaService, cluster: Cluster, live: KafkaLive): number[] {
  const listed = seatsOf(service, cluster).flatMap(({ controller, id }) => (controller ? [id] : []));
  const holders = Object.values(live.nodes).filter(({ disk }) => disk?.formatted);
  const known: { id: number; caughtUp?: boolean }[] = live.quorum?.voters ?? holders;
  if (known.some(({ id, caughtUp }) => caughtUp !== false && listed.includes(id))) return [];
  return [...new Set(known.map(({ id }) => id))].filter((id) => !listed.includes(id));
}

/**
 * Whether a member that runs finds the active controller by none of the file's: the voters that it learns of do not count for that (KIP-853), so when
 * the active one changes and those of before are gone it asks closed ports only, and is lost.
 */
function stranded(service: KafkaService, seats: Seat[], node: LiveNode | undefined): boolean {
  const ran = node?.disk?.started?.controllers ?? [];
  const listed = seats.flatMap(({ controller, address }) =>
    controller ? [`${address}:${service.spec.controllerPort}`] : [],
  );
  return service.spec.metadata === undefined && ran.length > 0 && !ran.some((one) => listed.includes(one));
}

/** Why no member can be brought to what the file says as long as they run as they do; undefined when they can. */
export function whyRefuse(
  service: KafkaService,
  cluster: Cluster,
  live: KafkaLive | undefined,
  base: BasePlan,
): string | undefined {
  if (!live) return undefined;
  const { spec } = service;
  const started = (seat: Seat) => live.nodes[seat.name]?.disk?.started;
  const seats = seatsOf(service, cluster);
  for (const seat of seats) {
    const ran = started(seat);
    if (!ran || !(base.byMember.get(seat.name) ?? []).some(({ verb }) => verb === 'restart')) continue;
    const differences = [
      ...(seat.broker && ran.port !== undefined && ran.port !== spec.port
        ? [`port ${ran.port}, not ${spec.port}`]
        : []),
      ...(seat.controller && ran.controllerPort !== undefined && ran.controllerPort !== spec.controllerPort
        ? [`controllerPort ${ran.controllerPort}, not ${spec.controllerPort}`]
        : []),
      ...(ran.tls !== spec.tls ? [`tls ${ran.tls}, not ${spec.tls}`] : []),
    ];
    // One that restarts alone would no longer find the others, nor they it.
    if (differences.length > 0)
      return `${seat.name} runs with ${differences.join(' and ')}: members find each other by it, so it changes while all are stopped. phalanx down, then phalanx up`;
  }
  return undefined;
}

/** A member that is restarted when its turn comes, or started without the vote that it has. */
interface Turn {
  seat: Seat;
  rank: number;
  /** The file no longer has it as a controller, and it has a vote. */
  voted: boolean;
  /** It takes part now: its turn is over when it does again. */
  serves: boolean;
  /** Up to its start; the rest is only done when it serves. */
  steps: Step[];
  rest: Step[];
}

/**
 * First what they run is fetched. Members that do not run are started, side by side: that can only help. New ones, and
 * ones that lost their disk, are told which cluster they belong to. Then, one after the other: controllers get their
 * vote; members restart, each only when no partition and no vote needs it, those first that do not serve as it is, then
 * brokers, controllers without a vote, which get it with their turn, those that have one, the active controller last;
 * controllers that become mere brokers lose their vote and then restart; partitions move to brokers that came and off brokers that go; those
 * leave. At the end topics and users are as the file says.
 */
export function planKafka(
  service: KafkaService,
  cluster: Cluster,
  live: KafkaLive | undefined,
  base: BasePlan,
): Step[] {
  const seats = seatsOf(service, cluster);
  const engine = (
    verb: string,
    target: string,
    why: string,
    args: Record<string, unknown> = {},
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
  const refused = whyRefuse(service, cluster, live, base);
  if (refused !== undefined) {
    const refuse = engine('refuse', service.name, refused, { why: refused }, { refuses: true });
    // Those that leave stay too: what is not given back here is done as it is.
    const leaving = [...base.leaving.values()].flat();
    return [refuse, ...leaving.map((step) => ({ ...step, needs: [...step.needs, refuse.id] }))];
  }
  // Where nobody tells of votes, that is asked when it can be: directly before the member is without its role, or stopped.
  const free = (name: string, id: number, more: Partial<Step> = {}): Step =>
    engine('free', name, 'it may have a vote', { name, id }, more);
  const ready = (seat: Seat): Step =>
    engine('ready', seat.name, 'until the controllers count on it', { name: seat.name });

  const fetch: Step[] = [];
  if (!live?.software) {
    const { version, tarball } = downloadOf(service);
    const from = [service.spec.path, 'the cache', tarball, 'Maven'].filter(Boolean).join(', else ');
    fetch.push(engine('fetch', service.name, `Kafka ${version} is needed: from ${from}`));
  }
  // Real machines have a copy of their own; those that were not looked at are asked for it when they are.
  const without = seats.filter(
    ({ host }, at) =>
      cluster.hosts[host]!.kind !== 'lab' &&
      (live?.lacking.includes(host) ?? true) &&
      seats.findIndex((one) => one.host === host) === at,
  );
  const shipped = without.map((seat) =>
    engine(
      'ship',
      seat.name,
      `Kafka is not on ${seat.host}`,
      { name: seat.name },
      { needs: fetch.map(({ id }) => id) },
    ),
  );
  const keeper = service.spec.metadata;
  // What is to be there before anybody starts.
  const first: Step[] = [...fetch, ...shipped];
  const there = first.map(({ id }) => id);
  if (keeper !== undefined && !Object.values(live?.nodes ?? {}).some(({ state }) => state === 'serving')) {
    // It waits for an ensemble that starts, not for packages that are installed before that: so after what comes directly after those. A host that
    // is away holds up nobody.
    const written = [...base.byMember.values()].flatMap((own) =>
      own.some(({ verb }) => verb === 'restart') ? [] : own.filter(({ verb }) => verb === 'write'),
    );
    const after = written.map(({ id }) => id);
    first.push(engine('tree', service.name, `its metadata are in ${keeper}`, {}, { after }));
  }
  const fetched = first.map(({ id }) => id);

  const isFormed = keeper !== undefined || (live !== undefined && formed(live));
  const hasData = Object.values(live?.nodes ?? {}).some(({ disk }) => disk?.formatted);
  const astray = live !== undefined && otherVoters(service, cluster, live).length > 0;
  const steps: Step[] = [];
  const turns: Turn[] = [];
  const newcomers: string[] = [];
  // When these serve again, those by whom they find the cluster until then may go.
  const introduced: string[] = [];
  for (const seat of seats) {
    const own = base.byMember.get(seat.name) ?? [];
    const node = live?.nodes[seat.name];
    const writes = own.filter((step) => step.verb === 'write');
    const runs = own.filter((step) => step.verb !== 'write');
    const member = base.members.find(({ name }) => name === seat.name)!;
    if (
      isFormed &&
      stranded(service, seats, node) &&
      !runs.some(({ verb }) => verb === 'start' || verb === 'restart')
    ) {
      runs.push(
        restartStep(
          member,
          cluster.hosts[seat.host]!.root,
          'it finds the cluster only by controllers that the file no longer has',
        ),
      );
      introduced.push(`ready ${seat.name}`);
    }
    const serving = node?.state === 'serving';
    const blank = !serving && !node?.disk?.formatted && !node?.disk?.told;
    const told = blank
      ? 'it is told which cluster it belongs to'
      : 'it is told by whom it finds the cluster: the controllers are others now';
    const seed =
      isFormed && keeper === undefined && runs.length > 0 && (blank || astray)
        ? [engine('seed', seat.name, told, { name: seat.name })]
        : [];
    const restarts = runs.some((step) => step.verb === 'restart');
    // Where nobody tells of votes, one that ran as a controller may have one.
    const voted =
      keeper === undefined &&
      !seat.controller &&
      (live?.quorum
        ? live.quorum.voters.some(({ id }) => id === seat.id)
        : isFormed && node?.disk?.started?.controller === true);
    if (restarts || (voted && runs.length > 0)) {
      // With its vote a controller is one more that the next may be missed beside: who has none yet goes before those that have.
      const votes = live?.quorum?.voters.some(({ id }) => id === seat.id) ?? true;
      const leads = seat.id === live?.quorum?.leader ? 3 : !seat.controller ? 0 : votes ? 2 : 1;
      const { before, after } = base.around(member);
      const gate = engine('hold', seat.name, 'until no partition and no vote needs it', { name: seat.name });
      turns.push({
        seat,
        rank: serving ? leads : -1,
        voted,
        serves: serving,
        steps: chain([...writes, ...seed, ...(restarts ? [gate] : []), ...before, ...runs]),
        rest: [ready(seat), ...after],
      });
      continue;
    }
    const silent = node !== undefined && !serving && own.length === 0;
    const all = [...writes, ...seed, ...runs];
    // Where nobody tells of partitions, a disk that was never formatted holds none.
    const holds = live?.partitions
      ? live.partitions.length === 0 || live.partitions.some(({ replicas }) => replicas.includes(seat.id))
      : !hasData || keeper !== undefined || node?.disk === undefined || node.disk.formatted !== undefined;
    if (seat.broker && runs.length > 0 && !holds) newcomers.push(seat.name);
    steps.push(...chain(runs.length > 0 || silent ? [...all, ready(seat)] : all));
  }
  const needing = (step: Step, ids: string[]): Step =>
    step.verb === 'start' || step.verb === 'restart' ? { ...step, needs: [...step.needs, ...ids] } : step;

  if (!isFormed) {
    const why =
      live === undefined
        ? 'a new cluster, or the one whose data is there'
        : `a new cluster of ${seats.length}`;
    const writes = steps.filter((step) => step.verb === 'write');
    const others = steps.filter((step) => step.verb !== 'write');
    const form = engine(
      'form',
      service.name,
      why,
      {},
      { needs: [...writes.map(({ id }) => id), ...fetched] },
    );
    const after = others.map((step) =>
      step.verb === 'start' || step.verb === 'restart' || (step.verb === 'ready' && step.needs.length === 0)
        ? { ...step, needs: [...step.needs, form.id] }
        : step,
    );
    steps.splice(0, steps.length, ...fetch, ...shipped, ...writes, form, ...after);
  } else if (first.length > 0) {
    steps.splice(0, steps.length, ...first, ...steps.map((step) => needing(step, fetched)));
    // Nothing of a member that runs is written before: should it die, its supervisor starts what is written.
    for (const turn of turns) {
      const [head, ...others] = turn.steps;
      turn.steps = [{ ...head!, needs: [...head!.needs, ...there] }, ...others].map((step) =>
        needing(step, fetched),
      );
    }
  }

  /** All that was planned so far, as order without dependence. */
  const soFar = (): string[] => steps.map(({ id }) => id);
  const votes = live ? whyVote(service, cluster, live) : { add: [], remove: [] };
  const adding = votes.add.map((seat) => {
    const needs = steps.filter(({ id }) => id === `ready ${seat.name}`).map(({ id }) => id);
    return engine(
      'vote',
      seat.name,
      'a controller without a vote',
      { name: seat.name },
      { needs, after: soFar() },
    );
  });

  // A controller is restarted into its role before it can be given a vote.
  const voteOf = ({ seat }: Turn): Step[] => adding.filter(({ target }) => target === seat.name);
  const began = isFormed ? [] : [`form ${service.name}`];
  // Some of those that are started may wait for those that have a turn.
  const started = steps.filter(({ verb }) => verb !== 'ready').map(({ id }) => id);
  const turned = turns.flatMap(voteOf);
  steps.push(...chain(adding.filter((step) => !turned.includes(step))));
  const before = soFar();
  turns.sort((a, b) => a.rank - b.rank);
  let last: string[] = began;
  const take = ({ steps: own, rest, serves }: Turn, needs: string[]): void => {
    const [head, ...others] = own;
    const order = serves ? before : started;
    steps.push({ ...head!, needs: [...new Set([...head!.needs, ...needs])], after: order }, ...others);
    if (serves) steps.push(...chain([{ ...rest[0]!, needs: [own.at(-1)!.id] }, ...rest.slice(1)]));
  };
  // Those that do not serve may need each other for it: all of them are restarted, each behind its gate, and then waited for.
  const idle = turns.filter(({ voted, serves }) => !voted && !serves);
  for (const turn of idle) {
    take(turn, last);
    last = [turn.steps.at(-1)!.id];
  }
  const waited = idle.map(({ steps: own, rest }) =>
    chain([{ ...rest[0]!, needs: [own.at(-1)!.id] }, ...rest.slice(1)]),
  );
  steps.push(...waited.flat());
  if (waited.length > 0) last = waited.map((rest) => rest.at(-1)!.id);
  const late = idle.flatMap((turn) =>
    voteOf(turn).map((step) => ({ ...step, needs: [...step.needs, turn.rest.at(-1)!.id] })),
  );
  steps.push(...chain(late));
  if (late.length > 0) last = [...last, late.at(-1)!.id];
  for (const turn of turns.filter(({ voted, serves }) => !voted && serves)) {
    const rest = [...turn.rest, ...voteOf(turn)];
    take({ ...turn, rest }, last);
    last = [rest.at(-1)!.id];
  }

  const going = [...base.leaving.keys()];
  const unvote = (voter: Voter, needs: string[]): Step => {
    const name = nodeOf(service, cluster, voter.id)?.name ?? `node ${voter.id}`;
    const why = going.includes(name)
      ? 'the file no longer has it'
      : 'its vote is of a disk that is gone, or of a role';
    return engine(
      'unvote',
      `${name} (${voter.directory})`,
      why,
      { ...voter },
      { needs: [...adding.map(({ id }) => id), ...needs], after: soFar() },
    );
  };
  // Of members that stay as mere brokers. A vote goes before the role does: votes that nobody can cast count for the majority all the same.
  const stays = votes.remove.filter(({ id }) => seats.some((seat) => seat.id === id && !seat.controller));
  for (const voter of stays) {
    const own = unvote(voter, last);
    steps.push(own);
    last = [own.id];
    const turn = turns.find(({ seat, voted }) => voted && seat.id === voter.id);
    if (!turn) continue;
    take({ ...turn, serves: true }, last);
    last = [turn.rest.at(-1)!.id];
  }
  for (const turn of turns.filter(({ voted }) => voted && !live?.quorum)) {
    const { name, id } = turn.seat;
    const freed = free(name, id, { needs: last, after: soFar() });
    steps.push(freed);
    take({ ...turn, serves: true }, [freed.id]);
    last = [turn.rest.at(-1)!.id];
  }

  const whys = live ? whyMove(service, cluster, live) : [];
  if (newcomers.length > 0) whys.push(`${newcomers.join(', ')} ${newcomers.length > 1 ? 'are' : 'is'} empty`);
  if (whys.length > 0 || going.length > 0) {
    const why = whys.join(', ') || `so that nothing lies on ${going.join(', ')}`;
    steps.push(engine('move', service.name, why, {}, { after: soFar() }));
  }
  const moved = steps.filter(({ verb }) => verb === 'move').map(({ id }) => id);

  const unvoting = votes.remove
    .filter((voter) => !stays.includes(voter))
    .map((voter) => {
      const name = nodeOf(service, cluster, voter.id)?.name;
      return unvote(voter, name !== undefined && going.includes(name) ? [...moved, ...introduced] : []);
    });
  steps.push(...chain(unvoting));
  for (const [name, own] of base.leaving) {
    const needs = [...moved, ...introduced, ...unvoting.map(({ id }) => id)];
    const left = idOf(service, cluster, name);
    const holds = left !== undefined && !isController(name);
    const empty = holds
      ? [engine('empty', name, 'nothing may lie on it when it is stopped', { id: left })]
      : [];
    const voteless = keeper !== undefined || live?.quorum !== undefined || left === undefined;
    const [first, ...rest] = [...empty, ...(voteless ? [] : [free(name, left)]), ...own];
    const leaving = chain([{ ...first!, needs: [...first!.needs, ...needs] }, ...rest]);
    steps.push(...leaving);
    if (holds && keeper === undefined)
      steps.push(
        engine(
          'forget',
          name,
          'the controllers need not wait for it',
          { id: left },
          { needs: [leaving.at(-1)!.id] },
        ),
      );
  }

  const differences = live ? topicDifferences(service, live) : undefined;
  const lacking = live?.users ? usersOf(service).filter((user) => !live.users!.includes(user)) : undefined;
  const wrong = [
    ...(differences ?? []),
    ...(lacking && lacking.length > 0 ? [`no user ${lacking.join(', ')}`] : []),
  ];
  if (steps.length > 0 || wrong.length > 0 || !live) {
    const why = wrong.join(', ') || 'until topics and users are as the file says and every copy is in step';
    const needs = steps.filter((step) => step.verb === 'form').map(({ id }) => id);
    steps.push(engine('serve', service.name, why, {}, { needs, after: soFar() }));
  }
  return steps;
}

/** Of the name of a member that the file no longer has: it is a controller of its own. */
const isController = (name: string): boolean => name.includes('.controller@');

/** The node id that a member has or had. */
function idOf(service: KafkaService, cluster: Cluster, name: string): number | undefined {
  const host = name.slice(name.indexOf('@') + 1);
  return cluster.ids?.[`${service.name}/${isController(name) ? `controller.${host}` : host}`];
}
