import type { Cluster } from '../../file/cluster.ts';
import { rightClock } from './clock.ts';
import { hostNamespace, hostRoot, portName, switchNamespace, uplinkPort } from './names.ts';

/** The nftables table (family bridge, in the switch namespace) that holds a partition. */
export const partitionTable = 'phalanx_partition';

/** The table beside it that holds one-way and random loss. */
export const weatherTable = 'phalanx_weather';

/** Plugs the host's cable in at full speed, lets its processes go on, and sets its clock right. Where there is no host there is nothing to do. */
export function mendHost(cluster: Cluster, host: string): string {
  const at = `-n ${switchNamespace(cluster.name)}`;
  return `ip ${at} link show dev ${portName(host)} >/dev/null 2>&1 || exit 0
ip ${at} link set dev ${portName(host)} up || exit 1
tc ${at} qdisc del dev ${portName(host)} root 2>/dev/null || :
pids=$(ip netns pids ${hostNamespace(cluster.name, host)})
[ -z "$pids" ] || kill -CONT $pids 2>/dev/null || :
${rightClock(hostRoot(cluster, host))}
`;
}

/** Ends every partition and all bad weather; nothing to do where there is no network. */
export function healNetwork(cluster: Cluster): string {
  const ns = switchNamespace(cluster.name);
  return `[ -e /run/netns/${ns} ] || exit 0
nsenter --net=/run/netns/${ns} nft -f - <<'PHALANX_NFT' || exit 1
${emptyPartition}
${emptyWeather}
PHALANX_NFT
ip -n ${ns} link set dev ${uplinkPort} alias ""
`;
}

/** Deleting a table that is not there is an error; adding it first makes the deletion safe to repeat (nft(8)). */
export const emptyPartition = `add table bridge ${partitionTable}
delete table bridge ${partitionTable}`;
export const emptyWeather = `add table bridge ${weatherTable}
delete table bridge ${weatherTable}`;
