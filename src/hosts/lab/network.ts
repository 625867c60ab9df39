import { dirname } from 'node:path';
import type { Cluster, HostEntry, Network } from '../../file/cluster.ts';
import { quote } from '../shell.ts';
import { memoryGroupsOf, removeMemoryGroups } from '../supervise/service.ts';
import {
  bridge,
  formerAlias,
  hostNamespace,
  hostRoot,
  hostsFile,
  portName,
  switchNamespace,
  uplinkAlias,
  uplinkName,
  uplinkPort,
} from './names.ts';

/*
 * The lab's network as scripts for the machine. Every script may be killed anywhere and run again: it takes a lock, leaves
 * what is whole as it is, and replaces what is half made. What makes a thing whole is an ifalias, set last.
 */

/** The bridge's ifalias once the cluster's network is complete. */
export function networkMark(network: Network): string {
  const six = network.machine6 === undefined ? '' : ` ${network.machine6}/${network.prefix6}`;
  return `phalanx network ${network.machine}/${network.prefix}${six}`;
}

/** The port's ifalias once the host's link is complete. */
export function hostMark(host: HostEntry, network: Network): string {
  const six = host.address6 === undefined ? '' : ` ${host.address6}/${network.prefix6}`;
  return `phalanx host ${host.name} ${host.address}/${network.prefix}${six}`;
}

