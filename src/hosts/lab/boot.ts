import type { Cluster, HostEntry } from '../../file/cluster.ts';
import { quote } from '../shell.ts';
import { memberFolder } from '../supervise/service.ts';
import { clockEnvironment, makeClock } from './clock.ts';
import { makeDisk, mountDisk } from './disk.ts';
import { hostNamespace, hostsFile } from './names.ts';
import { killAll, lock } from './network.ts';

/** What a lab host's processes start with, whatever the user's shell had. /run is the host's own, so TMPDIR is too. */
export const hostEnvironment: Record<string, string> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
  TMPDIR: '/run/tmp',
};

/**
 * Powers the host on: pid, mount, uts and ipc namespaces of its own inside its network namespace, with s6-svscan as
 * process 1, so that killing that one process makes the kernel kill everything of the host. Returns when it supervises.
 *
 * The machine's view of process 1 is in \`init.pid\` of the host's root; whoever reads it has to compare namespaces
 * (pids are used again). /tmp stays the machine's: the user's checkout may well lie there.
 *
 * It starts what its disk has and is not meant to be down. Members in \`paused\` wait until somebody starts them: whoever names them does.
 */
export function bootHost(cluster: Cluster, host: HostEntry, paused: string[] = []): string {
  const ns = hostNamespace(cluster.name, host.name);
  const { root } = host;
  const init = `set -eu
# The machine's named namespaces must not be held by this mount namespace, or they outlive their deletion.
umount -l /run/netns 2>/dev/null || :
mount -t tmpfs -o mode=755,nosuid,nodev phalanx /run
mkdir -p /run/lock /run/tmp
chmod 1777 /run/lock /run/tmp
mount -t proc -o nosuid,nodev,noexec proc /proc
hostname ${host.name}
mount --bind ${quote(hostsFile(cluster))} /etc/hosts
${mountDisk(host)}
${paused.map((name) => pause(memberFolder({ name }, root))).join('\n')}
cd /
exec env -i ${Object.entries({ ...hostEnvironment, ...clockEnvironment(host) })
    .map(([name, value]) => quote(`${name}=${value}`))
    .join(' ')} s6-svscan -d 3 "$1"`;
  // The shell that unshares stays outside: its first child is process 1, and $! is that child as the machine sees it.
  const outside = `setsid sh -c "$1" phalanx "$2" 3>&1 </dev/null >>"$3/boot.log" 2>&1 9>&- &
echo $! >"$3/init.pid"`;
  return `set -eu
umask 022
${lock(cluster, host.name)}
${alive(root, ns)}
if alive; then exit 0; fi
${killAll(cluster, host.name)}
mkdir -p ${quote(root)}/scan ${quote(root)}/members
${makeDisk(host)}
${makeClock(host)}
: >${quote(root)}/boot.log
# s6-svscan writes to descriptor 3 when it is ready, or dies; either way this pipe ends.
: "$(nsenter --net=/run/netns/${ns} unshare --pid --mount --uts --ipc sh -c ${quote(outside)} outside ${quote(init)} ${quote(`${root}/scan`)} ${quote(root)})"
if alive; then
  nsenter -t "$pid" -m sh -c ${quote(supervised(root))}
  exit 0
fi
echo "${host.name} did not start:" "$(tail -n 5 ${quote(root)}/boot.log)" >&2
exit 1
`;
}

const pause = (folder: string): string =>
  `[ ! -d ${quote(`${folder}/service`)} ] || touch ${quote(`${folder}/service/down`)} || :`;

/** Each member has its supervisor before anyone may ask for it. */
const supervised = (root: string): string => `for entry in ${quote(root)}/scan/*; do
  passes=0
  while [ -x "$entry/run" ] && ! s6-svok "$entry" 2>/dev/null && [ $passes -lt 1000 ]; do
    passes=$((passes + 1))
    sleep 0.005
  done
done`;

function alive(root: string, ns: string): string {
  return `alive() {
  read -r pid <${quote(`${root}/init.pid`)} || return 1
  grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$pid/status" || return 1
  [ "$(stat -Lc %i "/proc/$pid/ns/net" 2>/dev/null)" = "$(stat -Lc %i /run/netns/${ns} 2>/dev/null)" ]
} 2>/dev/null`;
}
