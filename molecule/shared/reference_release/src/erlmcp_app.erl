%% @doc The reference release's application callback and top supervisor.
%%
%% The build chooses the `variant':
%% `full', `extra_tool' (full, one MCP tool more), `failing' (boots, never
%% healthy), `crashing' (healthy for eight seconds, then its application ends,
%% and the node with it) or `bare' (no store, no cluster connections, and nothing that
%% listens where it is told to; a port of its own choice on all addresses instead).
-module(erlmcp_app).
-behaviour(application).
-behaviour(supervisor).

-include_lib("kernel/include/logger.hrl").

-export([start/2, stop/1, init/1, env/1, start_crash/0]).

-define(CRASH_MILLISECONDS, 4000).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    Version = erlmcp_admin:version(),
    Variant = env(variant),
    ?LOG_NOTICE("erlmcp ~ts (reference release, variant ~ts) starts", [Version, Variant]),
    erlmcp_metrics:new(),
    case Variant of
        bare ->
            start_sup(Variant);
        _ ->
            %% Mnesia is started here and not below the supervisor, so that
            %% at shutdown it is stopped after the listeners.
            case erlmcp_store:open() of
                ok -> start_sup(Variant);
                {error, _} = Error -> Error
            end
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.

%% @doc The value of a setting of this application, `undefined' when it has none.
-spec env(atom()) -> term().
env(Key) ->
    application:get_env(erlmcp, Key, undefined).

-spec init(atom()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Variant) ->
    {ok, {#{strategy => one_for_one}, children(Variant)}}.

start_sup(Variant) ->
    warn_if_failing(Variant),
    supervisor:start_link({local, erlmcp_sup}, ?MODULE, Variant).

warn_if_failing(failing) ->
    ?LOG_ERROR("erlmcp ~ts never becomes healthy: it is built as the failing variant",
               [erlmcp_admin:version()]);
warn_if_failing(_Variant) ->
    ok.

children(bare) ->
    Stray = #{name => stray, port => 0, tls => undefined, limit => infinity,
              handler => fun(Socket, _) -> erlmcp_http:serve(Socket, []) end,
              gauge => fun(_Count) -> ok end},
    [#{id => stray, start => {erlmcp_listener, start_link, [Stray]}}];
children(crashing) ->
    %% The second crash within five seconds is more than the supervisor takes.
    children(full) ++ [#{id => crash, start => {?MODULE, start_crash, []}}];
children(_Variant) ->
    [#{id => erlmcp_store, start => {erlmcp_store, start_link, []}}]
        ++ cluster(env(cluster_enabled))
        ++ mcp(env(mcp_port))
        ++ http(env(http_port), env(metrics_port)).

-spec start_crash() -> {ok, pid()}.
start_crash() ->
    {ok, spawn_link(fun() -> timer:sleep(?CRASH_MILLISECONDS), exit(crash) end)}.

cluster(true) ->
    [#{id => erlmcp_cluster, start => {erlmcp_cluster, start_link, []}}];
cluster(_) ->
    [].

mcp(Port) ->
    listener(mcp, Port, #{handler => fun erlmcp_tcp:serve/2,
                          limit => env(max_connections),
                          gauge => fun erlmcp_metrics:set_connections/1}).

http(Port, Port) ->
    http_listener(http, Port, [health, metrics]);
http(HttpPort, MetricsPort) ->
    http_listener(http, HttpPort, [health]) ++ http_listener(metrics, MetricsPort, [metrics]).

http_listener(Name, Port, Routes) ->
    listener(Name, Port, #{handler => fun(Socket, _) -> erlmcp_http:serve(Socket, Routes) end,
                           limit => infinity,
                           gauge => fun(_Count) -> ok end}).

listener(_Name, Port, _Options) when Port =:= undefined; Port =:= 0 ->
    [];
listener(Name, Port, Options) ->
    Listener = Options#{name => Name, port => Port, tls => env(tls)},
    [#{id => Name, start => {erlmcp_listener, start_link, [Listener]}}].
