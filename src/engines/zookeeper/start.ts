import type { Cluster } from '../../file/cluster.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import type { Seat, ZooKeeperService } from './seats.ts';

const jars = [
  ...[
    'zookeeper',
    'zookeeper-jute',
    'slf4j-api',
    'slf4j-simple',
    'metrics-core',
    'snappy-java',
    'commons-cli',
  ],
  ...[
    'netty-all',
    'netty-buffer',
    'netty-codec',
    'netty-common',
    'netty-handler',
    'netty-resolver',
    'netty-transport',
  ],
  ...['netty-transport-native-epoll', 'netty-transport-native-unix-common'],
];

/** Where Debian's libzookeeper-java and what it depends on lie: the server runs with the library alone, no system service is installed. */
export const classPath = jars.map((jar) => `/usr/share/java/${jar}.jar`).join(':');

const mega = 2 ** 20;

/**
 * In a member's data: a syncLimit that goes before the file's, while a roll makes ticks shorter. A leader of the old tick speaks to a follower that has
 * nothing to hear each half of that (Leader.java); one with a shorter patience (tickTime x syncLimit, Learner.java) would leave it each time.
 */
const easeFile = 'ease';

/** Sh, in the member's folder: it is patient from its next start, for as many ticks. */
export const easing = (syncLimit: number): string =>
  `mkdir -p data && echo syncLimit=${syncLimit} >data/${easeFile}`;

/** Sh, in the member's folder: it is as the file says from its next start. */
export const tightening = `rm -f data/${easeFile}`;

/**
 * The script that a member is started with. zoo.cfg is put together anew at each start: our part, and the dynamic part that ZooKeeper
 * itself keeps (it rewrites both zoo.cfg and the file with the members, beside it, at every reconfiguration). A member that has
 * no dynamic part yet takes `first.cfg`, which `form` or `join` wrote into its data; without one it does not
 * start: with a guess it could form an ensemble of its own.
 */
export function startScript(service: ZooKeeperService, cluster: Cluster, seat: Seat): string {
  const { spec } = service;
  const host = cluster.hosts[seat.host]!;
  const folder = memberFolder(seat, host.root);
  // The hosts of a lab share one machine's memory.
  const heap = spec.heap ?? (host.kind === 'lab' ? 256 * mega : undefined);
  return `#!/bin/sh
# ${seat.name}: started by Phalanx, see src/engines/zookeeper/start.ts
set -eu
# ZooKeeper writes zoo.cfg anew, with the hash of the superuser's password in it, and data that are nobody else's.
umask 077
mkdir -p data
id=${seat.id}
if [ -e data/version-2/currentEpoch ] && [ "$(cat data/myid)" != $id ]; then
  echo "phalanx: the data here is server $(cat data/myid)'s, and this is server $id: not started"
  exit 1
fi
echo $id >data/myid
members=$(sed -n 's/^dynamicConfigFile=//p' data/zoo.cfg 2>/dev/null || :)
[ -n "$members" ] && [ -s "$members" ] || members=${folder}/data/first.cfg
if [ ! -s "$members" ]; then
  echo 'phalanx: it belongs to no ensemble yet: phalanx up'
  exit 1
fi
if [ -s data/${easeFile} ]; then
  { sed '/^syncLimit=/d' zoo.static; cat data/${easeFile}; } >data/zoo.cfg.new
else
  cat zoo.static >data/zoo.cfg.new
fi
echo "dynamicConfigFile=$members" >>data/zoo.cfg.new
mv data/zoo.cfg.new data/zoo.cfg
${
  heap === undefined
    ? `kilobytes=$(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)
heap=$((kilobytes / 8192))
[ $heap -ge 128 ] || heap=128
[ $heap -le 1024 ] || heap=1024`
    : `heap=${Math.floor(heap / mega)}`
}
# One thread collects a small heap in milliseconds, with less memory than G1 needs for itself.
if [ $heap -le 512 ]; then collector=-XX:+UseSerialGC; else collector=-XX:+UseG1GC; fi
exec java -Xmx\${heap}m $collector -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData${
    // Half the time to start on a small machine; a lab is not where the last throughput matters.
    host.kind === 'lab' ? ' -XX:TieredStopAtLevel=1' : ''
  } \\
  -Djava.net.preferIPv4Stack=true${spec.readOnly ? ' -Dreadonlymode.enabled=true' : ''} \\
  -Dorg.slf4j.simpleLogger.showThreadName=false \\
  -Dorg.slf4j.simpleLogger.showShortLogName=true \\
  -Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.NIOServerCnxn=warn \\
  -cp ${classPath} \\
  org.apache.zookeeper.server.quorum.QuorumPeerMain ${folder}/data/zoo.cfg
`;
}
