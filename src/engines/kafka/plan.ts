import type { Cluster } from '../../file/cluster.ts';
import type { BasePlan, Step } from '../engine.ts';
import { chain } from '../rolling.ts';
import { formed, type KafkaLive, named } from './live.ts';
import { nearlyEmpty, planMoves } from './moves.ts';
import { type KafkaService, nodeOf, type Seat, seatsOf } from './seats.ts';
import { downloadOf } from './software.ts';
import { topicDifferences } from './topics.ts';
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
  const tooFew = Object.entries(service.spec.topics).flatMap(([topic, { replication }]) =>
    replication === undefined
      ? []
      : partitions.filter((one) => one.topic === topic && one.replicas.length !== replication),
  );
  if (tooFew.length > 0) whys.push(`${named(tooFew[0]!)} has ${tooFew[0]!.replicas.length} copies`);
  if (live.moving > 0) whys.push(`${live.moving} partitions are on their way`);
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
 * First what they run is fetched. Members that do not run are started, side by side: that can only help. New ones, and
 * ones that lost their disk, are told which cluster they belong to. Then, one after the other: controllers get their
 * vote; members restart, each only when no partition and no vote needs it, the active controller last; partitions move to
 * brokers that came and off brokers that go; those leave. At the end topics and users are as the file says.
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
  if (keeper !== undefined && !Object.values(live?.nodes ?? {}).some(({ state }) => state === 'serving'))
    first.push(engine('tree', service.name, `its metadata are in ${keeper}`));
  const fetched = first.map(({ id }) => id);

  const isFormed = keeper !== undefined || (live !== undefined && formed(live));
  const hasData = Object.values(live?.nodes ?? {}).some(({ disk }) => disk?.formatted);
  const steps: Step[] = [];
  const turns: { rank: number; steps: Step[] }[] = [];
  const newcomers: string[] = [];
  for (const seat of seats) {
    const own = base.byMember.get(seat.name) ?? [];
    const node = live?.nodes[seat.name];
    const writes = own.filter((step) => step.verb === 'write');
    const runs = own.filter((step) => step.verb !== 'write');
    if (runs.some((step) => step.verb === 'restart') && node?.state === 'serving') {
      const rank = seat.id === live?.quorum?.leader ? 2 : seat.controller ? 1 : 0;
      const member = base.members.find(({ name }) => name === seat.name)!;
      const { before, after } = base.around(member);
      const gate = engine('hold', seat.name, 'until no partition and no vote needs it', { name: seat.name });
      turns.push({ rank, steps: chain([...writes, gate, ...before, ...runs, ready(seat), ...after]) });
      continue;
    }
    const serving = node?.state === 'serving';
    const seed =
      isFormed && keeper === undefined && !serving && runs.length > 0 && !node?.disk?.formatted
        ? [engine('seed', seat.name, 'it is told which cluster it belongs to', { name: seat.name })]
        : [];
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
    for (const turn of turns) turn.steps = turn.steps.map((step) => needing(step, fetched));
  }

  /** All that was planned so far, as order without dependence. */
  const soFar = (): string[] => steps.map(({ id }) => id);
  const votes = live ? whyVote(service, cluster, live) : { add: [], remove: [] };
  const adding: Step[] = [];
  for (const seat of votes.add) {
    const needs = steps.filter(({ id }) => id === `ready ${seat.name}`).map(({ id }) => id);
    adding.push(
      engine(
        'vote',
        seat.name,
        'a controller without a vote',
        { name: seat.name },
        { needs, after: soFar() },
      ),
    );
  }

  // A controller is restarted into its role before it can be given a vote.
  const becomes = (step: Step): boolean =>
    turns.some((turn) => turn.steps.some((one) => one.target === step.target));
  steps.push(...chain(adding.filter((step) => !becomes(step))));
  const before = soFar();
  turns.sort((a, b) => a.rank - b.rank);
  let last: string | undefined;
  for (const turn of turns) {
    const [first, ...rest] = turn.steps;
    steps.push({ ...first!, needs: [...first!.needs, ...(last ? [last] : [])], after: before }, ...rest);
    last = turn.steps.at(-1)!.id;
  }
  const late = adding
    .filter(becomes)
    .map((step) => ({ ...step, needs: [...step.needs, ...(last ? [last] : [])] }));
  steps.push(...chain(late));

  const whys = live ? whyMove(service, cluster, live) : [];
  const going = [...base.leaving.keys()];
  if (newcomers.length > 0) whys.push(`${newcomers.join(', ')} ${newcomers.length > 1 ? 'are' : 'is'} empty`);
  if (whys.length > 0 || going.length > 0) {
    const why = whys.join(', ') || `so that nothing lies on ${going.join(', ')}`;
    steps.push(engine('move', service.name, why, {}, { after: soFar() }));
  }
  const moved = steps.filter(({ verb }) => verb === 'move').map(({ id }) => id);

  const unvoting = votes.remove.map((voter) => {
    const name = nodeOf(service, cluster, voter.id)?.name ?? `node ${voter.id}`;
    const needs = [...adding.map(({ id }) => id), ...(going.includes(name) ? moved : [])];
    const why = going.includes(name)
      ? 'the file no longer has it'
      : 'its vote is of a disk that is gone, or of a role';
    return engine('unvote', `${name} (${voter.directory})`, why, { ...voter }, { needs, after: soFar() });
  });
  steps.push(...chain(unvoting));
  for (const [name, own] of base.leaving) {
    const needs = [...moved, ...unvoting.map(({ id }) => id)];
    const leaving = chain(
      own.map((step, i) => (i === 0 ? { ...step, needs: [...step.needs, ...needs] } : step)),
    );
    steps.push(...leaving);
    const id = idOf(service, cluster, name);
    if (id !== undefined && keeper === undefined && !name.includes('.controller@'))
      steps.push(
        engine(
          'forget',
          name,
          'the controllers need not wait for it',
          { id },
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

/** The node id that a member has or had. */
function idOf(service: KafkaService, cluster: Cluster, name: string): number | undefined {
  const host = name.slice(name.indexOf('@') + 1);
  return cluster.ids?.[`${service.name}/${host}`];
}
