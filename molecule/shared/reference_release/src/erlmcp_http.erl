%% @doc The HTTP/1.1 listener's side of a connection: `/health' and `/metrics'.
-module(erlmcp_http).

-export([serve/2]).

-type route() :: health | metrics.

-define(IDLE_MS, 60000).
-define(MAX_LINE, 8192).

%% @doc Answer requests on the connection until it ends.
-spec serve(erlmcp_listener:socket(), [route()]) -> term().
serve(Socket, Routes) ->
    _ = erlmcp_listener:setopts(Socket, [{packet, http_bin}, {packet_size, ?MAX_LINE}]),
    loop(Socket, Routes).

loop(Socket, Routes) ->
    case request(Socket) of
        {ok, Method, Path, Keep} ->
            Answer = answer(Method, Path, Routes),
            case {erlmcp_listener:send(Socket, response(Method, Answer, Keep)), Keep} of
                {ok, true} -> loop(Socket, Routes);
                {ok, false} -> erlmcp_listener:shutdown(Socket);
                {{error, _}, _} -> ok
            end;
        bad_request ->
            _ = erlmcp_listener:send(Socket, response('GET', text(400, "bad request\n"), false)),
            erlmcp_listener:shutdown(Socket);
        closed ->
            ok
    end.

request(Socket) ->
    case erlmcp_listener:recv(Socket, ?IDLE_MS) of
        {ok, {http_request, Method, {abs_path, Target}, Version}} ->
            [Path | _Query] = binary:split(Target, <<"?">>),
            headers(Socket, Method, Path, Version >= {1, 1});
        {ok, _} -> bad_request;
        {error, emsgsize} -> bad_request;
        {error, _} -> closed
    end.

headers(Socket, Method, Path, Keep) ->
    case erlmcp_listener:recv(Socket, ?IDLE_MS) of
        {ok, http_eoh} ->
            {ok, Method, Path, Keep};
        {ok, {http_header, _, Name, _, Value}} ->
            headers(Socket, Method, Path, keep(Name, string:lowercase(Value), Keep));
        {ok, _} -> bad_request;
        {error, emsgsize} -> bad_request;
        {error, _} -> closed
    end.

%% A body is never read, so nothing can follow it on the connection.
keep('Content-Length', Length, _Keep) when Length =/= <<"0">> -> false;
keep('Transfer-Encoding', _, _Keep) -> false;
keep('Connection', <<"close">>, _Keep) -> false;
keep('Connection', <<"keep-alive">>, _Keep) -> true;
keep(_Name, _Value, Keep) -> Keep.

answer(Method, Path, Routes) when Method =:= 'GET'; Method =:= 'HEAD' ->
    case [Route || Route <- Routes, path(Route) =:= Path] of
        [health] -> health(erlmcp_admin:health());
        [metrics] -> {200, "text/plain; version=0.0.4", erlmcp_metrics:render()};
        [] -> text(404, "not found\n")
    end;
answer(_Method, _Path, _Routes) ->
    text(405, "method not allowed\n").

path(health) -> <<"/health">>;
path(metrics) -> <<"/metrics">>.

health(Status) ->
    Body = erlmcp_json:encode(#{status => Status,
                                timestamp => erlang:system_time(second),
                                version => list_to_binary(erlmcp_admin:version()),
                                node => node()}),
    {code(Status), "application/json", Body}.

code(healthy) -> 200;
code(_Status) -> 503.

text(Code, Body) ->
    {Code, "text/plain", Body}.

response(Method, {Code, Type, Body}, Keep) ->
    ["HTTP/1.1 ", integer_to_binary(Code), $\s, reason(Code),
     "\r\nContent-Type: ", Type,
     "\r\nContent-Length: ", integer_to_binary(iolist_size(Body)),
     "\r\nConnection: ", connection(Keep),
     "\r\n\r\n",
     case Method of 'HEAD' -> []; _ -> Body end].

reason(200) -> "OK";
reason(400) -> "Bad Request";
reason(404) -> "Not Found";
reason(405) -> "Method Not Allowed\r\nAllow: GET, HEAD";
reason(503) -> "Service Unavailable".

connection(true) -> "keep-alive";
connection(false) -> "close".
