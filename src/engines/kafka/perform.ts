import { setTimeout as wait } from 'node:timers/promises';
import type { Connection } from '@platformatic/kafka';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner, diedFragment, memberFolder } from '../../hosts/supervise.ts';
import { type EngineAction, StepFailed, StepHeld } from '../engine.ts';
import { forgetHint } from '../forget.ts';
import { asking, type Kafka, reason } from './client.ts';
import { blockedBy, refusedMeanwhile } from './gate.ts';
import { makeRoot } from './keeper.ts';
import { formed, type KafkaLive, leaderless, named, underReplicated } from './live.ts';
import { emptyBroker, movePartitions } from './move.ts';
import { answerMs, observeKafka } from './observe.ts';
import { otherVoters, whyVote } from './plan.ts';
import { addVoter, removeVoter, type Voter } from './raft.ts';
import { type KafkaService, memberName, nodeOf, type Seat, seatsOf } from './seats.ts';
import { makeTopics } from './serve.ts';
import { shipSoftware } from './ship.ts';
import { fetchSoftware } from './software.ts';
import { topicDifferences } from './topics.ts';
import { clusterId, firstDirectory } from './uuid.ts';

/** How long a JVM may take to start, to replay its log and to be counted on. */
const readyMs = 120_000;
/** How long a step waits for copies to be in step before it gives up and holds. */
const gateMs = 90_000;

export interface Doing {
  service: KafkaService;
  cluster: Cluster;
  reach: Reach;
  say: (line: string) => void;
}

/** Carries out the engine's own steps; each may be repeated, and does nothing where it is done already. */
export async function performKafka(
  action: EngineAction,
  service: KafkaService,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  try {
    await carryOut(action, { service, cluster, reach, say });
  } catch (error) {
    if (error instanceof StepFailed || error instanceof StepHeld) throw error;
    throw new StepFailed(`${service.name}: ${reason(error)}`);
  }
}

async function carryOut(action: EngineAction, doing: Doing): Promise<void> {
  const { service, cluster, say } = doing;
  const { name, id, directory, why } = action.args as {
    name: string;
    id: number;
    directory: string;
    why: string;
  };
  switch (action.name) {
    case 'fetch':
      return fetchSoftware(service, cluster, say);
    case 'ship': {
      const { host } = seatOf(doing, name);
      return shipSoftware(service, doing.reach.host(host), cluster.hosts[host]!.root, say);
    }
    case 'tree':
      return makeRoot(service, cluster, doing.reach, say);
    case 'form':
      return form(doing);
    case 'seed': {
      const live = await observeKafka(service, cluster, doing.reach);
      refuseLeftBehind(doing, live);
      const voters = introducers(doing, live);
      return tell(doing, seatOf(doing, name), joining(doing), { again: false, voters });
    }
    case 'refuse':
      throw new StepHeld(why);
    case 'ready':
      return untilServing(doing, seatOf(doing, name));
    case 'hold':
      return untilSpared(doing, seatOf(doing, name));
    case 'vote':
      return vote(doing, seatOf(doing, name));
    case 'unvote':
      return unvote(doing, { id, directory });
    case 'move':
      return movePartitions(doing);
    case 'free':
      return free(doing, name, id);
    case 'empty':
      return emptyBroker(doing, id);
    case 'forget':
      return forget(doing, id);
    case 'serve':
      return serve(doing);
    default:
      throw new StepFailed(`kafka knows no step ${action.name}`);
  }
}

const seatOf = ({ service, cluster }: Doing, name: string): Seat =>
  seatsOf(service, cluster).find((seat) => seat.name === name)!;

/** What the formatter is told of a member that joins a cluster whose controllers are there. */
const joining = ({ service, cluster }: Doing): string =>
  `--cluster-id ${clusterId(service, cluster)} --no-initial-controllers`;

/** Where those listen by whom the cluster is found while the file's controllers may not know it. */
const introducers = ({ service, cluster }: Doing, live: KafkaLive): string[] =>
  otherVoters(service, cluster, live).flatMap((id) => {
    const host = nodeOf(service, cluster, id)?.host ?? '';
    const entry = cluster.hosts[host] ?? cluster.former?.[host];
    return entry ? [`${entry.address}:${service.spec.controllerPort}`] : [];
  });

