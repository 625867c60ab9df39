import type { Cluster } from '../../file/cluster.ts';
import { hostNamespace, portName, switchNamespace, uplinkPort } from './names.ts';

/** The nftables table (family bridge, in the switch namespace) that holds a partition. */
export const partitionTable = 'phalanx_partition';

/** Plugs the host's cable in and lets its processes go on. */
export function mendHost(cluster: Cluster, host: string): string {
  return `ip -n ${switchNamespace(cluster.name)} link set dev ${portName(host)} up || exit 1
pids=$(ip netns pids ${hostNamespace(cluster.name, host)})
[ -z "$pids" ] || kill -CONT $pids 2>/dev/null || :
`;
}

/** Ends every partition. */
export function healNetwork(cluster: Cluster): string {
  const ns = switchNamespace(cluster.name);
  return `nsenter --net=/run/netns/${ns} nft -f - <<'PHALANX_NFT' || exit 1
${emptyPartition}
PHALANX_NFT
ip -n ${ns} link set dev ${uplinkPort} alias ""
`;
}

/** Deleting a table that is not there is an error; adding it first makes the deletion safe to repeat (nft(8)). */
export const emptyPartition = `add table bridge ${partitionTable}
delete table bridge ${partitionTable}`;