/** /etc/hosts of every lab host: each host of the cluster by its name. */
export function hostsText(cluster: Cluster): string {
  const lines = ['127.0.0.1 localhost', '::1 localhost'];
  for (const host of Object.values(cluster.hosts)) {
    if (host.kind !== 'lab') continue;
    lines.push(`${host.address} ${host.name}`);
    if (host.address6 !== undefined) lines.push(`${host.address6} ${host.name}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Makes the switch namespace with its bridge, and the machine's own way in. Hosts' ports stay as they are. */
export function createNetwork(cluster: Cluster): string {
  const { network, name } = cluster;
  const ns = switchNamespace(name);
  const uplink = uplinkName(name);
  const six =
    network.machine6 === undefined
      ? []
      : [`address replace ${network.machine6}/${network.prefix6} dev ${uplink} nodad`];
  // The bridge hands frames to the machine's iptables rules unless told otherwise, per namespace (ip-sysctl, br_netfilter).
  const settings = `
for name in iptables ip6tables arptables; do
  [ ! -w /proc/sys/net/bridge/bridge-nf-call-$name ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-$name
done
for scope in all default; do
  [ ! -w /proc/sys/net/ipv6/conf/$scope/disable_ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/$scope/disable_ipv6
done`;
  return `set -eu
${lock(cluster, uplinkPort)}
${hostsWritten(cluster)}
${namespace(ns)}
nsenter --net=/run/netns/${ns} sh -c ${quote(settings)}
ip -n ${ns} link show dev ${bridge} >/dev/null 2>&1 ||
  ip -n ${ns} link add ${bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
if ip -o link show dev ${uplink} >/dev/null 2>&1; then
  case "$(cat /sys/class/net/${uplink}/ifalias)" in
  ${ourAliases(cluster)}) ip link del dev ${uplink} ;;
  *)
    echo "the machine has an interface ${uplink} that is not phalanx's: rename it, or call the cluster something else" >&2
    exit 1
    ;;
  esac
fi
# Born in the switch and named before it moves out: what the machine sees of it is never anonymous.
ip -n ${ns} -batch - <<PHALANX_IP
${deletions(`$(ip -n ${ns} -o link show | sed -n 's/^[0-9]*: \\(${uplink}\\|${uplinkPort}\\)[@:].*/\\1/p' | head -n 1)`)}
PHALANX_IP
ip -n ${ns} -batch - <<PHALANX_IP
link set dev ${bridge} up
link add ${uplink} type veth peer name ${uplinkPort}
link set dev ${uplink} alias "${uplinkAlias(cluster)}"
link set dev ${uplink} netns $$
link set dev ${uplinkPort} master ${bridge}
link set dev ${uplinkPort} up
PHALANX_IP
ip -batch - <<PHALANX_IP
${[`address replace ${network.machine}/${network.prefix} dev ${uplink}`, ...six, `link set dev ${uplink} up`].join('\n')}
PHALANX_IP
ip -n ${ns} link set dev ${bridge} alias "${networkMark(network)}"
`;
}

/** Tells hosts of each other by name. Nothing that clients use is touched. */
export function nameHosts(cluster: Cluster): string {
  return `set -eu
${lock(cluster, uplinkPort)}
${hostsWritten(cluster)}
`;
}

// In place, never by a rename: running hosts have this very file mounted.
const hostsWritten = (cluster: Cluster): string => `cat >${quote(hostsFile(cluster))} <<'PHALANX_HOSTS'
${hostsText(cluster)}PHALANX_HOSTS`;

/** Makes the host's namespace, its eth0 and its port at the switch. A host that is not as it should be loses its processes. */
export function createHost(cluster: Cluster, host: HostEntry): string {
  const { network } = cluster;
  const ns = hostNamespace(cluster.name, host.name);
  const hub = switchNamespace(cluster.name);
  const port = portName(host.name);
  const mark = hostMark(host, network);
  const six =
    host.address6 === undefined ? [] : [`address add ${host.address6}/${network.prefix6} dev eth0 nodad`];
  // The kernel's own defaults, said aloud: a new namespace takes the machine's settings for some of them.
  const settings = `
cd /proc/sys/net
for scope in all default eth0; do
  echo 0 >ipv4/conf/$scope/rp_filter
  echo 0 >ipv4/conf/$scope/arp_ignore
  echo 0 >ipv4/conf/$scope/arp_announce
  [ ! -d ipv6/conf/$scope ] || { echo 0 >ipv6/conf/$scope/disable_ipv6; echo 0 >ipv6/conf/$scope/accept_dad; echo 0 >ipv6/conf/$scope/accept_ra; }
done
echo 0 >ipv4/ip_forward`;
  return `set -eu
${lock(cluster, host.name)}
if [ "$(stat -fc %T /run/netns/${ns} 2>/dev/null)" = nsfs ]; then
  case "$(ip -n ${hub} -o link show dev ${port} 2>/dev/null)" in
  *'alias ${mark}'*)
    ip -n ${hub} link set dev ${port} up
    exit 0
    ;;
  esac
fi
${takeDown(cluster, host.name)}
ip netns add ${ns}
# From within: kernels before 6.6 refuse an eth0 for elsewhere on a machine that has one itself.
ip -n ${ns} link add eth0 type veth peer name ${port} netns ${hub}
nsenter --net=/run/netns/${ns} sh -c ${quote(settings)}
ip -n ${ns} -batch - <<PHALANX_IP
${['link set dev lo up', `address add ${host.address}/${network.prefix} dev eth0`, ...six, 'link set dev eth0 up'].join('\n')}
PHALANX_IP
ip -n ${hub} -batch - <<PHALANX_IP
link set dev ${port} master ${bridge}
link set dev ${port} up
link set dev ${port} alias "${mark}"
PHALANX_IP
`;
}

/** Powers the host off and takes its namespace and link away; its members' files stay. */
export function removeHost(cluster: Cluster, host: string): string {
  const root = quote(hostRoot(cluster, host));
  return `set -eu
${lock(cluster, host)}
${takeDown(cluster, host)}
rm -rf ${root}/scan ${root}/boot.log
`;
}

/** Takes away everything of the named hosts and of the network; with purge their files and the cluster's folder of the lab as well. */
export function removeNetwork(cluster: Cluster, hosts: string[], purge: boolean): string {
  const ns = switchNamespace(cluster.name);
  const uplink = uplinkName(cluster.name);
  const folders = [...(purge ? hosts.map((host) => hostRoot(cluster, host)) : []), `${cluster.home}/lab`];
  return `${lock(cluster, uplinkPort)}
removals=
${hosts.map((host) => `( ${removeHost(cluster, host)}) & removals="$removals $!"`).join('\n')}
for removal in $removals; do wait "$removal" || failed=1; done
case "$(cat /sys/class/net/${uplink}/ifalias 2>/dev/null)" in
${ourAliases(cluster)}) ip link del dev ${uplink} ;;
esac
[ ! -e /run/netns/${ns} ] || ip netns del ${ns} 2>/dev/null || rm -f /run/netns/${ns}
[ -z "\${failed-}" ] || exit 1
rm -rf ${folders.map(quote).join(' ')}
rmdir ${quote(`${cluster.home}/hosts`)} 2>/dev/null || :
`;
}

/**
 * The rest of the script has \`what\` for itself until its shell ends; an earlier command's script may still be running. It ends here where the lab
 * of this name is another home's, whose namespaces are called the same.
 */
export function lock(cluster: Cluster, what: string): string {
  const folder = `${cluster.home}/lab`;
  return `mkdir -p ${quote(folder)}
exec 9>>${quote(`${folder}/${what}.lock`)}
flock -w 60 9 || { echo "another phalanx is still at work on ${what}" >&2; exit 1; }
${notElsewhere(cluster)}`;
}

/** Sh pattern of the aliases that make the uplink this cluster's. */
const ourAliases = (cluster: Cluster): string =>
  `${quote(uplinkAlias(cluster))} | ${quote(formerAlias(cluster))}`;

/** Sh that ends the script where a lab of this name stands from another home. */
export function notElsewhere(cluster: Cluster): string {
  const { name, file } = cluster;
  return `case "$(cat /sys/class/net/${uplinkName(name)}/ifalias 2>/dev/null)" in
${ourAliases(cluster)}) ;;
${quote(`${formerAlias(cluster)} `)}*)
  echo ${quote(elsewhereText({ name, file }))} >&2
  exit 1
  ;;
