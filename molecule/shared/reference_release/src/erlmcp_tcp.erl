%% @doc The MCP side of a connection: JSON-RPC 2.0, one message a line.
-module(erlmcp_tcp).

-include_lib("kernel/include/logger.hrl").

-export([serve/2]).

-type session() :: undefined | erlmcp_store:session_id().

-define(MAX_LINE, 1048576).
-define(PROTOCOL_VERSIONS, [<<"2025-06-18">>, <<"2025-03-26">>, <<"2024-11-05">>]).

-define(PARSE_ERROR, -32700).
-define(INVALID_REQUEST, -32600).
-define(METHOD_NOT_FOUND, -32601).
-define(INVALID_PARAMS, -32602).
-define(INTERNAL_ERROR, -32603).
-define(REFUSED, -32000).
-define(NO_SESSION, -32001).

%% @doc Answer messages on the connection until it ends.
-spec serve(erlmcp_listener:socket(), erlmcp_listener:admission()) -> term().
serve(Socket, full) ->
    refuse(Socket, ?REFUSED, <<"too many connections">>);
serve(Socket, admitted) ->
    case erlmcp_admin:health() of
        healthy -> loop(Socket, <<>>, undefined);
        Status -> refuse(Socket, ?REFUSED, <<"server is ", (atom_to_binary(Status))/binary>>)
    end.

refuse(Socket, Code, Message) ->
    ?LOG_ERROR("mcp connection refused: ~ts", [Message]),
    erlmcp_metrics:refused(),
    _ = erlmcp_listener:send(Socket, line(failure(null, Code, Message))),
    erlmcp_listener:shutdown(Socket).

loop(Socket, Buffer, Session) ->
    case binary:split(Buffer, <<"\n">>) of
        [Line, Rest] ->
            {Reply, NewSession} = timed(Line, Session),
            case erlmcp_listener:send(Socket, Reply) of
                ok -> loop(Socket, Rest, NewSession);
                {error, _} -> ok
            end;
        [_] when byte_size(Buffer) > ?MAX_LINE ->
            refuse(Socket, ?INVALID_REQUEST, <<"message too long">>);
        [_] ->
            case erlmcp_listener:recv(Socket, infinity) of
                {ok, Data} -> loop(Socket, <<Buffer/binary, Data/binary>>, Session);
                {error, _} -> ok
            end
    end.

timed(Line, Session) ->
    Start = erlang:monotonic_time(microsecond),
    {Outcome, Reply, NewSession} = message(Line, Session),
    erlmcp_metrics:observe(Outcome, erlang:monotonic_time(microsecond) - Start),
    {Reply, NewSession}.

