import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from '@platformatic/kafka';
import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { within } from '../../hosts/deadline.ts';
import type { Reach } from '../../hosts/host.ts';
import { liesHere } from '../../hosts/lab/lab-host.ts';
import { memberFolder, wantedUp } from '../../hosts/supervise.ts';
import { asking, type Kafka, partly, reason } from './client.ts';
import { clientListener, controllerListener } from './configuration.ts';
import type { Disk, KafkaLive, LiveNode, LiveVoter, Partition, Quorum, Started } from './live.ts';
import { formerNodes, type KafkaService, type Node, nodeOf, seatsOf } from './seats.ts';
import { hasCopy, hasSoftware, notFetched } from './software.ts';
import { lookedAt, wantedTopics } from './topics.ts';
import { fromDashed } from './uuid.ts';

/** How long one member may take for all that it is asked; a frozen one costs this much, all of them together no more. */
export const answerMs = 2_500;

/**
 * How long what the active controller has to answer may take beyond the rest. A broker that finds none holds such a question for much longer, and
 * what it knows itself is told all the same.
 */
const controllerMs = 1_000;

export interface Work {
  service: KafkaService;
  cluster: Cluster;
  reach: Reach;
}

/** Limits on replication while partitions move, as each broker has them. */
export const throttleKeys = ['leader.replication.throttled.rate', 'follower.replication.throttled.rate'];

/** A member's own answers. */
export interface Found {
  node: LiveNode;
  /** Its host has no copy of the software. */
  lacking: boolean;
  /** A controller that answers and does not lead. */
  follows?: boolean;
  quorum?: Quorum;
  partitions?: Partition[];
  brokers?: number[];
}

/**
 * Asks every member of the file at once, then those that only the cluster still has; then one broker for what it says of
 * all. Each within `answerMs`, however many are dead or frozen. Where nobody of the file knows of a cluster, that may be on hosts that the file no
 * longer has here: every member that there ever was is looked at.
 */
export async function observeKafka(
  service: KafkaService,
  cluster: Cluster,
  reach: Reach,
): Promise<KafkaLive> {
  const work = { service, cluster, reach };
  const seats = seatsOf(service, cluster);
  const found = await Promise.all(seats.map((seat) => observeNode(work, seat)));
  const known = new Set(seats.map(({ id }) => id));
  const others = new Set(
    found
      .flatMap(({ quorum, brokers, partitions }) => [
        ...(quorum?.voters ?? []).map(({ id }) => id),
        ...(brokers ?? []),
        ...(partitions ?? []).flatMap(({ replicas }) => replicas),
      ])
      .filter((id) => !known.has(id)),
  );
  found.push(
    ...(await Promise.all(
      [...others].flatMap((id) => {
        const node = nodeOf(service, cluster, id);
        const there = node && (node.host in cluster.hosts || node.host in (cluster.former ?? {}));
        return there ? [observeNode(work, node)] : [];
      }),
    )),
  );
  const aware = found.some(
    ({ node, quorum, partitions }) => quorum || partitions || node.disk?.formatted !== undefined,
  );
  const left = aware
    ? []
    : await Promise.all(formerNodes(service, cluster).map((node) => observeFormer(work, node)));
  // Beside a disk of the file's own that was not seen, data where nothing runs may be of long ago: only that disk tells.
  const allSeen = found.every(({ node }) => node.disk);
  found.push(
    ...left.flatMap((one) =>
      one === undefined || 'unseen' in one || (one.node.idle && !allSeen) ? [] : [one],
    ),
  );
  const begun = aware || found.some(({ node }) => node.disk?.formatted);
  const unseen = begun ? [] : left.flatMap((one) => (one && 'unseen' in one ? [one.unseen] : []));

  const quorum = found
    .flatMap((one) => one.quorum ?? [])
    .reduce<Quorum | undefined>((best, one) => (best && best.epoch >= one.epoch ? best : one), undefined);
  // A controller that does not lead tells nothing of itself: whoever knows the quorum does.
  for (const { node } of found.filter((one) => one.follows))
    if (inStep(quorum).has(node.id)) node.state = 'serving';
  const teller = tellerOf(found, quorum);
  for (const { node } of disowned(found, teller, quorum)) node.state = 'fenced';
  const more = teller ? await observeAll(work, teller.node).catch(() => undefined) : undefined;
  const sentence = notFetched(service, cluster);
  return {
    nodes: Object.fromEntries(found.map(({ node }) => [node.name, node])),
    ...(unseen.length > 0 ? { unseen } : {}),
    ...(quorum ? { quorum } : {}),
    ...(teller ? { partitions: teller.partitions! } : {}),
    brokers: teller?.brokers ?? [],
    ...(more?.moving ? { moving: more.moving } : {}),
    topics: more?.topics ?? {},
    overrides: more?.overrides ?? {},
    ...(more?.minInsync === undefined ? {} : { minInsync: more.minInsync }),
    ...(more ? { users: more.users } : {}),
    software: hasSoftware(service),
    lacking: [...new Set(found.filter(({ lacking }) => lacking).map(({ node }) => node.host))],
    ...(sentence ? { notFetched: sentence } : {}),
  };
}