/** Throws, with what to do, where the data is only with members that the file no longer has and that do not run: nobody is there to be joined. */
function refuseLeftBehind({ service, cluster }: Doing, live: KafkaLive): void {
  if (live.quorum || live.partitions) return;
  const holders = Object.values(live.nodes).filter(({ disk }) => disk?.formatted);
  if (holders.length === 0 || !holders.every(({ idle }) => idle)) return;
  const them = [...new Set(holders.map(({ host }) => host))].join(', ');
  const folders = holders.map(
    ({ name, host }) =>
      `${memberFolder({ name }, (cluster.hosts[host] ?? cluster.former?.[host])!.root)}/data`,
  );
  throw new StepFailed(
    `the data of ${service.name} is on ${them}, where the file no longer has it, and nothing runs there: put ${holders.length > 1 ? 'back what the file had last' : `${them} back`} (\`hosts\`, \`controllers\`) and run up again, then take away what is to leave; or, to begin anew without that data, move ${folders.join(', ')} away`,
  );
}

/**
 * Tells every member that it belongs to a new cluster, and who its first controllers are. Only where no host at all has data, also none that the file
 * no longer has, is there a new cluster, and for that every host must be looked at; otherwise members are told to join the one there is. Ids come from the
 * cluster's secret: a form that was cut short is repeated word for word.
 */
async function form(doing: Doing): Promise<void> {
  const { service, cluster, reach } = doing;
  const seats = seatsOf(service, cluster);
  const unseen = (live: KafkaLive): string[] => [
    ...seats.filter(({ name }) => !live.nodes[name]?.disk).map(({ name }) => name),
    ...(live.unseen ?? []),
  ];
  let live = await observeKafka(service, cluster, reach);
  // A busy host is given time: a new cluster must not depend on a slow answer.
  for (let again = 0; again < 5 && !formed(live) && unseen(live).length > 0; again++)
    live = await observeKafka(service, cluster, reach);
  const old = formed(live);
  if (!old && unseen(live).length > 0) {
    const left = (live.unseen ?? []).map((name) => name.slice(name.indexOf('@') + 1));
    throw new StepFailed(
      `the disks of ${unseen(live).join(', ')} cannot be looked at: data may be there, and a new cluster would pass it over. Bring the hosts up and run up again${forgetHint(cluster, left)}`,
    );
  }
  refuseLeftBehind(doing, live);
  const controllers = seats.filter(({ controller }) => controller);
  const first = controllers.map(
    ({ id, address }) =>
      `${id}@${address}:${service.spec.controllerPort}:${firstDirectory(service, cluster, id)}`,
  );
  const voters = introducers(doing, live);
  const begin = `--cluster-id ${clusterId(service, cluster)} --initial-controllers ${first.join(',')}`;
  await Promise.all(
    seats.map(async (seat) => {
      const disk = live.nodes[seat.name]?.disk;
      if (disk === undefined || (disk.formatted && voters.length === 0)) return;
      // What is told of a new cluster holds until somebody has begun it; one that joins keeps to what it was told.
      await tell(doing, seat, seat.controller && !old ? begin : joining(doing), { again: !old, voters });
    }),
  );
}

/**
 * Tells a member with an empty disk what to format it for; one that was told already is told another thing only `again`. Tells any by which `voters` it
 * finds the cluster as well, where the file's controllers may not do for that.
 */
async function tell(
  { cluster, reach }: Doing,
  seat: Seat,
  text: string,
  { again, voters }: { again: boolean; voters: string[] },
): Promise<void> {
  const { root } = cluster.hosts[seat.host]!;
  const folder = quote(`${memberFolder(seat, root)}/data`);
  const write = `mkdir -p ${folder} && cd ${folder} || exit 1
${voters.length === 0 ? 'rm -f voters' : `printf '%s\\n' ${quote(voters.join(','))} >voters.new && mv voters.new voters`}
[ ! -s log/meta.properties ] || exit 0
${again ? '' : '[ ! -s first ] || exit 0\n'}printf '%s\\n' ${quote(text)} >first.new && mv first.new first`;
  const { exit, stderr } = await reach.host(seat.host).run(asOwner(seat, root, write));
  if (exit !== 0) throw new StepFailed(`${seat.name}: ${stderr.trim()}`);
}

