import type { Cluster, Problem } from '../../file/cluster.ts';
import { sizeText } from '../../file/units.ts';
import { owned } from './configuration.ts';
import { copies, type KafkaService, versionOf } from './seats.ts';
import { adminUser, appUser, ownSecrets } from './users.ts';

const spare = 256 * 2 ** 20;
const labHeap = 320 * 2 ** 20;

/** Rules across keys and hosts that the schema cannot say. */
export function kafkaCheck(service: KafkaService, cluster: Cluster): Problem[] {
  const { spec, hosts } = service;
  const problems: Problem[] = [];
  const problem = (key: (string | number)[], message: string, hint?: string, atKey = false): void => {
    problems.push({
      path: ['services', service.name, ...key],
      message,
      ...(hint ? { hint } : {}),
      ...(atKey ? { atKey } : {}),
    });
  };
  const { controllers } = spec;
  if (controllers.length > 0 && controllers.length % 2 === 0)
    problem(
      ['controllers'],
      `${controllers.length} controllers survive the loss of ${controllers.length / 2 - 1}, as many as ${controllers.length - 1} do`,
      `name ${controllers.length - 1} or ${controllers.length + 1} hosts`,
    );
  for (const [i, host] of controllers.entries()) {
    if (!(host in cluster.hosts)) problem(['controllers', i], `no host "${host}" is declared`);
    else if (controllers.indexOf(host) !== i)
      problem(['controllers', i], `"${host}" stands in this list twice`);
  }
  const version = versionOf(service);
  if (spec.metadata !== undefined) {
    const keeper = cluster.services[spec.metadata];
    if (keeper?.type !== 'zookeeper')
      problem(['metadata'], `there is no zookeeper "${spec.metadata}"`, 'name a service of type zookeeper');
    if (!version.startsWith('3.'))
      problem(['metadata'], `Kafka ${version} knows no ZooKeeper`, 'say version: 3.9.1, or take this away');
    if (controllers.length > 0)
      problem(['controllers'], 'with metadata in ZooKeeper there are no controllers', 'take them away');
  } else if (version.startsWith('3.'))
    problem(
      [spec.version === undefined ? 'tarball' : 'version'],
      `Kafka ${version} is run here with its metadata in ZooKeeper only`,
      'name the zookeeper in metadata, or take a Kafka 4',
    );
  if (spec.port === spec.controllerPort)
    problem(['controllerPort'], `${spec.port} is port already`, 'each needs a port of its own');
  for (const [name, topic] of Object.entries(spec.topics)) {
    if (!/^[a-zA-Z0-9._-]{1,249}$/.test(name) || name === '.' || name === '..')
      problem(['topics', name], 'a topic is 1 to 249 letters, digits, dots, - and _', undefined, true);
    const { replication, minInsync } = copies(service, topic.replication);
    if (replication > hosts.length)
      problem(
        ['topics', name, 'replication'],
        `${replication} copies need as many brokers, and there are ${hosts.length}`,
      );
    if ((topic.minInsync ?? minInsync) > replication)
      problem(
        ['topics', name, 'minInsync'],
        `of ${replication} copies ${topic.minInsync} can never be in step: every write would be refused`,
      );
  }
  for (const [i, user] of spec.users.entries())
    if (user === adminUser || user === appUser || (ownSecrets as readonly string[]).includes(user))
      problem(
        ['users', i],
        `"${user}" is a name of Phalanx's own`,
        user === appUser ? 'it is there anyway' : 'name another',
      );
  if (spec.checksum && !spec.tarball) problem(['checksum'], 'a checksum is of a tarball, and none is named');
  if (spec.memory !== undefined && spec.memory < (spec.heap ?? labHeap) + spare)
    problem(
      ['memory'],
      `${sizeText(spec.memory)} hold no heap of ${sizeText(spec.heap ?? labHeap)}: Java and Kafka need about ${sizeText(spare)} beside it`,
      'lower heap or raise memory',
    );
  for (const name of Object.keys(spec.config)) {
    const key = owned[name];
    if (key !== undefined)
      problem(['config', name], `${name} is set by Phalanx`, key ? `use the key ${key}` : 'remove it', true);
    else if (/^(listener\.name\.|sasl\.|ssl\.)/.test(name))
      problem(['config', name], 'who may connect, and how, is set by Phalanx', 'remove it', true);
  }
  return problems;
}
