%% @doc A TCP or TLS listener: owns the port, counts and limits connections.
%%
%% An acceptor becomes the process of the connection it accepted; the listener
%% then starts another acceptor. All of them are linked to the listener.
-module(erlmcp_listener).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/1, send/2, recv/2, setopts/2, shutdown/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([socket/0, admission/0]).

-type socket() :: {gen_tcp, gen_tcp:socket()} | {ssl, ssl:sslsocket()}.
-type admission() :: admitted | full.
-type options() :: #{name := atom(),
                     port := inet:port_number(),
                     tls := undefined | [ssl:tls_server_option()],
                     handler := fun((socket(), admission()) -> term()),
                     limit := non_neg_integer() | infinity,
                     gauge := fun((non_neg_integer()) -> ok)}.

-record(state, {options :: options(),
                listen :: gen_tcp:socket(),
                acceptors = #{} :: #{pid() => []},
                connections = #{} :: #{pid() => admission()},
                admitted = 0 :: non_neg_integer()}).

-define(ACCEPTORS, 16).
-define(HANDSHAKE_MS, 10000).
-define(LINGER_MS, 1000).

%% @doc Open the port, or fail saying which one.
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    gen_server:start_link(?MODULE, Options, []).

-spec send(socket(), iodata()) -> ok | {error, term()}.
send({Module, Socket}, Data) ->
    Module:send(Socket, Data).

-spec recv(socket(), timeout()) -> {ok, term()} | {error, term()}.
recv({Module, Socket}, Timeout) ->
    Module:recv(Socket, 0, Timeout).

-spec setopts(socket(), [term()]) -> ok | {error, term()}.
setopts({gen_tcp, Socket}, Options) ->
    inet:setopts(Socket, Options);
setopts({ssl, Socket}, Options) ->
    ssl:setopts(Socket, Options).

%% @doc End a connection so that the peer still reads what was sent last:
%% closing while its data is unread would reset the connection.
-spec shutdown(socket()) -> term().
shutdown({Module, Socket}) ->
    _ = Module:shutdown(Socket, write),
    _ = Module:recv(Socket, 0, ?LINGER_MS),
    Module:close(Socket).

-spec init(options()) -> {ok, #state{}} | {stop, term()}.
init(#{name := Name, port := Port, tls := Tls, gauge := Gauge} = Options) ->
    process_flag(trap_exit, true),
    case listen(Port, Tls) of
        {ok, Listen} ->
            ?LOG_NOTICE("~ts listens on port ~b (~ts)", [Name, Port, protocol(Tls)]),
            Gauge(0),
            State = #state{options = Options, listen = Listen},
            {ok, lists:foldl(fun(_, S) -> add_acceptor(S) end, State, lists:seq(1, ?ACCEPTORS))};
        {error, What} ->
            ?LOG_ERROR("~ts cannot listen on port ~b: ~ts", [Name, Port, What]),
            {stop, {cannot_listen, Name, Port, lists:flatten(What)}}
    end.

-spec handle_call(accepted, gen_server:from(), #state{}) -> {reply, admission(), #state{}}.
handle_call(accepted, {Pid, _}, State) ->
    #state{options = #{limit := Limit}, admitted = Admitted,
           acceptors = Acceptors, connections = Connections} = State,
    %% An integer is always less than the atom infinity.
    Admission = case Admitted < Limit of true -> admitted; false -> full end,
    NewState = State#state{acceptors = maps:remove(Pid, Acceptors),
                           connections = Connections#{Pid => Admission}},
    {reply, Admission, count(Admission, 1, add_acceptor(NewState))}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Message, State) ->
    {noreply, State}.

-spec handle_info({'EXIT', pid(), term()}, #state{}) -> {noreply, #state{}}.
handle_info({'EXIT', Pid, _Reason}, #state{connections = Connections} = State) ->
    case maps:take(Pid, Connections) of
        {Admission, Rest} ->
            {noreply, count(Admission, -1, State#state{connections = Rest})};
        error ->
            Acceptors = maps:remove(Pid, State#state.acceptors),
            {noreply, add_acceptor(State#state{acceptors = Acceptors})}
    end.

count(full, _Change, State) ->
    State;
count(admitted, Change, #state{options = #{gauge := Gauge}, admitted = Admitted} = State) ->
    Gauge(Admitted + Change),
    State#state{admitted = Admitted + Change}.

listen(Port, Tls) ->
    case unreadable(Tls) of
        [] ->
            case gen_tcp:listen(Port, [binary, {active, false}, {reuseaddr, true},
                                       {nodelay, true}, {keepalive, true}, {backlog, 1024},
                                       {send_timeout, 30000}, {send_timeout_close, true}]) of
                {ok, Listen} -> {ok, Listen};
                {error, Reason} -> {error, inet:format_error(Reason)}
            end;
        [File | _] ->
            {error, ["cannot read ", File]}
    end.

%% Otherwise each handshake would fail, and the start not.
unreadable(undefined) ->
    [];
unreadable(Tls) ->
    [File || {Key, File} <- Tls, lists:member(Key, [certfile, keyfile, cacertfile]),
             element(1, file:read_file(File)) =:= error].

protocol(undefined) -> "TCP";
protocol(_Tls) -> "TLS".

add_acceptor(#state{options = Options, listen = Listen, acceptors = Acceptors} = State) ->
    Listener = self(),
    Pid = proc_lib:spawn_link(fun() -> accept(Listener, Listen, Options) end),
    State#state{acceptors = Acceptors#{Pid => []}}.

accept(Listener, Listen, #{name := Name, tls := Tls, handler := Handler} = Options) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Admission = gen_server:call(Listener, accepted, infinity),
            case handshake(Socket, Tls) of
                {ok, Connection} ->
                    Handler(Connection, Admission);
                {error, Reason} ->
                    ?LOG_NOTICE("~ts: TLS handshake failed: ~tp", [Name, Reason]),
                    gen_tcp:close(Socket)
            end;
        {error, Reason} ->
            ?LOG_ERROR("~ts cannot accept a connection: ~ts", [Name, inet:format_error(Reason)]),
            %% Without a pause, running out of file descriptors would make
            %% this a busy loop.
            timer:sleep(100),
            accept(Listener, Listen, Options)
    end.

handshake(Socket, undefined) ->
    {ok, {gen_tcp, Socket}};
handshake(Socket, Tls) ->
    case ssl:handshake(Socket, Tls, ?HANDSHAKE_MS) of
        {ok, TlsSocket} -> {ok, {ssl, TlsSocket}};
        {error, _} = Error -> Error
    end.
