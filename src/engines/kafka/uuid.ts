import { createHash } from 'node:crypto';
import type { Cluster } from '../../file/cluster.ts';
import type { KafkaService } from './seats.ts';

/** Kafka's ids are 16 bytes in base64url; none of ours begins with a dash, which command lines would take for an option. */
function uuid(...of: string[]): string {
  const text = createHash('sha256').update(of.join('\0')).digest().subarray(0, 16).toString('base64url');
  return text.replace(/^-/, 'A');
}

/** The cluster's id, for life: it comes from a kept secret, so data of another cluster is never taken for ours. */
export const clusterId = (service: KafkaService, cluster: Cluster): string =>
  uuid('cluster', cluster.secrets[`${service.name}/cluster`] ?? '');

/** The directory id with which a first controller begins; a later one, or one that lost its disk, makes up its own. */
export const firstDirectory = (service: KafkaService, cluster: Cluster, node: number): string =>
  uuid('directory', cluster.secrets[`${service.name}/cluster`] ?? '', String(node));

/** Kafka's form of an id, of the form with dashes that clients show. */
export const fromDashed = (id: string): string =>
  /^[0-9a-f-]{36}$/i.test(id) ? Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url') : id;

/** The form with dashes, of Kafka's. */
export const toDashed = (id: string): string =>
  Buffer.from(id, 'base64url')
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