/** Waits until the controllers count on the member. */
async function untilServing(doing: Doing, seat: Seat): Promise<void> {
  const { cluster, reach, say } = doing;
  const { host, name } = seat;
  const { root } = cluster.hosts[host]!;
  const deaths = async (): Promise<number> => {
    const restarts = quote(`${memberFolder({ name }, root)}/restarts`);
    const { text } = await reach
      .host(host)
      .run(`cat ${restarts} 2>/dev/null`)
      .catch(() => ({ text: '' }));
    return Number(text) || 0;
  };
  const deadline = performance.now() + readyMs;
  let why = '';
  const tellNow = (now: string): void => {
    if (now !== why) say(now);
    why = now;
  };
  while (performance.now() < deadline) {
    try {
      if (await isCounted(doing, seat)) return;
      tellNow('it runs, and the controllers do not count on it yet');
    } catch (error) {
      tellNow(reason(error));
      // One death may be of a port that another has for a moment longer.
      if (why === 'nothing listens' && (await deaths()) > 2) break;
    }
    await wait(100);
  }
  const died = await reach
    .host(host)
    .run(diedFragment({ name }, root), { timeoutMs: 5_000 })
    .then(({ stderr }) => stderr.trim())
    .catch((error: Error) => error.message);
  throw new StepFailed(`${name} does not serve: ${why}${died ? `\n${died}` : ''}`);
}

/** Whether the controllers count on a member that answers. Rejects when it does not answer. */
async function isCounted(doing: Doing, seat: Seat): Promise<boolean> {
  const { service, cluster, reach } = doing;
  const { host, id, name } = seat;
  if (seat.broker)
    return asking(doing, { host, port: service.spec.port }, answerMs, async (connection, api) => {
      const { brokers } = await api.metadataV12.api.async(connection, [], false, false);
      return brokers.some(({ nodeId }) => nodeId === id);
    });
  // Only the one that leads tells of the others.
  const { nodes } = await observeKafka(service, cluster, reach);
  const node = nodes[name];
  if (node?.state === 'silent') throw new Error(node.why);
  return node?.state === 'serving';
}

/** Looks again and again until `blocked` names no reason; then gives what was seen. Holds when its time is over. */
export async function untilOpen(
  { service, cluster, reach, say }: Doing,
  what: string,
  blocked: (live: KafkaLive) => string | undefined,
  ms = gateMs,
): Promise<KafkaLive> {
  const deadline = performance.now() + ms;
  let said = '';
  for (;;) {
    const live = await observeKafka(service, cluster, reach);
    const blocker = blocked(live);
    if (blocker === undefined) return live;
    if (blocker !== said) say(blocker);
    said = blocker;
    if (performance.now() > deadline) throw new StepHeld(`${what}: ${blocker}`);
    await wait(200);
  }
}

async function untilSpared(doing: Doing, seat: Seat): Promise<void> {
  const live = await untilOpen(doing, `${seat.name} is not restarted`, (seen) =>
    blockedBy(doing.service, doing.cluster, seen, seat),
  );
  const refused = refusedMeanwhile(doing.service, live, seat).map(named);
  if (refused.length > 0)
    doing.say(`${some(refused)} refuse${refused.length === 1 ? 's' : ''} writes while it restarts`);
}

/** Runs on any broker that serves: what changes the cluster is passed on to the active controller. */
export async function anyBroker<T>(
  { service, cluster, reach }: Doing,
  live: KafkaLive,
  use: (connection: Connection, api: Kafka) => Promise<T>,
  ms = 20_000,
): Promise<T> {
  const own = seatsOf(service, cluster).filter(({ broker }) => broker);
  const serving = own.filter(({ name }) => live.nodes[name]?.state === 'serving');
  // With the metadata in ZooKeeper only the controller makes changes.
  const seat = serving.find(({ id }) => id === live.quorum?.leader) ?? serving[0];
  if (!seat) throw new StepFailed('no broker serves');
  return asking({ service, cluster, reach }, { host: seat.host, port: service.spec.port }, ms, use);
}

/** Tries until the change is seen to be done; an answer that is lost or refused for the moment counts as nothing. */
async function changeVotes(
  doing: Doing,
  what: string,
  open: (live: KafkaLive) => boolean,
  change: (api: Kafka, connection: Connection, live: KafkaLive) => Promise<void>,
): Promise<void> {
  const deadline = performance.now() + gateMs;
  for (;;) {
    const live = await untilOpen(doing, what, (seen) =>
      seen.quorum ? undefined : 'there is no active controller',
    );
    if (!open(live)) return;
    try {
      await anyBroker(doing, live, (connection, api) => change(api, connection, live));
    } catch (error) {
      if (performance.now() > deadline) throw new StepHeld(`${what}: ${reason(error)}`);
      doing.say(reason(error));
    }
    await wait(300);
  }
}

