%% Erlang: a gen_server for each actor, casts for tells, calls with a deadline for asks. The Python programs beside this
%% one measure the same things, see bench/program.py; arguments are `key=value`, the answer is one JSON object.
%%
%% (It cannot be called gen_server: that name is the behaviour's own.)
-module(gen_server_bench).
-behaviour(gen_server).
-export([main/0, start_fragile/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(WITHIN, 60000).
-define(ENOUGH_ASKS, 5).

%% The program

main() ->
    Load = maps:from_list([list_to_tuple(string:split(Pair, "=")) || Pair <- init:get_plain_arguments()]),
    logger:set_primary_config(level, none),
    Begun = now_s(),
    {Used, _} = erlang:statistics(runtime),
    Value = measure(maps:get("metric", Load), number("seconds", Load), whole("actors", Load), whole("burst", Load),
                    number("work", Load)),
    {UsedNow, _} = erlang:statistics(runtime),
    Share = (UsedNow - Used) / 1000 / (now_s() - Begun),
    io:format("{\"value\": ~s, \"version\": \"OTP ~s\", \"runtime\": \"BEAM, ~b scheduler\", \"share\": ~.3f}~n",
              [printed(Value), erlang:system_info(otp_release), erlang:system_info(schedulers_online), Share]),
    halt(0).

number(Key, Load) ->
    Text = maps:get(Key, Load),
    case string:to_float(Text) of
        {error, no_float} -> decimal(Text);
        {Float, ""} -> Float;
        {_, _} -> decimal(Text)
    end.

%% "2e-05" and "0" are no floats to Erlang.
decimal(Text) ->
    case string:split(Text, "e") of
        [Whole] -> float(list_to_integer(Whole));
        [Whole, Exponent] -> list_to_integer(Whole) * math:pow(10, list_to_integer(Exponent))
    end.

whole(Key, Load) -> list_to_integer(maps:get(Key, Load)).

printed(null) -> "null";
printed(Value) -> io_lib:format("~.6f", [float(Value)]).

now_s() -> erlang:monotonic_time(nanosecond) / 1.0e9.

%% Rounds of the same work, until the time is over: one to warm up, then at least one that counts.
rate(Seconds, Each, Round) ->
    Round(),
    rate(Seconds, Each, Round, now_s(), 0).

rate(Seconds, Each, Round, Begun, Count) ->
    Round(),
    case now_s() - Begun of
        Passed when Passed >= Seconds -> (Count + 1) * Each / Passed;
        _ -> rate(Seconds, Each, Round, Begun, Count + 1)
    end.

times(0, _) -> ok;
times(N, Do) -> Do(N), times(N - 1, Do).

done() -> receive done -> ok end.

%% A latch counts over all actors of a round, like the one of the Python programs.
latch() -> atomics:new(1, []).
arm(Latch, Count) -> atomics:put(Latch, 1, Count).
count(Latch, Boss) ->
    case atomics:sub_get(Latch, 1, 1) of
        0 -> Boss ! done;
        _ -> ok
    end.

median(Values) -> lists:nth(length(Values) div 2 + 1, lists:sort(Values)).

compute(Work) when Work == 0 -> ok;
compute(Work) -> until(now_s() + Work).
until(End) ->
    case now_s() < End of
        true -> until(End);
        false -> ok
    end.

rss() ->
    [erlang:garbage_collect(Process) || Process <- processes()],
    list_to_integer(string:trim(os:cmd("ps -o rss= -p " ++ os:getpid()))) * 1024.

start(State) ->
    {ok, Pid} = gen_server:start_link(?MODULE, State, []),
    Pid.

%% The metrics

measure("tell", Seconds, _, Burst, _) ->
    Sink = start({counting_alone, self(), Burst, Burst}),
    Note = {note, 1, <<"a note">>},
    rate(Seconds, Burst, fun() -> times(Burst, fun(_) -> gen_server:cast(Sink, Note) end), done() end);
measure("tell_fresh", Seconds, _, Burst, _) ->
    Sink = start({counting_alone, self(), Burst, Burst}),
    rate(Seconds, Burst,
         fun() -> times(Burst, fun(N) -> gen_server:cast(Sink, {note, N, <<"a note">>}) end), done() end);
measure(Ask, Seconds, Actors, Burst, _) when Ask =:= "ask"; Ask =:= "ask_64" ->
    Latch = latch(),
    Echo = start(echo),
    Askers = [start({asker, self(), Latch, Echo}) || _ <- lists:seq(1, Actors)],
    rate(Seconds, Actors * Burst,
         fun() -> arm(Latch, Actors), [gen_server:cast(Asker, Burst) || Asker <- Askers], done() end);
measure("ask_task", Seconds, _, Burst, _) ->
    Echo = start(echo),
    Note = {note, 1, <<"a note">>},
    rate(Seconds, Burst, fun() -> times(Burst, fun(_) -> gen_server:call(Echo, Note, ?WITHIN) end) end);
measure("fan_in", Seconds, Actors, Burst, _) ->
    Each = Actors * Burst,
    Sink = start({counting_alone, self(), Each, Each}),
    Tellers = [start({teller, Sink}) || _ <- lists:seq(1, Actors)],
    rate(Seconds, Each, fun() -> [gen_server:cast(Teller, Burst) || Teller <- Tellers], done() end);
measure("fan_out", Seconds, Actors, _, _) ->
    Latch = latch(),
    Sinks = [start({counting, self(), Latch}) || _ <- lists:seq(1, Actors)],
    Note = {note, 1, <<"a note">>},
    rate(Seconds, Actors, fun() -> arm(Latch, Actors), [gen_server:cast(Sink, Note) || Sink <- Sinks], done() end);
measure("spawn", _, Actors, _, _) ->
    Latch = latch(),
    Begun = now_s(),
    times(Actors, fun(_) -> start({counting, self(), Latch}) end),
    Actors / (now_s() - Begun);
measure("memory", _, Actors, _, _) ->
    Latch = latch(),
    Before = rss(),
    Pids = [start({counting, self(), Latch}) || _ <- lists:seq(1, Actors)],
    arm(Latch, Actors),
    [gen_server:cast(Pid, note) || Pid <- Pids],
    done(),
    (rss() - Before) / Actors;
measure("restart", _, _, Burst, _) ->
    {ok, _} = supervisor:start_link({local, bench_supervisor}, ?MODULE, {supervisor, self()}),
    receive {up, First} -> ok end,
    median(crash(First, Burst, []));
measure(Neighbour, Seconds, Actors, _, Work) when Neighbour =:= "neighbour"; Neighbour =:= "neighbour_working" ->
    Echo = start(echo),
    [gen_server:cast(start({saturated, Work}), note) || _ <- lists:seq(1, Actors)],
    median(ask_beside(Echo, now_s() + Seconds, []));
measure(_, _, _, _, _) ->
    null.

ask_beside(Echo, End, Latencies) ->
    Begun = now_s(),
    gen_server:call(Echo, note, ?WITHIN),
    Now = now_s(),
    Latency = (Now - Begun) * 1.0e3,
    case Now < End orelse length(Latencies) + 1 < ?ENOUGH_ASKS of
        true -> ask_beside(Echo, End, [Latency | Latencies]);
        false -> [Latency | Latencies]
    end.

%% A process that has crashed is gone with its mailbox, and its successor is another: that one says that it is there,
%% and is sent the message that ends the measurement.
crash(_, 0, Latencies) -> Latencies;
crash(Pid, Left, Latencies) ->
    gen_server:cast(Pid, crash),
    Crashed = receive {crashing, At} -> At end,
    Next = receive {up, New} -> New end,
    gen_server:cast(Next, serve),
    receive {served, Served} -> crash(Next, Left - 1, [(Served - Crashed) * 1.0e6 | Latencies]) end.

%% The actors

init({supervisor, Boss}) ->
    Flags = #{strategy => one_for_one, intensity => 1000000, period => 1},
    {ok, {Flags, [#{id => fragile, start => {?MODULE, start_fragile, [Boss]}}]}};
init({fragile, Boss}) ->
    Boss ! {up, self()},
    {ok, {fragile, Boss}};
init(State) -> {ok, State}.

start_fragile(Boss) -> gen_server:start_link(?MODULE, {fragile, Boss}, []).

handle_call(Message, _, State) -> {reply, Message, State}.

handle_cast(_, {counting_alone, Boss, 1, All}) ->
    Boss ! done,
    {noreply, {counting_alone, Boss, All, All}};
handle_cast(_, {counting_alone, Boss, Left, All}) ->
    {noreply, {counting_alone, Boss, Left - 1, All}};
handle_cast(_, {counting, Boss, Latch} = State) ->
    count(Latch, Boss),
    {noreply, State};
handle_cast(Times, {asker, Boss, Latch, Echo} = State) ->
    times(Times, fun(_) -> gen_server:call(Echo, {note, 1, <<"a note">>}, ?WITHIN) end),
    count(Latch, Boss),
    {noreply, State};
handle_cast(Times, {teller, Sink} = State) ->
    Note = {note, 1, <<"a note">>},
    times(Times, fun(_) -> gen_server:cast(Sink, Note) end),
    {noreply, State};
handle_cast(Message, {saturated, Work} = State) ->
    compute(Work),
    gen_server:cast(self(), Message),
    {noreply, State};
handle_cast(crash, {fragile, Boss}) ->
    Boss ! {crashing, now_s()},
    error(as_it_was_told);
handle_cast(serve, {fragile, Boss} = State) ->
    Boss ! {served, now_s()},
    {noreply, State}.

handle_info(_, State) -> {noreply, State}.