/** Node ids of whoever has fetched from the active controller within its last moments. */
const inStep = (quorum: Quorum | undefined): Set<number> =>
  new Set(
    [...(quorum?.voters ?? []), ...(quorum?.observers ?? [])].flatMap(({ id, caughtUp }) =>
      caughtUp ? [id] : [],
    ),
  );

/**
 * The broker that speaks for the cluster: on the active controller's side of any cut, and the least behind. With controllers of their own that is none
 * of them, and what a broker says of itself is no proof: one that is cut off goes on telling what it knew before.
 */
export function tellerOf(found: Found[], quorum: Quorum | undefined): Found | undefined {
  const telling = found.filter(({ partitions }) => partitions);
  const serving = telling.filter(({ node }) => node.state === 'serving');
  const near = inStep(quorum);
  return (
    telling.find(({ node }) => node.id === quorum?.leader) ??
    serving.find(({ node }) => near.has(node.id)) ??
    serving[0] ??
    telling[0]
  );
}

/** Brokers that serve by their own account, and on which the controllers do not count by that of `teller`; nobody where it may be behind itself. */
export function disowned(found: Found[], teller: Found | undefined, quorum: Quorum | undefined): Found[] {
  const counted = teller?.brokers;
  if (!counted || !(teller.node.id === quorum?.leader || inStep(quorum).has(teller.node.id))) return [];
  return found.filter(
    ({ node, brokers }) => brokers && node.state === 'serving' && !counted.includes(node.id),
  );
}

/** What a member says of itself and of the cluster. */
type Asked = Pick<LiveNode, 'state' | 'bytes' | 'sizes' | 'throttled'> &
  Pick<Found, 'follows' | 'quorum' | 'partitions' | 'brokers'>;

async function observeNode(work: Work, { name, host, id, broker }: Node): Promise<Found> {
  const { spec } = work.service;
  const base = { name, host, id };
  const port = broker ? spec.port : spec.controllerPort;
  const [disk, asked] = await Promise.all([
    diskOf(work, name, host),
    asking<Asked>(work, { host, port }, answerMs, (connection, api) =>
      broker
        ? askBroker(connection, api, id, work.service.spec.metadata !== undefined)
        : askController(connection, api),
    ).then(
      (answer) => ({ ...answer, why: undefined }),
      (error: unknown) => ({ state: 'silent' as const, why: reason(error) }),
    ),
  ]);
  const { state, why, follows, quorum, partitions, brokers, ...facts }: Asked & { why?: string | undefined } =
    asked;
  return {
    node: { ...base, state, ...(why ? { why } : {}), ...facts, ...(disk ? { disk: disk.disk } : {}) },
    lacking: disk?.lacking ?? false,
    ...(follows ? { follows } : {}),
    ...(quorum ? { quorum } : {}),
    ...(partitions ? { partitions } : {}),
    ...(brokers ? { brokers } : {}),
  };
}

