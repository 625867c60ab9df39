import type { Cluster } from '../../file/cluster.ts';
import type { RunResult } from '../../hosts/host.ts';
import { quote } from '../../hosts/shell.ts';
import { pidFragment } from '../../hosts/supervise.ts';
import type { HostLive } from './live.ts';
import { entryOf, memberName, nodeAt, type RabbitService } from './names.ts';
import { notServing, type Snapshot, snapshotScript, whySilent } from './snapshot.ts';
import { admittedFile, blankTest, databaseFolder } from './start.ts';

/** What is found of the service on one host; what is undefined is not known. */
export interface Place extends Omit<HostLive, 'nodes' | 'connected'> {
  /** There is a folder of it. */
  present?: boolean;
  snapshot?: Snapshot;
}

/**
 * Sh that tells of the node's data and its process, then asks it. A node is known by what its process was started with: after a change of
 * the file's port it is still to be found where it is.
 */
export function placeScript(service: RabbitService, cluster: Cluster, host: string): string {
  const { root, address } = entryOf(cluster, host);
  const member = { name: memberName(service, host) };
  const folder = `${root}/members/${member.name}`;
  const mnesia = `${folder}/data/mnesia`;
  return `database=${quote(`${folder}/${databaseFolder(service.name, address)}`)}
present=false blank=false admitted=false runs=false others= port=
[ ! -d ${quote(folder)} ] || present=true
if ${blankTest}; then blank=true; fi
if [ -e ${quote(`${folder}/${admittedFile}`)} ]; then admitted=true; fi
for one in ${quote(`${mnesia}/${nodeAt(service.name, '')}`)}*; do
  # Further folders of RabbitMQ's begin with a node's name as well.
  case \${one##*@} in *[!0-9.]*) continue ;; esac
  [ -d "$one" ] && [ "$one" != "$database" ] || continue
  ( database=$one; ! ${blankTest} ) && others="$others\${others:+,}\\"\${one##*/}\\""
done
node=$( ( ${pidFragment(member, root)} ) 2>/dev/null )
# A start.sh that waits has no such argument.
[ "\${node:-0}" -le 0 ] || port=$(tr '\\0' '\\n' <"/proc/$node/cmdline" 2>/dev/null | sed -n '/^-erl_epmd_port$/{n;p;q;}')
case $port in '' | *[!0-9]*) port= ;; *) runs=true ;; esac
printf '{"present":%s,"blank":%s,"admitted":%s,"runs":%s,"port":%s,"others":[%s]}\\n' "$present" "$blank" "$admitted" "$runs" "\${port:-null}" "$others"
export port
${snapshotScript(service, cluster, host)}`;
}

/** The answer of `placeScript` as a value. */
export function parsePlace({ lines, text }: Pick<RunResult, 'lines' | 'text'>): Place {
  const found = lines.find((line) => 'present' in line) as
    | {
        present: boolean;
        blank: boolean;
        admitted: boolean;
        runs: boolean;
        port: number | null;
        others: string[];
      }
    | undefined;
  if (found === undefined) return { why: 'the host does not say what is there' };
  const { present, blank, admitted, runs, port, others } = found;
  const snapshot = lines.find((line) => 'me' in line) as unknown as Snapshot | undefined;
  return {
    present,
    blank,
    ...(admitted ? { admitted } : {}),
    ...(others.length > 0 ? { others } : {}),
    ...(port === null ? {} : { port }),
    ...(!snapshot && (!runs || notServing(text)) ? { idle: true } : {}),
    ...(snapshot ? { snapshot } : { why: whySilent(text) }),
  };
}
