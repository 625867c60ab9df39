import type { Cluster } from '../../file/cluster.ts';
import { type RabbitLive, running } from './live.ts';
import { nodeOf, type RabbitService } from './names.ts';

/**
 * What stands against restarting a node while none can be asked, a sentence a host: whoever is not known to serve nothing may be all that
 * serves. Pure.
 */
export const againstBlindly = ({ hosts }: RabbitLive): string[] =>
  Object.entries(hosts)
    .filter(([, { idle }]) => !idle)
    .map(([host, { why }]) => (why?.startsWith(`${host}:`) ? why : `${host}: ${why ?? 'does not answer'}`));

/** The node that serves on this host in the eyes of the others, also under an address that the host had before; undefined: none does. Pure. */
export function servingAs(
  service: RabbitService,
  cluster: Cluster,
  { hosts, view }: RabbitLive,
  host: string,
): string | undefined {
  const up = running(view?.nodes ?? []);
  return [nodeOf(service, cluster, host), ...(hosts[host]?.others ?? [])].find((node) => up.includes(node));
}
