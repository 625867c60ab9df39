import type { Cluster } from '../../file/cluster.ts';
import { quote } from '../../hosts/shell.ts';
import { asOwner } from '../../hosts/supervise.ts';
import type { Definitions } from './definitions.ts';
import type { QueueView } from './live.ts';
import { distributionPort, entryOf, memberName, type RabbitService } from './names.ts';

/** What one running node says of itself and of the cluster as it sees it; names are nodes' names, sizes bytes. */
export interface Snapshot {
  me: string;
  all: string[];
  disc: string[];
  up: string[];
  /** Of this node: memory, disk. */
  alarms: string[];
  partitions: string[];
  /** Nodes that it is connected to now. */
  connected: string[];
  memory: number;
  memory_limit: number;
  disk_free: number | string;
  disk_limit: number | string;
  connections: number;
  queues: QueueView[];
  exchanges: Definitions['exchanges'];
  definitions: Definitions;
}

/**
 * Erlang, for RabbitMQ 3.10. Of what the node knows by itself; the one question to others, whether members of quorum queues are alive
 * there, goes to nodes that it counts as running, to all at once, and waits a second at most. A queue that is only on a node that is down leaves the list of
 * queues and keeps its record (list_down).
 */
const expression = (quick: string, file: string): string => `
case rabbit:is_running() of
  false -> starting;
  true ->
    Up = rabbit_mnesia:cluster_nodes(running),
    Down = [Q || VHost <- rabbit_vhost:list_names(), Q <- rabbit_amqqueue:list_down(VHost)],
    Listed = rabbit_amqqueue:list(),
    Is = maps:from_list([{amqqueue:get_name(Q), true} || Q <- Listed]),
    Queues = Listed ++ [Q || Q <- Down, not maps:is_key(amqqueue:get_name(Q), Is)],
    Names = [element(1, amqqueue:get_pid(Q)) || Q <- Queues, amqqueue:get_type(Q) =:= rabbit_quorum_queue],
    Found = lists:zip(Up, erpc:multicall(Up, lists, map, [fun erlang:whereis/1, Names], 1000)),
    Alive = maps:from_list([{{Node, Name}, true}
      || {Node, {ok, Pids}} <- Found, {Name, Pid} <- lists:zip(Names, Pids), is_pid(Pid)]),
    On = fun(Pids) when is_list(Pids) -> [node(Pid) || Pid <- Pids]; (_) -> [] end,
    Queue = fun(Q) ->
      {resource, VHost, queue, Name} = QName = amqqueue:get_name(Q),
      Known = #{name => Name, vhost => VHost, durable => amqqueue:is_durable(Q),
        exclusive => amqqueue:get_exclusive_owner(Q) =/= none,
        arguments => rabbit_misc:amqp_table(amqqueue:get_arguments(Q)),
        messages => case ets:lookup(queue_coarse_metrics, QName) of [{_, _, _, Count, _}] -> Count; _ -> null end},
      Common = case maps:is_key(QName, Is) of true -> Known; false -> Known#{down => true} end,
      case amqqueue:get_type(Q) of
        rabbit_quorum_queue ->
          {Ra, Last} = amqqueue:get_pid(Q),
          Members = maps:get(nodes, amqqueue:get_type_state(Q)),
          Leader = case ra_leaderboard:lookup_leader(Ra) of {_, Now} -> Now; _ -> Last end,
          Common#{type => quorum, members => Members, leader => Leader,
            online => [Node || Node <- Members, maps:is_key({Node, Ra}, Alive)]};
        rabbit_classic_queue ->
          Common#{type => classic, node => node(amqqueue:get_pid(Q)), slave_nodes => On(amqqueue:get_slave_pids(Q)),
            synchronised_slave_nodes => On(amqqueue:get_sync_slave_pids(Q))};
        rabbit_stream_queue ->
          Stream = Common#{type => stream, members => maps:get(nodes, amqqueue:get_type_state(Q), [])},
          case amqqueue:get_pid(Q) of Pid when is_pid(Pid) -> Stream#{leader => node(Pid)}; _ -> Stream end;
        Other -> Common#{type => Other}
      end
    end,
    Exchange = fun(X) ->
      {resource, VHost, exchange, Name} = element(2, X),
      #{name => Name, vhost => VHost, type => element(3, X), durable => element(4, X), auto_delete => element(5, X),
        internal => element(6, X), arguments => rabbit_misc:amqp_table(element(7, X))}
    end,
    Json = rabbit_json:encode(#{me => node(), all => rabbit_mnesia:cluster_nodes(all),
      disc => rabbit_mnesia:cluster_nodes(disc), up => Up,
      alarms => [Kind || {{resource_limit, Kind, Node}, _} <- rabbit_alarm:get_alarms(), Node =:= node()],
      partitions => rabbit_node_monitor:partitions(), connected => nodes(),
      memory => vm_memory_monitor:get_process_memory(), memory_limit => vm_memory_monitor:get_memory_limit(),
      disk_free => rabbit_disk_monitor:get_disk_free(), disk_limit => rabbit_disk_monitor:get_disk_free_limit(),
      connections => ets:info(connection_created, size),
      queues => lists:map(Queue, Queues), exchanges => [Exchange(X) || X <- rabbit_exchange:list()],
      definitions => rabbit_definitions:all_definitions()}),
    Write = fun(File) -> file:write_file(File, [Json, $\\n]) end,
    case Write("${quick}") of ok -> ok; _ -> Write("${file}") end
end.
`;

/**
 * Sh that prints the node's snapshot as a JSON line, or a line of text that says why there is none. erl_call prints terms and
 * no long binary, so the answer goes through a file of the node's own (its umask is 077): in memory, so that a full disk does not silence it, in
 * a folder that nobody else can have made; or with its data, where it may not write there. `$port`: where its process listens, if that is known.
 */
export function snapshotScript(service: RabbitService, cluster: Cluster, host: string): string {
  const { root, address } = entryOf(cluster, host);
  const folder = `${root}/members/${memberName(service, host)}`;
  const asked = `cd ${quote(folder)} || exit
quick=$(mktemp -d /dev/shm/phalanx.XXXXXX 2>/dev/null) || quick=/dev/null/none
file=data/snapshot.$$
said=$(HOME=${quote(folder)} timeout 3 erl_call -address ${address}:"\${port:-${distributionPort(service.spec)}}" -e 2>&1 <<PHALANX_ERLANG
${expression('$quick/snapshot', `${folder}/$file`).replaceAll('$\\n', '\\$\\n')}
PHALANX_ERLANG
) || [ -n "$said" ] || said='does not answer within 3 s'
if [ "$said" = '{ok, ok}' ]; then cat "$quick/snapshot" 2>/dev/null || cat "$file"; else printf 'why: %s\\n' "$said" | tr '\\n' ' ' | cut -c1-300; fi
rm -rf "$quick" "$file"`;
  return `if [ -d ${quote(folder)} ]; then
${asOwner({ name: memberName(service, host) }, root, asked)}
fi
`;
}

const said = (text: string): string | undefined => /^why: (.*)/m.exec(text)?.[1]?.trim();

/** The node itself says that it does not serve. */
export const notServing = (text: string): boolean => said(text) === '{ok, starting}';

/** Why there is no snapshot, for a person. */
export function whySilent(text: string): string {
  const why = said(text);
  if (why === undefined) return 'not set up: phalanx up';
  if (notServing(text)) return 'starting, stopping, or paused for want of a majority';
  if (why.includes('failed to connect')) return 'does not answer';
  return why;
}
