import { createHash } from 'node:crypto';
import type { Cluster } from '../../file/cluster.ts';
import type { Acl } from './jute.ts';

/** The user that applications are: everything below the service's own node is theirs. */
export const appUser = 'app';
/** ZooKeeper's own superuser, whom no access list stops. Only Phalanx knows its password. */
export const superUser = 'super';

const all = 31;
const read = 1;

/** name:password, as a client proves it. */
export const proof = (cluster: Cluster, service: { name: string }, user: 'app' | 'super'): string =>
  `${user}:${cluster.secrets[`${service.name}/${user}`] ?? ''}`;

/** name:hash, as access lists and the server's configuration hold it (DigestAuthenticationProvider.generateDigest). */
export function digest(proven: string): string {
  const hash = createHash('sha1').update(proven).digest('base64');
  return `${proven.slice(0, proven.indexOf(':'))}:${hash}`;
}

/** The node that is the root of everything for applications. */
export const chroot = (service: { name: string }): string => `/${service.name}`;

const anyone = (perms: number): Acl => ({ perms, scheme: 'world', id: 'anyone' });

/** The access lists that Phalanx keeps: the app's part is the app's alone, the rest of the tree can be looked at. */
export function accessLists(cluster: Cluster, service: { name: string }): Record<string, Acl[]> {
  return {
    '/': [anyone(read)],
    '/zookeeper': [anyone(read)],
    '/zookeeper/quota': [anyone(read)],
    [chroot(service)]: [{ perms: all, scheme: 'digest', id: digest(proof(cluster, service, 'app')) }],
  };
}

export const sameAcl = (a: Acl[] | undefined, b: Acl[]): boolean =>
  JSON.stringify(a?.map((one) => [one.perms, one.scheme, one.id])) ===
  JSON.stringify(b.map((one) => [one.perms, one.scheme, one.id]));
