import { StepFailed } from '../engine.ts';
import { errorName, reason } from './client.ts';
import type { KafkaLive } from './live.ts';
import { anyBroker, type Doing } from './perform.ts';
import { clusterMinInsync, leftOver, sameSetting, wantedTopics } from './topics.ts';
import { credential, usersOf } from './users.ts';

/** SCRAM-SHA-512 in Kafka's protocol. */
const scram512 = 2;

/**
 * Creates what is missing and changes what is otherwise: users and topics of the file, and the cluster's own min.insync.replicas where Kafka keeps
 * one. Takes no topic and no user away.
 */
export async function makeTopics(doing: Doing, live: KafkaLive): Promise<void> {
  const { service, cluster, say } = doing;
  const users = usersOf(service).filter((user) => !live.users?.includes(user));
  const topics = wantedTopics(service);
  const found = (name: string) => live.partitions?.filter(({ topic }) => topic === name) ?? [];
  const shrunk = topics.filter(({ name, partitions }) => found(name).length > partitions);
  await anyBroker(doing, live, async (connection, api) => {
    if (users.length > 0) {
      const made = await Promise.all(
        users.map(async (name) => {
          const { iterations, salt, salted } = await credential(
            cluster.secrets[`${service.name}/${name}`] ?? '',
          );
          return { name, mechanism: scram512, iterations, salt, saltedPassword: salted };
        }),
      );
      await api.alterUserScramCredentialsV0.api.async(connection, [], made);
    }
    // From 4.1 on Kafka writes it into the metadata when the cluster begins; from then on server.properties says nothing.
    if (live.minInsync !== undefined && live.minInsync !== clusterMinInsync(service))
      await api.incrementalAlterConfigsV1.api.async(
        connection,
        [
          {
            resourceType: api.ConfigResourceTypes.BROKER,
            resourceName: '',
            configs: [
              {
                name: 'min.insync.replicas',
                configOperation: 0 as const,
                value: `${clusterMinInsync(service)}`,
              },
            ],
          },
        ],
        false,
      );
    for (const topic of topics) {
      const has = found(topic.name);
      const has0 = live.topics[topic.name] ?? {};
      try {
        if (has.length === 0) {
          await api.createTopicsV7.api.async(
            connection,
            [
              {
                name: topic.name,
                numPartitions: topic.partitions,
                replicationFactor: topic.copies,
                assignments: [],
                configs: Object.entries(topic.config).map(([name, value]) => ({ name, value })),
              },
            ],
            15_000,
            false,
          );
          say(`topic ${topic.name} is made`);
          continue;
        }
        const changed = Object.entries(topic.config).filter(([key, value]) => !sameSetting(has0[key], value));
        const left = leftOver(topic, live);
        if (changed.length + left.length > 0)
          await api.incrementalAlterConfigsV1.api.async(
            connection,
            [
              {
                resourceType: api.ConfigResourceTypes.TOPIC,
                resourceName: topic.name,
                configs: [
                  ...changed.map(([name, value]) => ({ name, configOperation: 0 as const, value })),
                  ...left.map((name) => ({ name, configOperation: 1 as const })),
                ],
              },
            ],
            false,
          );
        if (has.length < topic.partitions)
          await api.createPartitionsV3.api.async(
            connection,
            [{ name: topic.name, count: topic.partitions, assignments: null }],
            15_000,
            false,
          );
      } catch (error) {
        if (errorName(error) === 'TOPIC_ALREADY_EXISTS') continue;
        throw new StepFailed(`topic ${topic.name}: ${reason(error)}`);
      }
    }
  });
  if (shrunk.length > 0)
    throw new StepFailed(
      shrunk
        .map(
          ({ name, partitions }) =>
            `${name} has ${found(name).length} partitions and the file says ${partitions}: Kafka takes none away. Say ${found(name).length}, or make another topic`,
        )
        .join('; '),
    );
}
