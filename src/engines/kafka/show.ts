import type { Cluster } from '../../file/cluster.ts';
import { durationText } from '../../file/units.ts';
import type { Reach } from '../../hosts/host.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import type { Table } from '../engine.ts';
import { asking, partly } from './client.ts';
import { type KafkaLive, named, type Partition } from './live.ts';
import { answerMs, observeKafka } from './observe.ts';
import { type KafkaService, nodeOf, seatsOf } from './seats.ts';
import { sizeShort } from './status.ts';

/** What lies on a broker's disk of one partition. */
interface Files {
  segments: number;
  indexBytes: number;
}

interface Offsets {
  first: bigint;
  next: bigint;
}

interface Committed {
  group: string;
  state: string;
  topic: string;
  index: number;
  offset: bigint;
}

const keys = ['min.insync.replicas', 'cleanup.policy', 'retention.ms', 'retention.bytes', 'segment.bytes'];

/** Topics, their partitions with leaders, copies in step and what they take on disk, and consumer groups with their lag. */
export async function showKafka(service: KafkaService, cluster: Cluster, reach: Reach): Promise<Table[]> {
  const work = { service, cluster, reach };
  const live = await observeKafka(service, cluster, reach);
  const partitions = [...(live.partitions ?? [])].sort(
    (a, b) => a.topic.localeCompare(b.topic) || a.index - b.index,
  );
  const brokers = seatsOf(service, cluster).filter(({ name }) => live.nodes[name]?.bytes !== undefined);
  const ask = <T>(id: number, otherwise: T, use: Parameters<typeof asking<T>>[3]): Promise<T> => {
    const seat = brokers.find((one) => one.id === id);
    if (!seat) return Promise.resolve(otherwise);
    return asking(work, { host: seat.host, port: service.spec.port }, answerMs, use).catch(() => otherwise);
  };
  // Each broker knows the groups that it coordinates: of one that is not heard they are missing.
  const unheard = seatsOf(service, cluster)
    .filter((seat) => seat.broker && !brokers.includes(seat))
    .map(({ host }) => host);

  const topics = [...new Set(partitions.map(({ topic }) => topic))];
  const [config, offsets, groups, files] = await Promise.all([
    ask<Record<string, Record<string, string>>>(brokers[0]?.id ?? -1, {}, async (connection, api) => {
      const { results } = await partly(
        api.describeConfigsV4.api.async(
          connection,
          topics.map((resourceName) => ({
            resourceType: api.ConfigResourceTypes.TOPIC,
            resourceName,
            configurationKeys: keys,
          })),
          false,
          false,
        ),
      );
      return Object.fromEntries(
        results.map(({ resourceName, configs }) => [
          resourceName,
          Object.fromEntries(configs.map(({ name, value }) => [name, value ?? ''])),
        ]),
      );
    }),
    Promise.all(
      brokers.map(({ id }) =>
        ask(id, [] as [string, Offsets][], (connection, api) =>
          offsetsAt(
            connection,
            api,
            partitions.filter(({ leader }) => leader === id),
          ),
        ),
      ),
    ).then((lists) => new Map(lists.flat())),
    Promise.all(
      brokers.map(async ({ id, host }) => {
        const { committed, whole } = await ask(id, { committed: [], whole: false }, groupsAt);
        if (!whole) unheard.push(host);
        return committed;
      }),
    ).then((lists) => lists.flat()),
    Promise.all(brokers.map((seat) => filesOf(work, seat.name, seat.host))).then(
      (found) => new Map(brokers.map((seat, i) => [seat.id, found[i]!])),
    ),
  ]);
  const nameOf = (id: number): string => nodeOf(service, cluster, id)?.host ?? `node ${id}`;
  return [
    topicTable(topics, partitions, config, offsets, live),
    partitionTable(
      partitions.filter((one) => worthShowing(one, offsets)),
      offsets,
      files,
      live,
      nameOf,
    ),
    groupTable(groups, offsets, unheard),
  ];
}

