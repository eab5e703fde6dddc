%% @doc Keeps this node connected to the configured ones.
%%
%% It only connects: which nodes hold copies of the store is the operator's act.
-module(erlmcp_cluster).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(RETRY_MS, 1000).

-record(state, {nodes :: [node()],
                attempts = #{} :: #{reference() => node()}}).

%% @doc Start connecting to the nodes, this one excepted, again and again.
-spec start_link([node()]) -> {ok, pid()} | {error, term()}.
start_link(Nodes) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Nodes, []).

-spec init([node()]) -> {ok, #state{}}.
init(Nodes) ->
    ok = net_kernel:monitor_nodes(true),
    self() ! connect,
    {ok, #state{nodes = lists:delete(node(), Nodes)}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(connect, #state{nodes = Nodes, attempts = Attempts} = State) ->
    erlang:send_after(?RETRY_MS, self(), connect),
    Missing = (Nodes -- nodes()) -- maps:values(Attempts),
    {noreply, State#state{attempts = maps:merge(Attempts, maps:from_list(attempt(Missing)))}};
handle_info({'DOWN', Ref, process, _Pid, _Reason}, #state{attempts = Attempts} = State) ->
    {noreply, State#state{attempts = maps:remove(Ref, Attempts)}};
handle_info({Event, Node}, #state{nodes = Nodes} = State) ->
    %% Others come and go, as those of operators' tools do.
    lists:member(Node, Nodes) andalso ?LOG_NOTICE("~ts: ~ts", [Event, Node]),
    {noreply, State}.

%% A process for each, because a connection to a host that does not answer
%% takes seconds to fail.
attempt(Nodes) ->
    [{element(2, spawn_monitor(net_kernel, connect_node, [Node])), Node} || Node <- Nodes].
