%% @doc What an operator asks of a running node, over distribution.
-module(erlmcp_admin).

-export([connection_count/0, drain/0, undrain/0, health/0, sessions/0, version/0]).

-type status() :: healthy | starting | draining | failing.
-export_type([status/0]).

%% @doc The number of open MCP connections.
-spec connection_count() -> non_neg_integer().
connection_count() ->
    erlmcp_metrics:connections().

%% @doc Refuse new MCP connections and report `draining'; open ones may finish.
-spec drain() -> ok.
drain() ->
    application:set_env(erlmcp, draining, true).

%% @doc Take `drain/0' back.
-spec undrain() -> ok.
undrain() ->
    application:unset_env(erlmcp, draining).

%% @doc Whether the node can serve. Asked anew each time, because an operator
%% may stop Mnesia or move its tables while the application runs.
-spec health() -> status().
health() ->
    health(erlmcp_app:env(variant), erlmcp_app:env(draining)).

health(failing, _Draining) -> failing;
health(_Variant, true) -> draining;
health(bare, _Draining) -> healthy;
health(_Variant, _Draining) ->
    case erlmcp_store:is_loaded() of
        true -> healthy;
        false -> starting
    end.

%% @doc The number of stored sessions, open or not.
-spec sessions() -> non_neg_integer().
sessions() ->
    erlmcp_store:session_count().

%% @doc The version of the application.
-spec version() -> string().
version() ->
    {ok, Version} = application:get_key(erlmcp, vsn),
    Version.
