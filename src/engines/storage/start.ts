import type { Cluster } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import { brickPorts, managementPort, mountPoint, type StorageService, uuidOf } from './seats.ts';
import { timingOf } from './timing.ts';

/** glusterd's own volume file: what Debian's has, with our ports and our timing. Its folders are where it has them built in. */
export function volumeFile(service: StorageService): string {
  const [time, interval, count] = timingOf(service).keepalive;
  const options = {
    'working-directory': '/var/lib/glusterd',
    'transport-type': 'socket',
    'transport.socket.keepalive-time': time,
    'transport.socket.keepalive-interval': interval,
    'transport.socket.keepalive-count': count,
    // What was sent and is not confirmed: without it, minutes (tcp(7), TCP_USER_TIMEOUT).
    'transport.tcp-user-timeout': time + interval * count,
    'transport.socket.read-fail-log': 'off',
    'transport.socket.listen-port': managementPort,
    'ping-timeout': 0,
    'event-threads': 1,
    'base-port': brickPorts.from,
    'max-port': brickPorts.to,
  };
  const lines = Object.entries(options).map(([name, value]) => `    option ${name} ${value}`);
  return ['volume management', '    type mgmt/glusterd', ...lines, 'end-volume', ''].join('\n');
}

/**
 * The script that a data host's glusterd is started with; its brick and its self-heal daemon are its children and go with it.
 *
 * Paths that are built into GlusterFS (/var/lib/glusterd, /var/log/glusterfs) are its own folders in a mount namespace of
 * its own: the machine's are not touched, and hosts of a lab, which share one disk, have one each. gsyncd is geo-replication, which is not
 * used: glusterd runs that Python program some 25 times whenever it starts, 10 to 15 s on a busy machine, so
 * here it finds one that does nothing.
 *
 * A glusterd without state is told who it is and who its peers are. They know it by that identity and hand it the volume.
 */
export function serverScript(service: StorageService, cluster: Cluster, host: string): string {
  return `#!/bin/sh
# ${service.name}@${host}: started by Phalanx, see src/engines/storage/start.ts
set -eu
umask 022
mkdir -p data/state logs
chmod 700 data
# The folder's mode becomes that of the shared directory; every app may write there, as in /tmp.
[ -d data/brick ] || { mkdir data/brick; chmod 1777 data/brick; }
if [ ! -s data/state/glusterd.info ]; then
  rm -rf data/state/peers && mkdir data/state/peers
  while read -r uuid address; do
    printf 'uuid=%s\\nstate=3\\nhostname1=%s\\n' "$uuid" "$address" >"data/state/peers/$uuid"
  done <peers
  printf 'UUID=%s\\noperating-version=100000\\n' ${uuidOf(service, cluster, host)} >data/state/glusterd.info.new
  mv data/state/glusterd.info.new data/state/glusterd.info
fi
mkdir -p /run/gluster
# Their processes are gone, and their numbers may be others' by now: glusterd would send those a signal.
rm -rf /run/gluster/vols /run/gluster/shd
exec unshare --mount --propagation private sh -euc '
mkdir -p /var/lib/glusterd /var/log/glusterfs
mount --bind data/state /var/lib/glusterd
mount --bind logs /var/log/glusterfs
for program in /usr/lib/*/glusterfs/gsyncd /usr/libexec/glusterfs/gsyncd; do
  [ ! -e "$program" ] || mount --bind gsyncd "$program"
done
exec glusterd --no-daemon --volfile="$PWD/glusterd.vol" --pid-file=/run/gluster/glusterd.pid --log-file=- --log-level=WARNING'
`;
}

/** What glusterd finds in place of geo-replication's program. */
export const noGeoReplication = `#!/bin/sh
[ "$1" != --version ] || echo gsyncd
`;

/** gluster(8) against this very glusterd, its logs in the member's folder. */
export const commandScript = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
exec unshare --mount --propagation private sh -euc 'mount --bind logs /var/log/glusterfs; exec gluster --mode=script "$@"' gluster "$@"
`;

/**
 * Sh: a folder below the mount that nobody can write to. An app that is there before the mount, or after it, gets an error instead of
 * writing to a disk that is only its own host's.
 */
export function guardScript(service: StorageService, cluster: Cluster): string {
  const at = quote(mountPoint(service, cluster));
  return `mkdir -p ${at} 2>/dev/null || :
grep -qs ${quote(` ${mountPoint(service, cluster)} tmpfs `)} /proc/mounts || mount -t tmpfs -o ro,size=4k,mode=555 phalanx ${at}`;
}

/** Sh: succeeds when what lies at the mount point, topmost, is a FUSE mount; dead or alive. */
export function mountedTest(at: string): string {
  return `awk -v at=${quote(at)} '$2 == at { type = $3 } END { exit (type !~ /^fuse/) }' /proc/mounts`;
}

/** Sh: succeeds when the mount answers. Of one entry is asked: to list all of a large folder takes longer than a mount may take for an answer. */
export const answerTest = (at: string): string =>
  `timeout ${answerSeconds} find ${at} -mindepth 1 -maxdepth 1 -print -quit >/dev/null`;

/** How long a mount may take for an answer. */
export const answerSeconds = 4;

/** Sh that takes the mount, and the guard below it, away. */
export function unmountScript(service: StorageService, cluster: Cluster): string {
  const at = mountPoint(service, cluster);
  return `while grep -qs ${quote(` ${at} `)} /proc/mounts; do umount -l ${quote(at)} || exit 1; done
rmdir ${quote(at)} 2>/dev/null || :`;
}

/** The script that an app host's mount is started with. It asks the first data host that answers for the others. */
export function mountScript(service: StorageService, cluster: Cluster, host: string): string {
  const at = mountPoint(service, cluster);
  return `#!/bin/sh
# ${service.name}.mount@${host}: started by Phalanx, see src/engines/storage/start.ts
set -eu
# What a client that died has left answers nobody any more.
while ${mountedTest(at)}; do umount -l ${quote(at)}; done
${guardScript(service, cluster)}
set --
while read -r address; do set -- "$@" "--volfile-server=$address"; done <servers
exec glusterfs --no-daemon --process-name fuse "$@" --volfile-id=/${service.name} --log-file=- --log-level=WARNING ${quote(at)}
`;
}