async function offsetsAt(
  connection: Parameters<Parameters<typeof asking>[3]>[0],
  api: Parameters<Parameters<typeof asking>[3]>[1],
  led: Partition[],
): Promise<[string, Offsets][]> {
  if (led.length === 0) return [];
  const at = async (timestamp: bigint): Promise<Map<string, bigint>> => {
    const topics = [...new Set(led.map(({ topic }) => topic))].map((name) => ({
      name,
      partitions: led
        .filter(({ topic }) => topic === name)
        .map(({ index }) => ({ partitionIndex: index, currentLeaderEpoch: -1, timestamp })),
    }));
    const answer = await partly(api.listOffsetsV7.api.async(connection, -1, 0, topics));
    return new Map(
      answer.topics.flatMap(({ name, partitions }) =>
        partitions
          .filter(({ errorCode }) => errorCode === 0)
          .map((one) => [`${name}-${one.partitionIndex}`, one.offset] as const),
      ),
    );
  };
  // Kafka's own words for the first and the next offset.
  const [first, next] = await Promise.all([at(-2n), at(-1n)]);
  return [...next].map(([key, offset]) => [key, { first: first.get(key) ?? 0n, next: offset }]);
}

/** The groups that a broker coordinates, with every offset that they have committed; not `whole` where it could not tell all of it. */
async function groupsAt(
  connection: Parameters<Parameters<typeof asking>[3]>[0],
  api: Parameters<Parameters<typeof asking>[3]>[1],
): Promise<{ committed: Committed[]; whole: boolean }> {
  // A coordinator that still loads some of its groups names the others.
  const { groups, errorCode } = await partly(api.listGroupsV5.api.async(connection, [], []));
  if (groups.length === 0) return { committed: [], whole: errorCode === 0 };
  const states = new Map(groups.map(({ groupId, groupState }) => [groupId, groupState]));
  const fetched = await partly(
    api.offsetFetchV8.api.async(
      connection,
      groups.map(({ groupId }) => ({ groupId, memberId: null, memberEpoch: -1, topics: null })),
      false,
    ),
  );
  const refused = (one: { errorCode: number }): boolean => one.errorCode !== 0;
  const committed = fetched.groups
    .filter((group) => !refused(group))
    .flatMap(({ groupId, topics }) =>
      topics.flatMap(({ name, partitions }) =>
        partitions
          .filter((one) => !refused(one))
          .map((one) => ({
            group: groupId,
            state: states.get(groupId) ?? '',
            topic: name,
            index: one.partitionIndex,
            offset: one.committedOffset,
          })),
      ),
    );
  const partial = fetched.groups.some(
    (group) => refused(group) || group.topics.some(({ partitions }) => partitions.some(refused)),
  );
  return { committed, whole: errorCode === 0 && !partial };
}

/** Segments and what their indexes take (they are made large and mostly hollow), by `topic-index`. */
async function filesOf(
  { cluster, reach }: { cluster: Cluster; reach: Reach },
  name: string,
  host: string,
): Promise<Record<string, Files>> {
  const folder = `${memberFolder({ name }, cluster.hosts[host]!.root)}/data/log`;
  try {
    const { lines } = await reach.host(host).run(
      `cd '${folder}' || exit 0
find . -mindepth 2 -maxdepth 2 \\( -name '*.log' -o -name '*index' \\) -printf '%h %f %b\\n' | awk '
{ key = substr($1, 3); if ($2 ~ /log$/) segments[key]++; else bytes[key] += 512 * $3 }
END { for (key in segments) printf "{\\"key\\":\\"%s\\",\\"segments\\":%d,\\"index\\":%d}\\n", key, segments[key], bytes[key] }'
`,
      { timeoutMs: 5_000 },
    );
    return Object.fromEntries(
      lines.map((line) => [
        String(line['key']),
        { segments: Number(line['segments']), indexBytes: Number(line['index']) },
      ]),
    );
  } catch {
    return {};
  }
}

