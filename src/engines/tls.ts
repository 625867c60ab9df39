import type { Cluster, Service } from '../file/cluster.ts';
import { authority } from './certificate.ts';
import type { MemberFile } from './engine.ts';

/** A service that may say `tls`; its secret `tls` is what its certificates are made of. */
type Encrypted = Pick<Service<{ tls: boolean }>, 'name' | 'spec'>;

const authorityOf = (service: Encrypted, cluster: Cluster) =>
  authority(cluster.secrets[`${service.name}/tls`] ?? '', `${cluster.name} ${service.name}`);

/** The certificate by which clients know the service's members; undefined without TLS. */
export const caOf = (service: Encrypted, cluster: Cluster): string | undefined =>
  service.spec.tls ? authorityOf(service, cluster).certificate : undefined;

/** A member's certificate, its key and the authority's certificate; nothing without TLS. */
export function tlsFiles(
  service: Encrypted,
  cluster: Cluster,
  seat: { name: string; address: string },
): MemberFile[] {
  if (!service.spec.tls) return [];
  const ca = authorityOf(service, cluster);
  const { certificate, key } = ca.issue(seat.name, seat.address);
  return [
    { path: 'ca.crt', content: ca.certificate, mode: 0o644, onChange: 'restart' },
    { path: 'tls.crt', content: certificate, mode: 0o644, onChange: 'restart' },
    { path: 'tls.key', content: key, mode: 0o600, onChange: 'restart', secret: true },
  ];
}
