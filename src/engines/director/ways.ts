import { isIPv6 } from 'node:net';
import type { Cluster, Service } from '../../file/cluster.ts';
import type { Way } from '../../hosts/ssh/hearing.ts';
import { conntrackdPort, toldOf } from './members.ts';
import type { DirectorSpec } from './schema.ts';

/** How directors of one service speak to each other beside their agents' TCP port. IPv6 adverts, of a service whose VIPs are all IPv6, are not among it. */
export function directorWays(service: Service<DirectorSpec>, cluster: Cluster): Way[] {
  const { spec, hosts } = service;
  if (hosts.length < 2) return [];
  const ways: Way[] = [];
  if (!spec.vip.every((vip) => isIPv6(vip)))
    ways.push({
      name: 'VRRP (IP protocol 112)',
      // RFC 5798, 5.1.1.2
      ...(spec.unicast ? {} : { group: '224.0.0.18' }),
      matters: `each would take the VIP for its own${spec.unicast ? '' : '; where only multicast is filtered, `unicast: true` helps'}`,
    });
  if (toldOf(service, cluster).length > 0) {
    const port = conntrackdPort(service, cluster);
    ways.push({
      name: `UDP ${port}`,
      port,
      matters: 'connections of fullnat would not survive a takeover',
    });
  }
  if (
    spec.listen.some(({ forward, plane }) => forward !== 'fullnat' && (plane === 'ipvs' || plane === 'auto'))
  )
    ways.push({
      // Of the kernel's synchronisation daemons, ipvsadm(8).
      name: 'UDP 8848 to 224.0.0.81',
      port: 8848,
      group: '224.0.0.81',
      module: 'ip_vs',
      matters: 'connections would not survive a takeover',
    });
  return ways;
}