function topicTable(
  topics: string[],
  partitions: Partition[],
  config: Record<string, Record<string, string>>,
  offsets: Map<string, Offsets>,
  live: KafkaLive,
): Table {
  const rows = topics.map((topic) => {
    const own = partitions.filter((one) => one.topic === topic);
    const has = config[topic] ?? {};
    const records = own.reduce((sum, one) => {
      const at = offsets.get(named(one));
      return sum + (at ? at.next - at.first : 0n);
    }, 0n);
    const bytes = own.reduce((sum, one) => sum + sizesOf(one, live).reduce((a, b) => a + b, 0), 0);
    return [
      topic,
      String(own.length),
      String(own[0]?.replicas.length ?? 0),
      has['min.insync.replicas'] ?? '',
      has['cleanup.policy'] ?? '',
      retention(has),
      segmentSize(has),
      String(records),
      sizeShort(bytes),
    ];
  });
  return {
    title: 'topics',
    columns: [
      'topic',
      'partitions',
      'copies',
      'min ISR',
      'cleanup',
      'retention',
      'segment',
      'offsets',
      'on disk',
    ],
    rows,
  };
}

/** Kafka's own topics have many partitions, most of them empty for ever. */
const worthShowing = (partition: Partition, offsets: Map<string, Offsets>): boolean => {
  const at = offsets.get(named(partition));
  const whole = partition.leader >= 0 && partition.isr.length === partition.replicas.length;
  return !partition.topic.startsWith('__') || !whole || at === undefined || at.next > at.first;
};

function retention(has: Record<string, string>): string {
  if (has['cleanup.policy'] === 'compact') return 'last of a key';
  const ms = Number(has['retention.ms'] ?? -1);
  const bytes = Number(has['retention.bytes'] ?? -1);
  return [ms < 0 ? 'forever' : durationText(ms), ...(bytes < 0 ? [] : [sizeShort(bytes)])].join(', ');
}

const segmentSize = (has: Record<string, string>): string =>
  has['segment.bytes'] ? sizeShort(Number(has['segment.bytes'])) : '';

/** What each copy takes, in the order of the copies; those of silent brokers are missing. */
const sizesOf = (partition: Partition, live: KafkaLive): number[] =>
  partition.replicas.flatMap((id) => {
    const node = Object.values(live.nodes).find((one) => one.id === id);
    return node?.sizes?.[named(partition)] ?? [];
  });

function partitionTable(
  partitions: Partition[],
  offsets: Map<string, Offsets>,
  files: Map<number, Record<string, Files>>,
  live: KafkaLive,
  nameOf: (id: number) => string,
): Table {
  const rows = partitions.map((partition) => {
    const at = offsets.get(named(partition));
    const onDisk = files.get(partition.leader)?.[named(partition)];
    const behind = partition.replicas.filter((id) => !partition.isr.includes(id));
    return [
      named(partition),
      partition.leader < 0 ? 'nobody' : nameOf(partition.leader),
      partition.replicas.map(nameOf).join(' '),
      behind.length === 0 ? 'all' : `not ${behind.map(nameOf).join(' ')}`,
      at ? `${at.first}..${at.next}` : '?',
      sizesOf(partition, live).map(sizeShort).join(' '),
      onDisk ? String(onDisk.segments) : '?',
      onDisk ? sizeShort(onDisk.indexBytes) : '?',
    ];
  });
  return {
    title: 'partitions',
    columns: ['partition', 'leader', 'copies', 'in step', 'offsets', 'size of each', 'segments', 'indexes'],
    rows,
  };
}

function groupTable(groups: Committed[], offsets: Map<string, Offsets>, unheard: string[]): Table {
  const rows = groups.map(({ group, state, topic, index, offset }) => {
    const end = offsets.get(`${topic}-${index}`)?.next;
    const lag = end === undefined ? '?' : String(end - offset);
    return [group, state, `${topic}-${index}`, String(offset), end === undefined ? '?' : String(end), lag];
  });
  rows.sort((a, b) => `${a[0]} ${a[2]}`.localeCompare(`${b[0]} ${b[2]}`, 'en', { numeric: true }));
  return {
    title:
      unheard.length > 0
        ? `consumer groups, without those of ${unheard.join(', ')}, which did not answer for all`
        : 'consumer groups',
    columns: ['group', 'state', 'partition', 'committed', 'end', 'lag'],
    rows,
  };
}
