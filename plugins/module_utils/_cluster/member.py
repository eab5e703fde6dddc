# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Joining, leaving and being forgotten: planned and proven from every member's view."""

from __future__ import annotations

import datetime
import time

from .._core.errors import OpsError
from .._erlang.node import PASSING, Node, Unreachable
from .._erlang.terms import Atom, format_term
from .._erlang.told import at_most_a_line
from .._node.drain import Drain
from .._node.exclusion import node_lock
from .._node.unit import Unit
from .peers import check_reachable
from .plan import Keep, plan_forget, plan_join, plan_leave
from .quarantine import Quarantine
from .view import ABSENT, own_view, views

# Between a table that was copied and members that all say so there are messages still under way.
_PROOF_SECONDS = 30
# What is not there by then, the plan refuses.
_START_SECONDS = 30

# All in one evaluation, which the node goes on with whatever becomes of who asked for it. What fails is taken back: the
# node serves alone again, with the rows it had.
_JOIN = """
Do = fun(What, Fun) ->
         case catch Fun() of
             ok -> ok;
             {{atomic, ok}} -> ok;
             Bad -> throw({{failed, What, lists:flatten(io_lib:format("~0p", [Bad]))}})
         end
     end,
Self = node(), Peer = {peer}, Applications = {applications}, Directory = mnesia:system_info(directory),
Start = fun() -> [Do(start, fun() ->
                      case application:ensure_all_started(A, permanent) of {{ok, _}} -> ok; Bad -> Bad end
                  end) || A <- Applications] end,
Forget = fun() -> rpc:call(Peer, mnesia, del_table_copy, [schema, Self]) end,
Keep = fun(N, Kind) -> rpc:call(Peer, mnesia, change_table_copy_type, [schema, N, Kind]) end,
InRam = fun(N) -> rpc:call(N, mnesia, table_info, [schema, storage_type]) =:= ram_copies end,
Remove = fun() -> {remove} end,
Restore = fun() -> {restore} end,
Join = fun() ->
    [application:stop(A) || A <- lists:reverse(Applications)],
    mnesia:stop(),
    Kept = [N || N <- {keep}, InRam(N)],
    Undo = fun() -> [Keep(N, ram_copies) || N <- Kept] end,
    try
        {forget},
        [Do({{keep_on_disk, N}}, fun() -> Keep(N, disc_copies) end) || N <- Kept],
        Do(remove, Remove)
    catch throw:Early -> Undo(), Start(), throw(Early)
    end,
    try
        Do(start_mnesia, fun mnesia:start/0),
        Do(connect, fun() -> case mnesia:change_config(extra_db_nodes, [Peer]) of
                                 {{ok, [_ | _]}} -> ok;
                                 Bad -> Bad
                             end end),
        Do(schema, fun() -> mnesia:change_table_copy_type(schema, Self, disc_copies) end),
        [Do({{copy, T}}, fun() -> mnesia:add_table_copy(T, Self, K) end) || {{T, K}} <- {copies}],
        Do(load, fun() -> mnesia:wait_for_tables({tables}, {milliseconds}) end)
    catch throw:Failure ->
        mnesia:stop(), Forget(), Undo(), mnesia:delete_schema([Self]), Restore(), Start(),
        throw(Failure)
    end,
    Start(),
    joined
end,
try global:trans({{erlmcp_ops_membership, self()}}, Join, [Self, Peer], 30) of
    aborted -> {{failed, lock, "another node joins at this moment"}};
    Done -> Done
catch throw:Failed -> Failed
end
"""

# A node that was lost may come back with all it had, and Mnesia would let it in. The survivors must not go for it.
_STOP_CONNECTING = """
[rpc:call(N, application, set_env, [A, cluster_nodes, Nodes -- {gone}])
    || N <- {survivors}, {{A, _, _}} <- rpc:call(N, application, loaded_applications, []),
       {{ok, Nodes}} <- [rpc:call(N, application, get_env, [A, cluster_nodes])]]
"""

