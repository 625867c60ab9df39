import { pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import type { KafkaService } from './seats.ts';

/** Who members and Phalanx are: proven by PLAIN, from the members' own files. */
export const adminUser = 'phalanx';
/** Who applications are that `use` the service. */
export const appUser = 'app';

export const mechanism = 'SCRAM-SHA-512' as const;

/** Users that applications can be, with passwords of their own. */
export const usersOf = ({ spec }: KafkaService): string[] => [...new Set([appUser, ...spec.users])];

/** Secrets that are nobody's password: the cluster's id and the authority's private key come from them. A user of that name would be given them. */
export const ownSecrets = ['cluster', 'tls'] as const;

/** Secrets of the service. */
export const secretNames = (service: KafkaService): string[] => [
  ...ownSecrets.filter((name) => name !== 'tls' || service.spec.tls),
  adminUser,
  ...usersOf(service),
];

/** How clients speak to brokers, and members with each other. */
export const protocol = ({ spec }: KafkaService): string => (spec.tls ? 'SASL_SSL' : 'SASL_PLAINTEXT');

const iterations = 8192;

/** What Kafka keeps of a password (RFC 5802): nobody can read the password out of the metadata. */
export async function credential(
  password: string,
): Promise<{ iterations: number; salt: Buffer; salted: Buffer }> {
  const salt = randomBytes(24);
  const salted = await promisify(pbkdf2)(password, salt, iterations, 64, 'sha512');
  return { iterations, salt, salted };
}