message(Line, Session) ->
    case erlmcp_json:decode(Line) of
        {ok, #{<<"jsonrpc">> := <<"2.0">>, <<"method">> := Method} = Message}
          when is_binary(Method) ->
            Id = maps:get(<<"id">>, Message, notification),
            ?LOG_INFO("mcp request method=~ts id=~ts",
                      [erlmcp_json:encode(Method), erlmcp_json:encode(Id)]),
            answer(Id, Session, run(Method, maps:get(<<"params">>, Message, #{}), Session));
        {ok, _} ->
            answer(null, Session, {error, ?INVALID_REQUEST, <<"Invalid Request">>});
        error ->
            answer(null, Session, {error, ?PARSE_ERROR, <<"Parse error">>})
    end.

answer(Id, _Session, {session, NewSession, Result}) ->
    {ok, reply(Id, success(Id, Result)), NewSession};
answer(Id, Session, {result, Result}) ->
    {ok, reply(Id, success(Id, Result)), Session};
answer(Id, Session, {error, Code, Message}) ->
    ?LOG_ERROR("mcp error id=~ts code=~b: ~ts", [erlmcp_json:encode(Id), Code, Message]),
    {error, reply(Id, failure(Id, Code, Message)), Session}.

reply(notification, _Message) -> [];
reply(_Id, Message) -> line(Message).

success(Id, Result) ->
    #{jsonrpc => <<"2.0">>, id => Id, result => Result}.

failure(Id, Code, Message) ->
    #{jsonrpc => <<"2.0">>, id => Id, error => #{code => Code, message => Message}}.

line(Message) ->
    [erlmcp_json:encode(Message), $\n].

-spec run(binary(), term(), session()) ->
    {result, map()} | {session, session(), map()} | {error, integer(), binary()}.
run(Method, Params, Session) ->
    try
        method(Method, Params, Session)
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR("mcp method ~ts failed: ~tp",
                       [erlmcp_json:encode(Method), {Class, Reason, Stack}]),
            {error, ?INTERNAL_ERROR, <<"Internal error">>}
    end.

method(<<"initialize">>, Params, undefined) when is_map(Params) ->
    case open_session(Params) of
        {ok, Id} -> {session, Id, initialized(Params, Id)};
        {error, Reason} -> store_error(Reason)
    end;
method(<<"initialize">>, _Params, _Session) ->
    {error, ?INVALID_REQUEST, <<"already initialized, or params are no object">>};
method(<<"notifications/", _/binary>>, _Params, _Session) ->
    {result, #{}};
method(<<"ping">>, _Params, _Session) ->
    {result, #{}};
method(<<"tools/list">>, _Params, _Session) ->
    {result, #{tools => tools()}};
method(<<"tools/call">>, _Params, undefined) ->
    {error, ?NO_SESSION, <<"not initialized">>};
method(<<"tools/call">>, #{<<"name">> := Name} = Params, Session) ->
    case lists:any(fun(#{name := Known}) -> Known =:= Name end, tools()) of
        true ->
            ok = erlmcp_store:audit(Session, Name),
            call(Name, maps:get(<<"arguments">>, Params, #{}), Session);
        false ->
            {error, ?INVALID_PARAMS, <<"unknown tool">>}
    end;
method(<<"tools/call">>, _Params, _Session) ->
    {error, ?INVALID_PARAMS, <<"no tool named">>};
method(_Method, _Params, _Session) ->
    {error, ?METHOD_NOT_FOUND, <<"Method not found">>}.

%% A session outlives its connection: a client that names one goes on with it.
open_session(#{<<"_meta">> := #{<<"sessionId">> := Id}}) ->
    erlmcp_store:resume_session(Id);
open_session(_Params) ->
    erlmcp_store:create_session().

initialized(Params, Id) ->
    #{protocolVersion => protocol_version(maps:get(<<"protocolVersion">>, Params, null)),
      capabilities => #{tools => #{}},
      serverInfo => #{name => <<"erlmcp">>, version => list_to_binary(erlmcp_admin:version())},
      '_meta' => #{sessionId => Id}}.

protocol_version(Asked) ->
    case lists:member(Asked, ?PROTOCOL_VERSIONS) of
        true -> Asked;
        false -> hd(?PROTOCOL_VERSIONS)
    end.

tools() ->
    [describe(<<"echo">>, <<"Return a message">>, #{message => string}),
     describe(<<"put">>, <<"Store a value in the session">>, #{key => string, value => any}),
     describe(<<"get">>, <<"Return a value stored in the session">>, #{key => string})
     | extra_tools(erlmcp_app:env(variant))].

extra_tools(extra_tool) ->
    [describe(<<"count">>, <<"Count the values stored in the session">>, #{})];
extra_tools(_Variant) ->
    [].

describe(Name, Description, Arguments) ->
    #{name => Name,
      description => Description,
      inputSchema => #{type => object,
                       properties => maps:map(fun(_, Type) -> schema(Type) end, Arguments),
                       required => maps:keys(Arguments)}}.

schema(any) -> #{};
schema(Type) -> #{type => Type}.

call(<<"echo">>, #{<<"message">> := Message}, _Session) when is_binary(Message) ->
    text(Message);
call(<<"put">>, #{<<"key">> := Key, <<"value">> := Value}, Session) when is_binary(Key) ->
    case erlmcp_store:put(Session, Key, Value) of
        {ok, ok} -> text(<<"stored">>);
        {error, Reason} -> store_error(Reason)
    end;
call(<<"get">>, #{<<"key">> := Key}, Session) when is_binary(Key) ->
    case erlmcp_store:get(Session, Key) of
        {ok, [Value]} when is_binary(Value) -> text(Value);
        {ok, [Value]} -> text(iolist_to_binary(erlmcp_json:encode(Value)));
        {ok, []} -> {result, content(<<"no such key">>, true)};
        {error, Reason} -> store_error(Reason)
    end;
call(<<"count">>, _Arguments, Session) ->
    case erlmcp_store:count(Session) of
        {ok, Count} -> text(integer_to_binary(Count));
        {error, Reason} -> store_error(Reason)
    end;
call(_Name, _Arguments, _Session) ->
    {error, ?INVALID_PARAMS, <<"wrong arguments">>}.

text(Text) ->
    {result, content(Text, false)}.

content(Text, IsError) ->
    #{content => [#{type => text, text => Text}], isError => IsError}.

store_error(unknown_session) ->
    {error, ?NO_SESSION, <<"unknown session">>};
store_error(Reason) ->
    ?LOG_ERROR("mcp store failed: ~tp", [Reason]),
    {error, ?INTERNAL_ERROR, <<"store failed">>}.
