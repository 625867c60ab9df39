import { distributionPort, nodeAt } from './names.ts';
import type { RabbitSpec } from './schema.ts';
import { bootArguments } from './watch.ts';

/** Where a node keeps what it knows, below its member's folder. */
export const databaseFolder = (service: string, address: string): string =>
  `data/mnesia/${nodeAt(service, address)}`;

/**
 * Sh, a command that succeeds when the node in the folder `$database` has no data: RabbitMQ's own rule (rabbit_mnesia:is_virgin_node), by
 * which it joins or begins a cluster.
 */
export const blankTest = `[ -z "$(ls -A "$database" 2>/dev/null | grep -vxE 'cluster_nodes\\.config|nodes_running_at_shutdown|coordination|quorum')" ]`;

/** Says that a blank node may start, and how: `seed` begins a cluster, `join` joins one. Lies with the data, so it goes with it. */
export const admittedFile = 'data/mnesia/admitted';

/** Nodes that one which is to join finds the cluster by, besides those of the file: all of these may be new themselves. Lies beside it, made before it. */
export const peersFile = 'data/mnesia/peers.conf';

/**
 * The node's start. A node without data waits for `up` to admit it: only there is it known whether the cluster lives elsewhere, and
 * whether this node was a member before and must be forgotten first. A node that starts blank by itself (its disk was
 * replaced) could otherwise found a second cluster, or vote in queues with an empty log.
 */
export function startScript(service: string, address: string): string {
  return `#!/bin/sh
# Written by phalanx.
umask 077
# Each connection is a file. What the host allows, but no more than RabbitMQ asks for: Erlang makes tables of that size.
files=$(ulimit -Hn)
if [ "$files" = unlimited ] || [ "$files" -gt 65536 ]; then files=65536; fi
ulimit -n "$files"
database='${databaseFolder(service, address)}'
mkdir -p data/mnesia
blank() { ${blankTest}; }
# Part of a cluster: begun here, or with another node in its list.
settled() {
  ! blank && { [ "$how" = seed ] || [ "$(grep -o 'rabbit-[^,;'"'"']*' "$database/cluster_nodes.config" | sort -u | wc -l)" -gt 1 ]; }
}
if blank && [ ! -e ${admittedFile} ]; then
  echo 'this node has no data: it waits until phalanx up admits it to the cluster'
  until [ -e ${admittedFile} ]; do sleep 0.1; done
fi
cat rabbitmq.conf >run.conf
if [ -e ${admittedFile} ]; then
  how=$(cat ${admittedFile})
  # Killed in the middle of joining: what it has is nobody's, and on its own it would be a cluster of its own.
  if [ "$how" = join ] && ! blank && ! settled; then mv "$database" "data/half-joined-$(date +%Y%m%d-%H%M%S)"; fi
  if [ "$how" = join ] && blank; then cat join.conf >>run.conf; cat ${peersFile} >>run.conf 2>/dev/null; fi
  # Good for once: a node that loses its data later has to be admitted again. Twice in the background: nobody's child but init's.
  ( ( until settled; do sleep 0.5; done; rm -f ${admittedFile} ${peersFile} ) & )
fi
exec /usr/lib/rabbitmq/bin/rabbitmq-server
`;
}

/**
 * The environment of rabbitmq-server's script and of Erlang. There is no epmd: with a name from the start and a fixed port
 * (-erl_epmd_port, kernel(6)), RabbitMQ finds its distribution running and its peers at that port. So nothing daemonizes,
 * nothing outlives `down`, and two clusters on a host share nothing. The cookie is a file in HOME, never an argument.
 */
export function environment(
  service: string,
  spec: RabbitSpec,
  address: string,
  folder: string,
  ticks: string,
): Record<string, string> {
  const node = nodeAt(service, address);
  const port = distributionPort(spec);
  return {
    HOME: folder,
    LANG: 'C.UTF-8',
    // For every erl that RabbitMQ starts besides itself as well.
    ERL_ZFLAGS: '-start_epmd false',
    // A crash dump is written for minutes while the supervisor waits; the log has the reason.
    ERL_CRASH_DUMP_SECONDS: '0',
    RABBITMQ_USE_LONGNAME: 'true',
    RABBITMQ_NODENAME: node,
    RABBITMQ_DIST_PORT: String(port),
    RABBITMQ_MNESIA_BASE: `${folder}/data/mnesia`,
    RABBITMQ_LOG_BASE: `${folder}/data/log`,
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONFIG_FILE: `${folder}/run.conf`,
    RABBITMQ_ADVANCED_CONFIG_FILE: `${folder}/advanced.config`,
    RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/enabled_plugins`,
    RABBITMQ_GENERATED_CONFIG_DIR: `${folder}/data/generated`,
    // The machine's own settings are those of the machine's own RabbitMQ.
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    // Its script then becomes the node (exec), which takes SIGTERM itself; -noinput keeps it from reading the terminal.
    RABBITMQ_ALLOW_INPUT: '1',
    // What the script starts is said in the arguments, where something comes before it.
    RABBITMQ_NODE_ONLY: 'true',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-noinput -name ${node} -erl_epmd_port ${port} -kernel inet_dist_use_interface {${address.replaceAll('.', ',')}} ${ticks} ${bootArguments}`,
  };
}