esac`;
}

/** That a lab of this name stands from another home, as a sentence. */
export function elsewhereText({ name, file }: Pick<Cluster, 'name' | 'file'>, home?: string): string {
  const [from, next] =
    home?.startsWith('/') === true
      ? [home, `PHALANX_HOME=${dirname(home)} has it`]
      : ['another PHALANX_HOME', 'go on with that one'];
  return `cluster ${name} stands on this machine already, from ${from}: ${next}; for one beside it change \`cluster:\` in ${file}`;
}

/** Kills everything of the host, wherever it was left, and waits until it is gone; then its link and its namespace. */
function takeDown(cluster: Cluster, host: string): string {
  const ns = hostNamespace(cluster.name, host);
  return `${killAll(cluster, host)}
ip -n ${switchNamespace(cluster.name)} link del dev ${portName(host)} 2>/dev/null || :
if [ -e /run/netns/${ns} ]; then ip netns del ${ns} 2>/dev/null || rm -f /run/netns/${ns}; fi`;
}

/**
 * Kills every process of the host and waits until none is left. They are found by their network namespace, and the
 * init by its command line as well: someone may have deleted the namespace's name.
 */
export function killAll(cluster: Cluster, host: string): string {
  const ns = hostNamespace(cluster.name, host);
  const root = hostRoot(cluster, host);
  return `left() {
  { grep -lzxF ${quote(`${root}/scan`)} /proc/[0-9]*/cmdline 2>/dev/null || :; } | while IFS=/ read -r _ _ pid _; do
    ! grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$pid/status" || echo "$pid"
  done
  [ ! -e /run/netns/${ns} ] || ip netns pids ${ns} 2>/dev/null || :
}
${notElsewhere(cluster)}
passes=0
while pids=$(left) && [ -n "$pids" ]; do
  kill -9 $pids 2>/dev/null || :
  passes=$((passes + 1))
  if [ $passes -gt 1000 ]; then echo "${host}: processes do not die:" $pids >&2; exit 1; fi
  sleep 0.005
done
rm -f ${quote(`${root}/init.pid`)}
${removeMemoryGroups(`${memoryGroupsOf(root)}*`)} || :`;
}

/** Makes sure of a named network namespace; a name without one is what a killed \`ip netns add\` leaves. */
function namespace(ns: string): string {
  return `if [ "$(stat -fc %T /run/netns/${ns} 2>/dev/null)" != nsfs ]; then
  rm -f /run/netns/${ns}
  ip netns add ${ns}
fi`;
}

/** A line for \`ip -batch\` that deletes the link that the shell's expression names, or none. */
function deletions(expression: string): string {
  return `$(link=${expression}; [ -z "$link" ] || echo "link del dev $link")`;
}