# erl_epmd says noport too when there is no port mapper at all.
_CONNECT = """
MapperPort = case init:get_argument(epmd_port) of {{ok, [[Text | _] | _]}} -> list_to_integer(Text); _ -> 4369 end,
WithoutMapper = init:get_argument(erl_epmd_port) =/= error,
Answers = fun(Host, Port, Yes, No) -> case gen_tcp:connect(Host, Port, [], 3000) of
    {{ok, Socket}} -> gen_tcp:close(Socket), Yes;
    _ -> No
end end,
Connect = fun(N) -> case net_kernel:connect_node(N) of
    true -> connected;
    _ -> [Name, Host] = string:split(atom_to_list(N), "@"),
         case erl_epmd:port_please(Name, Host, 3000) of
             {{port, Port, _}} when WithoutMapper -> Answers(Host, Port, refused, closed);
             {{port, _, _}} -> refused;
             _ -> Answers(Host, MapperPort, not_registered, no_epmd)
         end
end end,
Self = self(), Names = {names},
[spawn(fun() -> Self ! {{erlmcp_ops_connected, N, Connect(N)}} end) || N <- Names],
[receive {{erlmcp_ops_connected, N, How}} -> {{N, How}} after 30000 -> {{N, no_epmd}} end || N <- Names]
"""
_REACH_SECONDS = 5
_WHY_NOT = {
    "refused": "it runs, but it refuses the connection: its cookie is another one, or a firewall is between the "
    "distribution ports",
    "closed": "its distribution port does not answer: is it up, and does its firewall let this one in?",
    "not_registered": "no node of this name runs on its host",
    "no_epmd": "the port mapper of its host does not answer: is the host up, and does its firewall let this one in?",
}


