%% @doc Keeps this node connected to the configured ones.
%%
%% It only connects: which nodes hold copies of the store is the operator's act.
-module(erlmcp_cluster).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(RETRY_MS, 1000).

-record(state, {attempts = #{} :: #{reference() => node()}}).

%% @doc Start connecting to the nodes, this one excepted, again and again. The
%% setting is read each time, so it may change while the application runs.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    ok = net_kernel:monitor_nodes(true),
    self() ! connect,
    {ok, #state{}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(connect, #state{attempts = Attempts} = State) ->
    erlang:send_after(?RETRY_MS, self(), connect),
    Missing = (others() -- nodes()) -- maps:values(Attempts),
    {noreply, State#state{attempts = maps:merge(Attempts, maps:from_list(attempt(Missing)))}};
handle_info({'DOWN', Ref, process, _Pid, _Reason}, #state{attempts = Attempts} = State) ->
    {noreply, State#state{attempts = maps:remove(Ref, Attempts)}};
handle_info({Event, Node}, State) ->
    %% Others come and go, as those of operators' tools do.
    lists:member(Node, others()) andalso ?LOG_NOTICE("~ts: ~ts", [Event, Node]),
    {noreply, State}.

others() ->
    lists:delete(node(), erlmcp_app:env(cluster_nodes)).

%% A process for each, because a connection to a host that does not answer
%% takes seconds to fail.
attempt(Nodes) ->
    [{element(2, spawn_monitor(net_kernel, connect_node, [Node])), Node} || Node <- Nodes].