/**
 * A member that the file no longer has: what it has and says; undefined where its disk was seen to have nothing. Asked only where its host answers at
 * all: that may be gone for good.
 */
async function observeFormer(work: Work, node: Node): Promise<Found | { unseen: string } | undefined> {
  const { cluster, reach } = work;
  const { name, host, id } = node;
  const entry = (cluster.hosts[host] ?? cluster.former?.[host])!;
  const seen = await diskOf(work, name, host);
  if (seen === undefined) {
    if (!liesHere(reach.host(host), entry.root)) return { unseen: name };
    const disk = leftOff(entry, name);
    return (
      disk && {
        node: { name, host, id, state: 'silent', why: 'its host is off', disk, idle: true },
        lacking: false,
      }
    );
  }
  if (!seen.disk.formatted) return undefined;
  const [found, said] = await Promise.all([
    observeNode(work, node),
    reach
      .host(host)
      .run(`${wantedUp({ name }, entry.root)} || echo idle\n`, { timeoutMs: 5_000 })
      .catch(() => undefined),
  ]);
  if (found.node.state === 'silent' && said?.text.includes('idle')) found.node.idle = true;
  return found;
}

/** What a member of a lab host that is off has on its disk; undefined: nothing. */
function leftOff({ root }: HostEntry, name: string): Disk | undefined {
  const file = join(memberFolder({ name }, root), 'data/log/meta.properties');
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const get = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  const formatted = {
    cluster: get('cluster.id'),
    node: Number(get('node.id')),
    directory: get('directory.id'),
  };
  return formatted.cluster === '' ? undefined : { told: false, formatted };
}

async function askController(connection: Connection, api: Kafka): Promise<Asked> {
  const quorum = await quorumOf(connection, api);
  return quorum ? { state: 'serving' as const, quorum } : { state: 'fenced' as const, follows: true };
}

async function askBroker(connection: Connection, api: Kafka, id: number, keeper: boolean): Promise<Asked> {
  const began = performance.now();
  // A broker answers one after the other: what may be held comes last.
  const asked = Promise.all([
    // A partition that nobody leads, and a disk that failed, are answers with an error of their own.
    partly(api.metadataV12.api.async(connection, null, false, false)),
    partly(api.describeLogDirsV4.api.async(connection, null)),
    api.describeConfigsV4.api.async(
      connection,
      [
        {
          resourceType: api.ConfigResourceTypes.BROKER,
          resourceName: String(id),
          configurationKeys: throttleKeys,
        },
      ],
      false,
      false,
    ),
  ]);
  const voting = keeper ? undefined : quorumOf(connection, api);
  voting?.catch(() => {});
  const [metadata, logs, configs] = await asked;
  const quorum = voting && (await within(voting, patience(began)).catch(() => undefined));
  // With the metadata in ZooKeeper one of the brokers is the controller, and nobody votes.
  const active = keeper && metadata.controllerId >= 0 ? metadata.controllerId : undefined;
  const led = active === undefined ? quorum : { leader: active, epoch: 0, voters: [], observers: [] };
  const sizes: Record<string, number> = {};
  for (const { topics } of logs.results)
    for (const { name, partitions } of topics)
      for (const { partitionIndex, partitionSize } of partitions)
        sizes[`${name}-${partitionIndex}`] = Number(partitionSize);
  const brokers = metadata.brokers.map(({ nodeId }) => nodeId);
  return {
    state: brokers.includes(id) ? ('serving' as const) : ('fenced' as const),
    brokers,
    partitions: metadata.topics.flatMap(({ name, partitions }) =>
      partitions.map(
        ({ partitionIndex, leaderId, replicaNodes, isrNodes }): Partition => ({
          topic: name ?? '',
          index: partitionIndex,
          leader: leaderId,
          replicas: replicaNodes,
          isr: isrNodes,
        }),
      ),
    ),
    bytes: Object.values(sizes).reduce((sum, size) => sum + size, 0),
    sizes,
    throttled: configs.results.some(({ configs: keys }) =>
      keys.some(
        ({ name, value, configSource }) => throttleKeys.includes(name) && value && configSource !== 5,
      ),
    ),
    ...(led ? { quorum: led } : {}),
  };
}

