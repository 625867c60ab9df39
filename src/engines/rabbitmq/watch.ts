/**
 * Erlang that a node runs beside RabbitMQ, with `pause_minority`. RabbitMQ 3.10 pauses a node that finds itself in the minority, and
 * overlooks one whose peers are back before it has looked: frozen for a while, or cut off for just about the tick time, it goes on beside a
 * majority that has buried it, until somebody starts it again (rabbitmq.com/partitions.html). So each node asks the others once a second; when
 * most of the cluster runs without it three times in a row it ends, its supervisor starts it, and it takes what the majority has.
 */
export const watchFile = 'watch.erl';

export const watch = `%% Written by phalanx.
Split = fun() ->
  All = rabbit_mnesia:cluster_nodes(all),
  Others = All -- [node()],
  Answers = lists:zip(Others, erpc:multicall(Others, rabbit_mnesia, cluster_nodes, [running], 2000)),
  Without = [Node || {Node, {ok, Up}} <- Answers, lists:member(Node, Up), not lists:member(node(), Up)],
  2 * length(Without) > length(All)
end,
Watch = fun Watch(Seen) ->
  timer:sleep(1000),
  case try rabbit:is_running() andalso Split() catch _:_ -> false end of
    true when Seen >= 2 ->
      logger:error("phalanx: the majority runs without this node, which was split off: it ends and is started again"),
      init:stop(),
      timer:sleep(20000),
      erlang:halt(1);
    true -> Watch(Seen + 1);
    false -> Watch(0)
  end
end,
Watch(0).
`;

/** The argument of erl that starts it; without a blank, since RabbitMQ's script takes its arguments apart at them. */
export const watchArgument = `-eval spawn(fun()->file:eval(os:getenv("HOME")++"/${watchFile}")end)`;