class Membership:
    """Changes which nodes share the tables.

    :param options: the options of the module ``cluster_member``.
    :param runner: a :class:`Runner`.
    """

    def __init__(self, options, runner):
        self.options = options
        self.node = Node(options["node"], runner)
        self.unit = Unit(options["node"]["service"], runner)
        self.runner = runner

    @property
    def expected(self):
        return self.options["members"] or [self.node.name]

    @property
    def leaving(self):
        return self.options["leaving"] or [self.node.name]

    def join(self, check_mode):
        if self.options["seed"] == self.node.name:
            return self._result([])
        if check_mode and not self.unit.state().running:
            return self._result([f"{self.node.name}: join {', '.join(self._others(self.expected))} once it is started"])
        own = self._started_view()
        if own.store.state == ABSENT or len(own.store.members) > 1:
            plan = plan_join(own, views(self.node, self._others(own.store.members)), self.expected)
        else:
            others = views(self.node, self._connect())
            plan = plan_join(own, others, self.expected, *self._choices())
        if plan is None:
            return self._result([])
        if isinstance(plan, Keep):
            return self._keep_membership(plan, check_mode)
        result = self._result(plan.steps, tables={name: kind for name, kind in plan.tables.items() if kind})
        if check_mode:
            return result
        started = time.monotonic()
        aside = self._join(plan, own.store.directory)
        self._prove(
            [*plan.members, self.node.name],
            {name: {self.node.name} for name, kind in plan.tables.items() if kind},
            on_disk=[*plan.members, self.node.name],
        )
        return {
            **result,
            "seconds": round(time.monotonic() - started, 1),
            **({"set_aside": aside} if aside else {}),
        }

    def _keep_membership(self, plan, check_mode):
        if not check_mode:
            self._keep_on_disk([plan.node])
            self._prove(plan.members, {}, on_disk=[plan.node])
        return self._result(plan.steps)

    def _started_view(self):
        """Look at the node when it shows its rows: it may be healthy, and load its tables still."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            late = time.monotonic() >= deadline
            try:
                own = own_view(self.node)
            except OpsError as error:
                if error.kind not in PASSING or late:
                    raise
            else:
                # One that shares its tables already may wait for another one, and has nothing to join.
                if own.store.is_loaded or len(own.store.members) > 1 or late:
                    return own
            time.sleep(0.2)

    def leave(self, check_mode):
        quarantine = Quarantine(self.options, self.unit, self.runner)
        if self.options["lost"] or not self.unit.state().running:
            return self._set_aside(quarantine, check_mode)
        quarantine.check()
        own = own_view(self.node)
        seen = {self.node.name: own, **views(self.node, own.store.members)}
        plan = plan_leave(self.node.name, self.leaving, seen, self.options["copies"])
        result = self._result(plan.steps, tables=plan.copies)
        if check_mode:
            return result
        self._keep_on_disk(plan.keep)
        for table, target, kind in plan.moves:
            self._change(f"mnesia:add_table_copy({_atom(table)}, {_atom(target)}, {kind})", f"copy {table} to {target}")
        if plan.moves:
            copies = {name: set(nodes) for name, nodes in plan.copies.items()}
            self._prove(own.store.members, copies, on_disk=plan.keep)
        drain = Drain(self.node, self.options["drain"])
        drained = drain.start()
        try:
            quarantine.begin(plan.members)
            self.unit.stop(self.options["stop_timeout_seconds"])
        except BaseException:
            quarantine.withdraw()
            if drained:
                drain.undo()
            raise
        quarantine.finish()
        return {**result, "drained": drain.outcome, "set_aside": quarantine.aside}

    def _set_aside(self, quarantine, check_mode):
        """A node that does not run: finish what an earlier run began, or take what a lost node left."""
        if not quarantine.needed():
            return self._result([])
        quarantine.check()
        if not quarantine.begun() and not self.options["lost"]:
            raise OpsError(
                f"{self.node.name} does not run, so it cannot hand over what it has: start it, or let the others "
                "forget it (erlmcp_cluster_leaving_dead: true)",
                kind="membership",
            )
        if not check_mode:
            quarantine.begin([])
            if self.unit.state().running:
                self.unit.stop(self.options["stop_timeout_seconds"])
            quarantine.finish()
        return self._result([f"{self.node.name}: set its data and its cookie aside, mask its unit"])

    def forget(self, check_mode):
        own = own_view(self.node)
        names, survivors = plan_forget(
            self.leaving,
            views(self.node, own.store.members),
            self.expected,
            still_run=check_mode and self.options["predicted_stopped"],
        )
        steps = [f"{', '.join(survivors)}: remove {name} from the schema" for name in names]
        if steps and not check_mode:
            for name in names:
                self._change(f"mnesia:del_table_copy(schema, {_atom(name)})", f"remove {name} from the schema")
            gone, remain = (format_term([Atom(name) for name in each]) for each in (names, survivors))
            self.node.evaluate(_one_line(_STOP_CONNECTING.format(gone=gone, survivors=remain)), timeout=30)
            self._prove(survivors, {})
        return self._result(steps)

    def _choices(self):
        return self.options["seed"], self.options["copies"], self.options["adopt"] == "discard"

    def _others(self, names):
        return [name for name in names if name != self.node.name]

    def _connect(self):
        """Connect to every expected member; return those that answer.

        :raises OpsError: when none does, naming the reason of each; before that, when a host keeps silent.
        """
        others = self._others(self.expected)
        check_reachable(self.node, others, self.options["ports"], _REACH_SECONDS)
        answers = self.node.evaluate(
            _one_line(_CONNECT.format(names=format_term([Atom(name) for name in others]))), timeout=60
        )
        answers = {str(name): str(how) for name, how in answers}
        connected = [name for name, how in answers.items() if how == "connected"]
        if not connected and others:
            reasons = "; ".join(f"{name}: {_WHY_NOT[how]}" for name, how in answers.items())
            raise OpsError(f"{self.node.name} reaches no other member. {reasons}", kind="unreachable", answers=answers)
        return connected

    def _join(self, plan, directory):
        aside = f"{directory}.discarded-{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
        move = f"file:rename(Directory, {format_term(aside)})"
        back = f"file:rename({format_term(aside)}, Directory)"
        seconds = self.options["join_timeout_seconds"]
        copies = [(Atom(name), Atom(kind)) for name, kind in plan.tables.items() if kind]
        text = _JOIN.format(
            peer=_atom(plan.peer),
            applications=format_term([Atom(name) for name in self.options["applications"]]),
            forget="Do(forget, Forget)" if plan.forget else "ok",
            keep=format_term([Atom(name) for name in plan.keep]),
            remove=move if plan.discard else "mnesia:delete_schema([Self])",
            restore=back if plan.discard else "ok",
            copies=format_term(copies),
            tables=format_term([Atom(name) for name in plan.tables]),
            milliseconds=seconds * 1000,
        )
        began, pid = time.time(), self.unit.state().pid
        try:
            answer = self.node.evaluate(_one_line(text), timeout=seconds)
        except Unreachable as error:
            if self.unit.state().pid != pid:
                raise OpsError(
                    f"{self.node.name} has ended while it joined through {plan.peer}. Repair why, then run again. From "
                    f"journalctl -u {self.unit.name}:\n{self.unit.journal(began)}",
                    kind="membership",
                ) from error
            raise OpsError(
                f"{self.node.name} has not joined within {seconds} s, and may still be at it ({error}). See "
                "whether it serves (check_health), and run again; large tables need more "
                "erlmcp_cluster_join_timeout_seconds",
                kind="membership",
            ) from error
        if answer != "joined":
            _failed, what, why = answer
            dropped = f", less its rows in {', '.join(plan.drop)}, which were in RAM only" if plan.drop else ""
            raise OpsError(
                f"{self.node.name} could not join through {plan.peer}: {_told(what)}: {at_most_a_line(why)}. It serves "
                f"alone again, with what it had{dropped}. Mend that, and run again",
                kind="membership",
                step=_told(what),
            )
        return aside if plan.discard else None

    def _keep_on_disk(self, names):
        for name in names:
            self._change(
                f"mnesia:change_table_copy_type(schema, {_atom(name)}, disc_copies)",
                f"put the schema of {name} on disk",
            )

    def _change(self, call, what):
        answer = self.node.evaluate(
            f'case {call} of {{atomic, ok}} -> ok; Bad -> {{failed, lists:flatten(io_lib:format("~0p", [Bad]))}} end',
            timeout=self.options["join_timeout_seconds"],
        )
        if answer != "ok":
            raise OpsError(
                f"{self.node.name} could not {what}: {at_most_a_line(answer[1])}. Mend that, and run again",
                kind="membership",
            )

    def _prove(self, members, copies, on_disk=()):
        """Wait until every member says that the members are these, and that these nodes have these copies.

        :param copies: table to the nodes that must have it, and read it, besides others.
        :param on_disk: nodes that must have the schema on disk, and so are members still after a restart.
        """
        deadline = time.monotonic() + _PROOF_SECONDS
        while True:
            problems = problems_of(views(self.node, members), members, copies, on_disk)
            if not problems:
                return
            if time.monotonic() >= deadline:
                raise OpsError(
                    f"membership is not proven after {_PROOF_SECONDS} s: {'; '.join(problems)}. Repair that, and run "
                    "again",
                    kind="membership",
                )
            time.sleep(0.2)

    def _result(self, steps, **more):
        text = "".join(f"{step}\n" for step in steps)
        return {"changed": bool(steps), "plan": steps, "diff": {"before": "", "after": text} if steps else {}, **more}


def problems_of(seen, members, copies, on_disk=()):
    """Return what contradicts that the members are these and nobody else, as texts.

    :param seen: node name to :class:`.view.View`.
    :param members: names of nodes.
    :param copies: table to a set of nodes.
    :param on_disk: names of nodes.
    """
    wanted = set(members)
    problems = [f"{name} does not answer" for name in members if name not in seen]
    for name, view in seen.items():
        store = view.store
        if set(store.members) != wanted or set(store.running) != wanted:
            problems.append(
                f"{name} has {', '.join(store.members)} in its schema, of which {', '.join(store.running)} run"
            )
        in_ram = sorted(set(on_disk) & set(store.in_ram()))
        if in_ram:
            problems.append(f"{name} says that {', '.join(in_ram)} has the schema in RAM, and forgets it at a restart")
        for table, nodes in copies.items():
            found = store.tables.get(table)
            missing = sorted(nodes - set(found.copies)) if found else sorted(nodes)
            if missing:
                problems.append(f"{name} knows of no copy of {table} on {', '.join(missing)}")
            elif name in nodes and not found.loaded:
                problems.append(f"{name} has not loaded {table}")
    return problems


def cluster_member(module, runner):
    """The module ``cluster_member``."""
    options = module.params
    membership = Membership(options, runner)
    if options["state"] == "present":
        change = membership.join
    elif membership.node.name in membership.leaving:
        change = membership.leave
    else:
        return membership.forget(module.check_mode)
    if module.check_mode:
        return change(True)
    with node_lock(options["node"], f"change of membership to {options['state']}"):
        return change(False)


def _atom(name):
    return format_term(Atom(name))


def _one_line(text):
    return " ".join(text.split())


def _told(what):
    return " ".join(str(each) for each in what) if isinstance(what, tuple) else str(what)