/** Milliseconds for what the active controller has to answer, within what one member may take in all. */
const patience = (began: number): number =>
  Math.max(0, Math.min(controllerMs, answerMs - 200 - (performance.now() - began)));

/** The quorum as the active controller has it; undefined when whoever is asked answers and neither is it nor knows it. */
async function quorumOf(connection: Connection, api: Kafka): Promise<Quorum | undefined> {
  // From a controller that does not lead: NOT_LEADER_OR_FOLLOWER.
  const { topics } = await partly(
    api.describeQuorumV2.api.async(connection, [
      { topicName: '__cluster_metadata', partitions: [{ partitionIndex: 0 }] },
    ]),
  );
  const partition = topics[0]?.partitions[0];
  if (partition?.errorCode !== 0 || partition.leaderId < 0) return undefined;
  const now = Math.max(
    ...[...partition.currentVoters, ...partition.observers].map((one) => Number(one.lastFetchTimestamp)),
  );
  const voters = (list: typeof partition.currentVoters): LiveVoter[] =>
    list.map(({ replicaId, replicaDirectoryId, lastFetchTimestamp, lastCaughtUpTimestamp }) => ({
      id: replicaId,
      directory: fromDashed(replicaDirectoryId),
      caughtUp:
        replicaId === partition.leaderId ||
        (now - Number(lastFetchTimestamp) < 5_000 && now - Number(lastCaughtUpTimestamp) < 5_000),
    }));
  return {
    leader: partition.leaderId,
    epoch: partition.leaderEpoch,
    voters: voters(partition.currentVoters),
    observers: voters(partition.observers),
  };
}

/** What one broker says of the whole cluster: topics' configuration, users, partitions that are on their way. */
async function observeAll(work: Work, { host }: LiveNode) {
  const wanted = wantedTopics(work.service);
  return asking(work, { host, port: work.service.spec.port }, answerMs, async (connection, api) => {
    const began = performance.now();
    const asked = Promise.all([
      partly(
        api.describeConfigsV4.api.async(
          connection,
          [
            {
              resourceType: api.ConfigResourceTypes.BROKER,
              // Of no broker: for all of them.
              resourceName: '',
              configurationKeys: ['min.insync.replicas'],
            },
            ...wanted.map(({ name, config }) => ({
              resourceType: api.ConfigResourceTypes.TOPIC,
              resourceName: name,
              configurationKeys: [...new Set([...lookedAt, ...Object.keys(config)])],
            })),
          ],
          false,
          false,
        ),
      ),
      // A user that is not there is an answer, not an error.
      api.describeUserScramCredentialsV0.api.async(connection, null),
    ]);
    const moves = api.listPartitionReassignmentsV0.api.async(connection, 1_000, null);
    moves.catch(() => {});
    const [configs, users] = await asked;
    const moving = await within(moves, patience(began)).catch(() => undefined);
    const ofTopics = configs.results.filter(
      ({ resourceType }) => resourceType === api.ConfigResourceTypes.TOPIC,
    );
    const minInsync = configs.results
      .filter(({ resourceType }) => resourceType === api.ConfigResourceTypes.BROKER)
      .flatMap(({ configs: keys }) => keys)
      .find(({ name, value }) => name === 'min.insync.replicas' && value)?.value;
    return {
      moving: moving?.topics.flatMap(({ name, partitions }) =>
        partitions.map(({ partitionIndex, replicas, addingReplicas, removingReplicas }) => ({
          topic: name,
          index: partitionIndex,
          replicas,
          adding: addingReplicas,
          removing: removingReplicas,
        })),
      ),
      minInsync: minInsync ? Number(minInsync) : undefined,
      users: users.results.map(({ user }) => user),
      topics: Object.fromEntries(
        ofTopics.map(({ resourceName, configs: keys }) => [
          resourceName,
          Object.fromEntries(keys.map(({ name, value }) => [name, value ?? ''])),
        ]),
      ),
      overrides: Object.fromEntries(
        ofTopics.map(({ resourceName, configs: keys }) => [
          resourceName,
          keys.filter(({ configSource }) => configSource === ownSetting).map(({ name }) => name),
        ]),
      ),
    };
  });
}

