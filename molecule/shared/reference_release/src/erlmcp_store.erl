%% @doc What the release keeps: sessions and their items in Mnesia, and an
%% audit trail of tool calls in a DETS file.
%%
%% Schema and tables are made on this node alone when there are none; copies on
%% other nodes are the operator's act. With `make_tables' off Mnesia runs as it is
%% found, and nothing can be stored in it.
-module(erlmcp_store).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([open/0, start_link/0, is_loaded/0, session_count/0]).
-export([create_session/0, resume_session/1, put/3, get/2, count/1, audit/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type session_id() :: binary().
-export_type([session_id/0]).

-record(erlmcp_session, {id :: session_id(),
                         created :: integer(),
                         last_used :: integer(),
                         items = 0 :: non_neg_integer()}).
-record(erlmcp_item, {key :: {session_id(), Key :: binary()},
                      value :: erlmcp_json:json()}).

-define(AUDIT, erlmcp_audit).

%% @doc Start Mnesia, with schema and tables of its own if there are none yet and
%% `make_tables' is on.
-spec open() -> ok | {error, term()}.
open() ->
    case open(steps(tables())) of
        ok ->
            ok;
        {error, Reason} ->
            ?LOG_ERROR("cannot open the store in ~ts: ~tp",
                       [mnesia:system_info(directory), Reason]),
            {error, {cannot_open_store, Reason}}
    end.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Whether Mnesia runs, and this node can read all tables.
-spec is_loaded() -> boolean().
is_loaded() ->
    mnesia:system_info(is_running) =:= yes andalso
        lists:all(fun(Table) -> table_info(Table, where_to_read, nowhere) =/= nowhere end, tables()).

-spec session_count() -> non_neg_integer().
session_count() ->
    table_info(erlmcp_session, size, 0).

-spec create_session() -> {ok, session_id()} | {error, term()}.
create_session() ->
    Id = binary:encode_hex(crypto:strong_rand_bytes(16)),
    Now = erlang:system_time(second),
    transaction(fun() ->
        mnesia:write(#erlmcp_session{id = Id, created = Now, last_used = Now}),
        Id
    end).

%% @doc Go on with a session that an earlier connection created.
-spec resume_session(session_id()) -> {ok, session_id()} | {error, term()}.
resume_session(Id) ->
    transaction(fun() ->
        use_session(Id, 0),
        Id
    end).

%% @doc Store an item of a session. The session's row changes with it, so that
%% the two tables agree only if transactions do.
-spec put(session_id(), Key :: binary(), erlmcp_json:json()) -> {ok, ok} | {error, term()}.
put(Id, Key, Value) ->
    transaction(fun() ->
        New = case mnesia:read(erlmcp_item, {Id, Key}, write) of [] -> 1; [_] -> 0 end,
        use_session(Id, New),
        mnesia:write(#erlmcp_item{key = {Id, Key}, value = Value})
    end).

-spec get(session_id(), Key :: binary()) -> {ok, [erlmcp_json:json()]} | {error, term()}.
get(Id, Key) ->
    transaction(fun() ->
        [Value || #erlmcp_item{value = Value} <- mnesia:read(erlmcp_item, {Id, Key})]
    end).

%% @doc The number of items of a session.
-spec count(session_id()) -> {ok, non_neg_integer()} | {error, term()}.
count(Id) ->
    transaction(fun() ->
        case mnesia:read(erlmcp_session, Id) of
            [#erlmcp_session{items = Items}] -> Items;
            [] -> mnesia:abort(unknown_session)
        end
    end).

%% @doc Record that a session called a tool.
-spec audit(session_id(), Tool :: binary()) -> ok | {error, term()}.
audit(Id, Tool) ->
    Now = erlang:system_time(microsecond),
    dets:insert(?AUDIT, {{Now, erlang:unique_integer()}, Id, Tool}).

-spec init([]) -> {ok, []} | {stop, term()}.
init([]) ->
    %% terminate/2 has to run: a DETS file left open needs repair.
    process_flag(trap_exit, true),
    File = filename:join(erlmcp_app:env(data_dir), "audit.dets"),
    case dets:open_file(?AUDIT, [{file, File}, {auto_save, 10000}]) of
        {ok, ?AUDIT} ->
            spawn_link(fun wait_for_tables/0),
            {ok, []};
        {error, Reason} ->
            ?LOG_ERROR("cannot open ~ts: ~tp", [File, Reason]),
            {stop, {cannot_open, File, Reason}}
    end.

-spec handle_call(term(), gen_server:from(), []) -> {reply, {error, unknown_call}, []}.
handle_call(_Request, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), []) -> {noreply, []}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info({'EXIT', pid(), term()}, []) -> {noreply, []}.
handle_info({'EXIT', _Waiter, _Reason}, State) ->
    {noreply, State}.

-spec terminate(term(), []) -> ok | {error, term()}.
terminate(_Reason, _State) ->
    dets:close(?AUDIT).

tables() ->
    case erlmcp_app:env(make_tables) of
        true -> [erlmcp_session, erlmcp_item];
        false -> []
    end.

%% Mnesia has a schema that nobody made in RAM.
steps([]) ->
    [fun mnesia:start/0];
steps(_Tables) ->
    [fun create_schema/0, fun mnesia:start/0,
     fun() -> create_table(erlmcp_session, record_info(fields, erlmcp_session)) end,
     fun() -> create_table(erlmcp_item, record_info(fields, erlmcp_item)) end].

open([]) ->
    ok;
open([Step | Steps]) ->
    case Step() of
        ok -> open(Steps);
        {error, _} = Error -> Error
    end.

create_schema() ->
    case mnesia:system_info(is_running) =:= no andalso mnesia:create_schema([node()]) of
        false -> ok;
        ok -> ok;
        {error, {_, {already_exists, _}}} -> ok;
        {error, _} = Error -> Error
    end.

create_table(Table, Fields) ->
    %% Creating it again would be refused, but only after locking the schema on
    %% every node that shares it.
    Options = [{attributes, Fields}, {disc_copies, [node()]}],
    case lists:member(Table, mnesia:system_info(tables)) orelse
         mnesia:create_table(Table, Options) of
        true -> ok;
        {atomic, ok} -> ok;
        {aborted, Reason} -> {error, Reason}
    end.

wait_for_tables() ->
    case mnesia:wait_for_tables(tables(), infinity) of
        ok -> ?LOG_NOTICE("store loaded: ~b sessions", [session_count()]);
        {error, Reason} -> ?LOG_ERROR("store not loaded: ~tp", [Reason])
    end.

transaction(Fun) ->
    case mnesia:transaction(Fun) of
        {atomic, Result} -> {ok, Result};
        {aborted, Reason} -> {error, Reason}
    end.

use_session(Id, NewItems) ->
    case mnesia:read(erlmcp_session, Id, write) of
        [#erlmcp_session{items = Items} = Session] ->
            mnesia:write(Session#erlmcp_session{last_used = erlang:system_time(second),
                                                items = Items + NewItems});
        [] ->
            mnesia:abort(unknown_session)
    end.

table_info(Table, Item, Default) ->
    try
        mnesia:table_info(Table, Item)
    catch
        exit:{aborted, _} -> Default
    end.
