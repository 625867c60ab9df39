import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from '../../file/cluster.ts';
import type { Reach } from '../../hosts/host.ts';
import { StepFailed } from '../engine.ts';
import { proof } from '../zookeeper/acl.ts';
import { withSession } from '../zookeeper/client.ts';
import { seatsOf as keepersOf, type ZooKeeperService } from '../zookeeper/seats.ts';
import type { KafkaService } from './seats.ts';

/** How long an ensemble may take that is started together with its brokers. */
const keeperMs = 120_000;
/** Everything, for everybody: Kafka's nodes inherit nothing, and it proves itself to ZooKeeper by Kerberos or not at all. */
const anyone = [{ perms: 31, scheme: 'world', id: 'anyone' }];

/** Where the metadata of a Kafka 3 are: the servers of the ensemble, and the node below which everything is. */
export function keeperOf(
  { name, spec }: KafkaService,
  cluster: Cluster,
): { service: ZooKeeperService; servers: { host: string; port: number }[]; root: string } {
  const service = cluster.services[spec.metadata!] as ZooKeeperService;
  const servers = keepersOf(service, cluster).map(({ host }) => ({ host, port: service.spec.port }));
  return { service, servers, root: `/${name}` };
}

/** Makes the node below which Kafka keeps its metadata: in our ensembles nobody else may. Waits for an ensemble that is on its way. */
export async function makeRoot(
  kafka: KafkaService,
  cluster: Cluster,
  reach: Reach,
  say: (line: string) => void,
): Promise<void> {
  const { service, servers, root } = keeperOf(kafka, cluster);
  const until = performance.now() + keeperMs;
  for (let attempt = 0; ; attempt++) {
    const place = servers[attempt % servers.length]!;
    try {
      await withSession(reach, place, [proof(cluster, service, 'super')], 5_000, async (session) => {
        if ((await session.getAcl(root)) === undefined) await session.create(root, Buffer.alloc(0), anyone);
      });
      return;
    } catch (error) {
      if (performance.now() > until)
        throw new StepFailed(
          `${kafka.name} has no place for its metadata: ${service.name} does not take it (${(error as Error).message}). See phalanx status`,
        );
      if (attempt === servers.length) say(`waiting for ${service.name}: ${(error as Error).message}`);
    }
    await wait(300);
  }
}