/** Where Kafka says that a topic's key is from when it is set at the topic itself (DYNAMIC_TOPIC_CONFIG). */
const ownSetting = 1;

/** What lies on the member's disk, and whether the software is there; undefined when the host does not answer. */
async function diskOf(
  { service, cluster, reach }: Work,
  name: string,
  host: string,
): Promise<{ disk: Disk; lacking: boolean } | undefined> {
  const entry = (cluster.hosts[host] ?? cluster.former?.[host])!;
  const folder = memberFolder({ name }, entry.root);
  try {
    const { lines } = await reach.host(host).run(
      `told=false
[ ! -s '${folder}/data/first' ] || told=true
lacking=false
${entry.kind === 'lab' ? '' : `${hasCopy(entry, service)} || lacking=true`}
get() { sed -n "s/^$1=//p" '${folder}/data/log/meta.properties' 2>/dev/null; }
had() { sed -n "s/^$1=//p" '${folder}/data/server.properties' 2>/dev/null; }
printf '{"told":%s,"lacking":%s,"cluster":"%s","node":"%s","directory":"%s",' $told $lacking "$(get cluster.id)" "$(get node.id)" "$(get directory.id)"
printf '"listeners":"%s","protocols":"%s","roles":"%s",' "$(had listeners)" "$(had listener.security.protocol.map)" "$(had process.roles)"
printf '"controllers":"%s"}\\n' "$(had controller.quorum.bootstrap.servers)"
`,
      { timeoutMs: 5_000 },
    );
    const line = lines[0] as Record<string, string>;
    const { told, lacking, cluster: id, node, directory } = line;
    const formatted = id ? { cluster: id, node: Number(node), directory: directory ?? '' } : undefined;
    return {
      disk: {
        told: String(told) === 'true',
        ...(formatted ? { formatted } : {}),
        ...(line['listeners']
          ? {
              started: startedWith(
                line['listeners'],
                line['protocols'] ?? '',
                line['roles'] ?? '',
                line['controllers'],
              ),
            }
          : {}),
      },
      lacking: String(lacking) === 'true',
    };
  } catch {
    return undefined;
  }
}

/** What a member runs with, of the keys of its configuration that say so. */
export function startedWith(listeners: string, protocols: string, roles: string, servers = ''): Started {
  const port = (name: string): number | undefined => {
    const found = new RegExp(`(?:^|,)${name}://[^,]*:(\\d+)(?:,|$)`).exec(listeners)?.[1];
    return found === undefined ? undefined : Number(found);
  };
  const [clients, controllers] = [port(clientListener), port(controllerListener)];
  return {
    ...(clients === undefined ? {} : { port: clients }),
    ...(controllers === undefined ? {} : { controllerPort: controllers }),
    tls: protocols.includes('SASL_SSL'),
    controller: roles.split(',').includes('controller'),
    ...(servers === '' ? {} : { controllers: servers.split(',') }),
  };
}
