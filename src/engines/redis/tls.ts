import type { Cluster } from '../../file/cluster.ts';
import type { MemberFile } from '../engine.ts';
import { authority } from '../certificate.ts';
import type { RedisService, Seat } from './seats.ts';

const authorityOf = (service: RedisService, cluster: Cluster) =>
  authority(cluster.secrets[`${service.name}/tls`] ?? '', `${cluster.name} ${service.name}`);

/** The certificate by which clients know the service's members; undefined without TLS. */
export const caOf = (service: RedisService, cluster: Cluster): string | undefined =>
  service.spec.tls ? authorityOf(service, cluster).certificate : undefined;

/** A member's certificate, its key and the authority's certificate; nothing without TLS. */
export function tlsFiles(service: RedisService, cluster: Cluster, seat: Seat): MemberFile[] {
  if (!service.spec.tls) return [];
  const ca = authorityOf(service, cluster);
  const { certificate, key } = ca.issue(seat.name, seat.address);
  return [
    { path: 'ca.crt', content: ca.certificate, mode: 0o644, onChange: 'restart' },
    { path: 'tls.crt', content: certificate, mode: 0o644, onChange: 'restart' },
    { path: 'tls.key', content: key, mode: 0o600, onChange: 'restart', secret: true },
  ];
}
