/**
 * Erlang that a node runs beside RabbitMQ, from before its start to its end. It ends the node in two cases that RabbitMQ 3.10 overlooks; the supervisor then starts
 * it, and it takes what the majority has.
 *
 * With `pause_minority` RabbitMQ pauses a node that finds itself in the minority, and overlooks one whose peers are back before it has looked: frozen for a
 * while, or cut off for just about the tick time, it goes on beside a majority that has buried it, until somebody starts it again (rabbitmq.com/partitions.html). So
 * each node asks the others once a second; three times in a row is enough.
 *
 * A start waits in global:sync/0, without a limit, until Erlang's register of names has met that of every node it is connected to. After a cut that only one
 * side has noticed they may never meet. RabbitMQ frees them after 20 s by messages that global of OTP 25.1 and later does not know (rabbitmq-server#6034, mended in
 * 3.10.9; Debian 12 has 3.10.8 with OTP 25.2). So while RabbitMQ does not run the node calls global:sync/0 as well, and waits for longer than that. It serves nobody
 * then, and its end makes both sides forget; nothing here has to know what state OTP keeps.
 */
export const watchFile = 'watch.erl';

export const watch = `%% Written by phalanx.
Runs = fun() -> try rabbit:is_running() catch _:_ -> false end end,
Synced = fun() ->
  {Pid, Ref} = spawn_monitor(fun() -> global:sync() end),
  receive {'DOWN', Ref, process, _, _} -> true
  after 25000 -> exit(Pid, kill), demonitor(Ref, [flush]), false end
end,
Start = fun Start() ->
  timer:sleep(1000),
  case Runs() orelse Synced() orelse Runs() of
    true -> Start();
    false ->
      logger:error("phalanx: the start hangs in global:sync/0, connected to ~p: the node ends and is started again", [nodes()]),
      timer:sleep(1000),
      erlang:halt(1)
  end
end,
spawn(Start),
Split = fun() ->
  All = rabbit_mnesia:cluster_nodes(all),
  Others = All -- [node()],
  Answers = lists:zip(Others, erpc:multicall(Others, rabbit_mnesia, cluster_nodes, [running], 2000)),
  Without = [Node || {Node, {ok, Up}} <- Answers, lists:member(Node, Up), not lists:member(node(), Up)],
  2 * length(Without) > length(All)
end,
Pauses = fun() -> application:get_env(rabbit, cluster_partition_handling) =:= {ok, pause_minority} end,
Watch = fun Watch(Seen) ->
  timer:sleep(1000),
  case try Pauses() andalso Runs() andalso Split() catch _:_ -> false end of
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

/**
 * Arguments of erl that start it, and RabbitMQ after it: erl does one after the other, and RabbitMQ's start returns only when it serves. Its own script, which would
 * put that first, leaves it out with RABBITMQ_NODE_ONLY. Without a blank, since the script takes its arguments apart at them.
 */
export const bootArguments = `-eval spawn(fun()->file:eval(os:getenv("HOME")++"/${watchFile}")end) -s rabbit boot`;