async function vote(doing: Doing, seat: Seat): Promise<void> {
  const { service, cluster } = doing;
  await changeVotes(
    doing,
    `${seat.name} gets no vote`,
    (live) => whyVote(service, cluster, live).add.some(({ id }) => id === seat.id),
    async (api, connection, live) => {
      const stale = live.quorum!.voters.find(({ id }) => id === seat.id);
      const id = clusterId(service, cluster);
      // Its own old vote, of a disk that is gone, is in the way of its new one.
      if (stale) return removeVoter(api, connection, id, stale);
      const directory = live.nodes[seat.name]?.disk?.formatted?.directory;
      if (!directory) throw new Error('its disk cannot be looked at');
      await addVoter(
        api,
        connection,
        id,
        { id: seat.id, directory },
        { address: seat.address, port: service.spec.controllerPort },
      );
    },
  );
}

async function unvote(doing: Doing, voter: Voter): Promise<void> {
  const { service, cluster } = doing;
  await changeVotes(
    doing,
    `${nodeOf(service, cluster, voter.id)?.name ?? voter.id} keeps its vote`,
    (live) =>
      live.quorum!.voters.some(({ id, directory }) => id === voter.id && directory === voter.directory),
    (api, connection) => removeVoter(api, connection, clusterId(service, cluster), voter),
  );
}

/**
 * Takes the vote of a controller that is to be a mere broker or to leave, if it has one, when those that the file wants have theirs. Holds where that
 * cannot be known: it could no longer cast a vote that a majority may need.
 */
async function free(doing: Doing, name: string, node: number): Promise<void> {
  const { service, cluster } = doing;
  const live = await untilOpen(doing, `${name} may have a vote`, (seen) =>
    seen.quorum
      ? undefined
      : 'there is no active controller. If none comes up, its vote is needed: bring the cluster up with the controllers that the file named before, then change them',
  );
  const { add, remove } = whyVote(service, cluster, live);
  const own = remove.filter(({ id }) => id === node);
  if (own.length === 0) return;
  for (const newcomer of add) await vote(doing, newcomer);
  for (const voter of own) await unvote(doing, voter);
}

/** The controllers forget a broker that is gone. Not known to them: done. */
async function forget(doing: Doing, id: number): Promise<void> {
  const live = await observeKafka(doing.service, doing.cluster, doing.reach);
  if (live.brokers.includes(id))
    await untilOpen(doing, `node ${id} is not forgotten`, (seen) =>
      seen.brokers.includes(id) ? 'the controllers still count on it' : undefined,
    );
  await anyBroker(doing, live, (connection, api) => api.unregisterBrokerV0.api.async(connection, id)).catch(
    (error: unknown) => {
      if (!/BROKER_ID_NOT_REGISTERED|not registered/i.test(reason(error)))
        throw new StepFailed(`${memberName(doing.service, String(id))}: ${reason(error)}`);
    },
  );
}

/** Makes topics and users as the file says; then waits until every partition has all its copies in step. */
async function serve(doing: Doing): Promise<void> {
  const { service, cluster } = doing;
  const live = await untilOpen(
    doing,
    `${service.name} cannot be changed`,
    (seen) =>
      !seen.quorum
        ? 'there is no active controller'
        : !seen.partitions
          ? 'no broker answers'
          : seen.users
            ? undefined
            : 'no broker tells its users',
    30_000,
  );
  // Planned one by one where the cluster could be seen before; after a start from cold disks only now.
  const votes = whyVote(service, cluster, live);
  for (const seat of votes.add) await vote(doing, seat);
  for (const voter of whyVote(service, cluster, live).remove) await unvote(doing, voter);
  await makeTopics(doing, live);
  await untilOpen(doing, `${service.name} is not whole`, (seen) => {
    const differences = topicDifferences(service, seen);
    if (!differences) return 'no broker answers';
    if (differences.length > 0) return differences.join(', ');
    const lost = leaderless(seen.partitions!);
    if (lost.length > 0) return `nobody leads ${some(lost.map(named))}`;
    const under = underReplicated(seen.partitions!);
    if (under.length > 0) {
      const missing = new Set(
        under.flatMap(({ replicas, isr }) => replicas.filter((id) => !isr.includes(id))),
      );
      const who = [...missing].map((id) => nodeOf(service, cluster, id)?.name ?? `node ${id}`);
      return `${some(under.map(named))} lack a copy in step (${who.join(', ')})`;
    }
    return undefined;
  });
}

/** The first few, and how many more. */
export const some = (names: string[]): string =>
  names.length <= 4 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
