import type { Cluster } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import { memberFolder } from '../../hosts/supervise.ts';
import { keyStore, keyStorePassword } from './configuration.ts';
import { type KafkaService, type Seat, versionOf } from './seats.ts';
import { libraries } from './software.ts';

const mega = 2 ** 20;

/** Formats the disk of a member that has been told where it belongs; with the metadata in ZooKeeper there is nothing to format. */
const format = `run() { java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xmx128m -Dlog4j2.configurationFile=log4j2.properties -cp "$libs/*" "$@"; }
if [ ! -s data/log/meta.properties ]; then
  if [ ! -s data/first ]; then
    echo 'phalanx: it belongs to no cluster yet: phalanx up'
    exit 1
  fi
  if find data/log -name '*.log' -path '*/*-[0-9]*/*' 2>/dev/null | grep -q .; then
    echo 'phalanx: there are records in data/log and no meta.properties: not formatted'
    exit 1
  fi
  # What a format that was cut short left behind: meta.properties is what it writes last.
  rm -rf data/log
  # Two words a line, neither with a space in it.
  run kafka.tools.StorageTool format --config data/server.properties $(cat data/first)
fi
# It is for one format: where the log is lost later, nobody may take itself for the first controller that it once was.
rm -f data/first
`;

/**
 * The script that a member is started with. Storage is formatted once: `data/first`, which `form` or `seed` wrote and which is
 * removed then, says for which cluster and with which first controllers. Without it, and without data, a member does not start: an empty controller
 * that takes itself for a first one could, with another such, forget everything. Records without meta.properties are not
 * formatted over either.
 *
 * A member without a vote finds the active controller through the servers that it is given, and through nothing else (KIP-853,
 * `controller.quorum.bootstrap.servers`). The file's controllers may all be new; so `data/voters` adds those that the cluster had when it was told of them.
 */
export function startScript(service: KafkaService, cluster: Cluster, seat: Seat): string {
  const { spec } = service;
  const host = cluster.hosts[seat.host]!;
  const folder = memberFolder(seat, host.root);
  // The hosts of a lab share one machine's memory.
  const heap = spec.heap ?? (host.kind === 'lab' ? 320 * mega : undefined);
  return `#!/bin/sh
# ${seat.name}: started by Phalanx, see src/engines/kafka/start.ts
set -eu
umask 077
# Three files a segment: as many as it may have, where it may not have enough.
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
mkdir -p data
libs=
for one in ${libraries(service, host).map(quote).join(' ')}; do
  if ls "$one"/kafka_*.jar >/dev/null 2>&1; then libs=$one; break; fi
done
if [ -z "$libs" ]; then
  echo 'phalanx: Kafka is not on this machine any more: phalanx up'
  exit 1
fi
${
  spec.metadata === undefined
    ? `controllers=$(cat controllers)
# It may be that none of those knows the cluster yet.
[ ! -s data/voters ] || controllers=$controllers,$(cat data/voters)
{ cat server.properties; echo "controller.quorum.bootstrap.servers=$controllers"; }`
    : 'cat server.properties'
} >data/server.properties.new
mv data/server.properties.new data/server.properties
${
  spec.tls
    ? `openssl pkcs12 -export -in tls.crt -inkey tls.key -name member -passout pass:${keyStorePassword} -out ${keyStore}
`
    : ''
}${spec.metadata === undefined ? format : ''}${
  heap === undefined
    ? `kilobytes=$(sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo)
heap=$((kilobytes / 4096))
[ $heap -ge 512 ] || heap=512
[ $heap -le 6144 ] || heap=6144`
    : `heap=${Math.floor(heap / mega)}`
}
# One thread collects a small heap in milliseconds, with less memory than G1 needs for itself.
if [ $heap -le 512 ]; then collector=-XX:+UseSerialGC; else collector=-XX:+UseG1GC; fi
exec java -Xmx\${heap}m $collector -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData${
    // A third less time to start on a small machine; a lab is not where the last throughput matters.
    host.kind === 'lab' ? ' -XX:TieredStopAtLevel=1' : ''
  } \\
  -Djava.net.preferIPv4Stack=${!seat.address.includes(':')} -Djava.awt.headless=true \\
  ${versionOf(service).startsWith('3.') ? `-Dlog4j.configuration=file:${folder}/log4j.properties` : `-Dlog4j2.configurationFile=${folder}/log4j2.properties`} \\
  -cp "$libs/*" kafka.Kafka data/server.properties
`;
}
