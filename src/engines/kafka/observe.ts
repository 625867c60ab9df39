import type { Connection } from '@platformatic/kafka';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { asking, type Kafka, reason } from './client.ts';
import type { Disk, KafkaLive, LiveNode, LiveVoter, Partition, Quorum } from './live.ts';
import { type KafkaService, nodeOf, seatsOf } from './seats.ts';
import { hasCopy, hasSoftware, notFetched } from './software.ts';
import { wantedTopics } from './topics.ts';
import { fromDashed } from './uuid.ts';

/** How long one member may take for all that it is asked; a frozen one costs this much, all of them together no more. */
export const answerMs = 2_500;

export interface Work {
  service: KafkaService;
  cluster: Cluster;
  reach: Reach;
}

/** Limits on replication while partitions move, as each broker has them. */
export const throttleKeys = ['leader.replication.throttled.rate', 'follower.replication.throttled.rate'];

interface Found {
  node: LiveNode;
  /** Its host has no copy of the software. */
  lacking: boolean;
  quorum?: Quorum;
  partitions?: Partition[];
  brokers?: number[];
}

/**
 * Asks every member of the file at once, then those that only the cluster still has; then one broker for what it says of
 * all. Each within `answerMs`, however many are dead or frozen.
 */
export async function observeKafka(
  service: KafkaService,
  cluster: Cluster,
  reach: Reach,
): Promise<KafkaLive> {
  const work = { service, cluster, reach };
  const seats = seatsOf(service, cluster);
  const found = await Promise.all(
    seats.map(({ name, host, id, broker }) => observeNode(work, { name, host, id, broker })),
  );
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
        return there ? [observeNode(work, { ...node, id })] : [];
      }),
    )),
  );

  const quorum = found
    .flatMap((one) => one.quorum ?? [])
    .reduce<Quorum | undefined>((best, one) => (best && best.epoch >= one.epoch ? best : one), undefined);
  // The broker on the active controller's side of any cut, and the least behind.
  const teller =
    found.find(({ node, partitions }) => partitions && node.id === quorum?.leader) ??
    found.find(({ node, partitions }) => partitions && node.state === 'serving') ??
    found.find(({ partitions }) => partitions);
  const more = teller ? await observeAll(work, teller.node).catch(() => undefined) : undefined;
  const sentence = notFetched(service, cluster);
  return {
    nodes: Object.fromEntries(found.map(({ node }) => [node.name, node])),
    ...(quorum ? { quorum } : {}),
    ...(teller ? { partitions: teller.partitions! } : {}),
    brokers: teller?.brokers ?? [],
    moving: more?.moving ?? 0,
    topics: more?.topics ?? {},
    ...(more ? { users: more.users } : {}),
    software: hasSoftware(service),
    lacking: [...new Set(found.filter(({ lacking }) => lacking).map(({ node }) => node.host))],
    ...(sentence ? { notFetched: sentence } : {}),
  };
}

async function observeNode(
  work: Work,
  { name, host, id, broker }: { name: string; host: string; id: number; broker: boolean },
): Promise<Found> {
  const { spec } = work.service;
  const base = { name, host, id };
  const port = broker ? spec.port : spec.controllerPort;
  const [disk, asked] = await Promise.all([
    diskOf(work, name, host),
    asking(work, { host, port }, answerMs, (connection, api) =>
      broker
        ? askBroker(connection, api, id, work.service.spec.metadata !== undefined)
        : askController(connection, api),
    ).then(
      (answer) => ({ ...answer, why: undefined }),
      (error: unknown) => ({ state: 'silent' as const, why: reason(error) }),
    ),
  ]);
  const { state, why, ...rest } = asked as Awaited<ReturnType<typeof askBroker>> & { why?: string };
  const { quorum, partitions, brokers, ...facts } = rest;
  return {
    node: { ...base, state, ...(why ? { why } : {}), ...facts, ...(disk ? { disk: disk.disk } : {}) },
    lacking: disk?.lacking ?? false,
    ...(quorum ? { quorum } : {}),
    ...(partitions ? { partitions } : {}),
    ...(brokers ? { brokers } : {}),
  };
}

async function askController(connection: Connection, api: Kafka) {
  const quorum = await quorumOf(connection, api);
  return { state: quorum ? ('serving' as const) : ('fenced' as const), ...(quorum ? { quorum } : {}) };
}

async function askBroker(connection: Connection, api: Kafka, id: number, keeper: boolean) {
  const [metadata, logs, configs, quorum] = await Promise.all([
    api.metadataV12.api.async(connection, null, false, false),
    api.describeLogDirsV4.api.async(connection, null),
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
    // Answered by the active controller: without one the rest is still told.
    keeper ? undefined : quorumOf(connection, api).catch(() => undefined),
  ]);
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

async function quorumOf(connection: Connection, api: Kafka): Promise<Quorum | undefined> {
  const { topics } = await api.describeQuorumV2.api.async(connection, [
    { topicName: '__cluster_metadata', partitions: [{ partitionIndex: 0 }] },
  ]);
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
    const [moving, users, configs] = await Promise.all([
      api.listPartitionReassignmentsV0.api.async(connection, 1_000, null),
      // A user that is not there is an answer, not an error.
      api.describeUserScramCredentialsV0.api.async(connection, null),
      wanted.length === 0
        ? { results: [] }
        : api.describeConfigsV4.api
            .async(
              connection,
              wanted.map(({ name, config }) => ({
                resourceType: api.ConfigResourceTypes.TOPIC,
                resourceName: name,
                configurationKeys: Object.keys(config),
              })),
              false,
              false,
            )
            .catch((error: { response?: { results: [] } }) => error.response ?? { results: [] }),
    ]);
    return {
      moving: moving.topics.reduce((sum, { partitions }) => sum + partitions.length, 0),
      users: users.results.map(({ user }) => user),
      topics: Object.fromEntries(
        configs.results.map(({ resourceName, configs: keys }) => [
          resourceName,
          Object.fromEntries(keys.map(({ name, value }) => [name, value ?? ''])),
        ]),
      ),
    };
  });
}

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
printf '{"told":%s,"lacking":%s,"cluster":"%s","node":"%s","directory":"%s"}\\n' $told $lacking "$(get cluster.id)" "$(get node.id)" "$(get directory.id)"
`,
      { timeoutMs: 5_000 },
    );
    const { told, lacking, cluster: id, node, directory } = lines[0] as Record<string, string>;
    const formatted = id ? { cluster: id, node: Number(node), directory: directory ?? '' } : undefined;
    return {
      disk: { told: String(told) === 'true', ...(formatted ? { formatted } : {}) },
      lacking: String(lacking) === 'true',
    };
  } catch {
    return undefined;
  }
}
