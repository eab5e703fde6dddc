%% @doc The counters behind `/metrics'. Writers never block one another.
-module(erlmcp_metrics).

-export([new/0, observe/2, refused/0, set_connections/1, connections/0, render/0]).

-define(REQUESTS, 1).
-define(ERRORS, 2).
-define(CONNECTIONS, 3).
-define(MICROSECONDS, 4).
-define(FIRST_BUCKET, 5).

%% @doc Set all counters to zero.
-spec new() -> ok.
new() ->
    Size = ?FIRST_BUCKET + length(buckets()),
    persistent_term:put(?MODULE, counters:new(Size, [write_concurrency])).

%% @doc Count one MCP request, what became of it and how long it took.
-spec observe(ok | error, Microseconds :: non_neg_integer()) -> ok.
observe(Outcome, Microseconds) ->
    add(?REQUESTS, 1),
    Outcome =:= error andalso add(?ERRORS, 1),
    add(?MICROSECONDS, Microseconds),
    add(bucket(Microseconds, buckets(), ?FIRST_BUCKET), 1).

%% @doc Count an error that no request led to, as a refused connection.
-spec refused() -> ok.
refused() ->
    add(?ERRORS, 1).

-spec set_connections(non_neg_integer()) -> ok.
set_connections(Count) ->
    counters:put(persistent_term:get(?MODULE), ?CONNECTIONS, Count).

-spec connections() -> non_neg_integer().
connections() ->
    value(?CONNECTIONS).

%% @doc All metrics in Prometheus' text format.
-spec render() -> iolist().
render() ->
    [family("requests_total", "counter", "MCP requests received.",
            [sample("requests_total", "", value(?REQUESTS))]),
     family("errors_total", "counter", "MCP requests and connections answered with an error.",
            [sample("errors_total", "", value(?ERRORS))]),
     family("latency_seconds", "histogram", "Time taken to answer an MCP request.",
            histogram()),
     family("connections_active", "gauge", "Open MCP connections.",
            [sample("connections_active", "", value(?CONNECTIONS))]),
     family("build_info", "gauge", "The version that runs.",
            [sample("build_info",
                    ["{version=\"", erlmcp_admin:version(), "\",otp_release=\"",
                     erlang:system_info(otp_release), "\"}"],
                    1)])].

histogram() ->
    {Lines, Total} = lists:mapfoldl(fun bucket_line/2, 0, lists:enumerate(?FIRST_BUCKET, bounds())),
    Seconds = float_to_binary(value(?MICROSECONDS) / 1.0e6, [{decimals, 6}, compact]),
    [Lines,
     sample("latency_seconds_sum", "", Seconds),
     sample("latency_seconds_count", "", Total)].

bucket_line({Index, Bound}, Below) ->
    Total = Below + value(Index),
    {sample("latency_seconds_bucket", ["{le=\"", Bound, "\"}"], Total), Total}.

family(Name, Type, Help, Samples) ->
    ["# HELP erlmcp_", Name, $\s, Help, "\n# TYPE erlmcp_", Name, $\s, Type, $\n, Samples].

sample(Name, Labels, Value) when is_integer(Value) ->
    sample(Name, Labels, integer_to_binary(Value));
sample(Name, Labels, Value) ->
    ["erlmcp_", Name, Labels, $\s, Value, $\n].

bounds() ->
    [Bound || {_, Bound} <- buckets()] ++ ["+Inf"].

buckets() ->
    [{500, "0.0005"}, {1_000, "0.001"}, {2_500, "0.0025"}, {5_000, "0.005"},
     {10_000, "0.01"}, {25_000, "0.025"}, {50_000, "0.05"}, {100_000, "0.1"},
     {250_000, "0.25"}, {500_000, "0.5"}, {1_000_000, "1"}, {2_500_000, "2.5"},
     {5_000_000, "5"}, {10_000_000, "10"}].

bucket(Value, [{Bound, _} | Rest], Index) when Value > Bound ->
    bucket(Value, Rest, Index + 1);
bucket(_Value, _Buckets, Index) ->
    Index.

add(Index, Increment) ->
    counters:add(persistent_term:get(?MODULE), Index, Increment).

value(Index) ->
    counters:get(persistent_term:get(?MODULE), Index).
