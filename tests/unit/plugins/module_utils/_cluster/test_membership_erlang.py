# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Joining, leaving and being forgotten, with real nodes and real Mnesia; systemctl alone is a fake.

Starting an Erlang takes longer than a test, so the nodes stay, and every test begins with stores of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster import member as member_module
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster import quarantine as quarantine_module
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.member import Membership, cluster_member
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.plan import Join
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.terms import format_term
from ansible_collections.erlmcp.ops.plugins.module_utils._node import exclusion
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import private_erlang

NAMES = ("a@127.0.0.1", "b@127.0.0.1", "c@127.0.0.1")
A, B, C = NAMES

# Like the release: it makes its tables on this node when nobody else has any.
SHOP = """
-module(shop).
-behaviour(application).
-export([start/2, stop/1]).
start(_, _) ->
    mnesia:change_table_copy_type(schema, node(), disc_copies),
    mnesia:create_table(item, [{disc_copies, [node()]}]),
    ok = mnesia:wait_for_tables([item], 5000),
    {ok, spawn(fun() -> receive stop -> ok end end)}.
stop(_) -> ok.
"""
APP = "{application, shop, [{mod, {shop, []}}, {applications, [kernel, stdlib, mnesia]}]}."

FRESH = """
application:stop(shop), application:stop(mnesia),
[erlang:set_cookie(N, erlang:get_cookie()) || N <- [NAMES]],
application:set_env(mnesia, dir, DIRECTORY),
{ok, _} = application:ensure_all_started(shop, permanent),
[ok = mnesia:dirty_write({item, {node(), Key}, 0}) || Key <- lists:seq(1, ROWS)],
ok
"""


@pytest.fixture(scope="module", name="machines")
def _machines(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "shop.erl").write_text(SHOP)
    (home / "shop.app").write_text(APP)
    with private_erlang(home) as erlang, ExitStack() as stack:
        for name in NAMES:
            node, _process = stack.enter_context(erlang.node(name, home / name))
            node.evaluate(
                "logger:set_primary_config(level, none), file:set_cwd(HOME), {ok, shop} = compile:file(shop), "
                "code:add_patha(HOME), application:load(shop), application:load(mnesia)".replace(
                    "HOME", format_term(str(home))
                )
            )
        yield erlang


class Host:
    """One node's host: the files that a departure sets aside, and a fake systemd."""

    def __init__(self, erlang, name, root):
        self.name = name
        self.root = root
        self.erlang = erlang
        self.application = "shop"
        self.running = True
        self.stop_fails = False
        for directory in ("etc", "home"):
            (root / directory).mkdir(parents=True)
        (root / "data").mkdir()
        shutil.copy(erlang.home / ".erlang.cookie", root / "home")
        self.spec = {
            **erlang.spec(name),
            "home_dir": str(root / "home"),
            "service": f"shop-{name[0]}",
            "config_dir": str(root / "etc"),
        }
        self.node = Node(self.spec, erlang.runner)

    def fresh(self, rows):
        text = FRESH.replace("NAMES", ", ".join(f"'{name}'" for name in NAMES))
        text = text.replace("DIRECTORY", format_term(str(self.root / "data" / "mnesia"))).replace("ROWS", str(rows))
        assert self.node.evaluate(text, timeout=20) == "ok"

    def run(self, argv, **options):
        if argv[0] != "systemctl":
            return self.erlang.runner.run(argv, **options)
        if argv[1] == "stop":
            if self.stop_fails:
                return Completed(1, "", "no")
            self.die()
        return Completed(0, f"ActiveState=active\nMainPID={42 if self.running else 0}\n", "")

    def die(self):
        self.node.evaluate("application:stop(shop), application:stop(mnesia)")
        self.running = False

    def restart(self):
        app = self.application
        assert self.ask(f"application:stop({app}), application:stop(mnesia), application:ensure_all_started({app})")

    def member(self, **options):
        return Membership(self.options(**options), self)

    def options(self, **options):
        return {
            "node": self.spec,
            "drain": {"start": None, "undo": None, "count": None, "timeout_seconds": 0},
            "members": list(NAMES[:2]),
            "leaving": [],
            "seed": None,
            "copies": 0,
            "ports": [],
            "adopt": "refuse",
            "lost": False,
            "predicted_stopped": False,
            "applications": [self.application],
            "data_dir": str(self.root / "data"),
            "other_units": [],
            "join_timeout_seconds": 20,
            "stop_timeout_seconds": 20,
            **options,
        }

    def ask(self, text):
        return self.node.evaluate(text)

    @property
    def rows(self):
        return self.ask("mnesia:table_info(item, size)")

    @property
    def members(self):
        return [str(name) for name in self.ask("lists:sort(mnesia:system_info(running_db_nodes))")]

    @property
    def serves(self):
        return self.ask(f"lists:keymember({self.application}, 1, application:which_applications())")

    @property
    def schema(self):
        return self.ask("mnesia:table_info(schema, storage_type)")

    @property
    def mnesia(self):
        return self.root / "data" / "mnesia"

    def discarded(self):
        return [path for path in (self.root / "data").iterdir() if ".discarded-" in path.name]


@pytest.fixture(name="start")
def _start(machines, tmp_path, monkeypatch):
    """Start stores: ``start(rows of a, rows of b, ...)`` gives their hosts."""
    monkeypatch.setattr(quarantine_module, "_UNIT_DIR", str(tmp_path))
    monkeypatch.setattr(exclusion, "_RUN_DIR", str(tmp_path / "run"))

    def start(*rows):
        hosts = [Host(machines, name, tmp_path / name) for name in NAMES[: len(rows)]]
        # All are stopped first: one that still shares tables with another would take its schema along.
        for name in NAMES:
            Node(machines.spec(name), machines.runner).evaluate("application:stop(shop), application:stop(mnesia)")
        for host, count in zip(hosts, rows):
            host.fresh(count)
        return hosts

    return start


def joined(start, *rows):
    """A cluster that has the rows of the first."""
    first, *others = hosts = start(*rows)
    for number, host in enumerate(others):
        host.member(members=list(NAMES[: number + 2])).join(False)
    return hosts


def test_a_node_that_loads_its_tables_still_is_waited_for(start, monkeypatch):
    _first, second = start(0, 0)
    own_view = member_module.own_view
    seen = []

    def view_of_a_node_that_starts(node):
        seen.append(node.name)
        if len(seen) == 1:
            raise OpsError("aborted: no_exists", kind="erlang")
        view = own_view(node)
        if len(seen) > 2:
            return view
        tables = {name: replace(table, loaded=False) for name, table in view.store.tables.items()}
        return replace(view, store=replace(view.store, tables=tables))

    monkeypatch.setattr(member_module, "own_view", view_of_a_node_that_starts)
    assert second.member().join(True)["changed"]
    assert len(seen) == 3


def test_nodes_without_rows_join_and_run_again_changes_nothing(start):
    a, b = start(0, 0)
    assert not a.member().join(False)["changed"]
    predicted = b.member().join(True)
    assert predicted["changed"]
    assert b.members == [B]
    result = b.member().join(False)
    assert result["plan"] == predicted["plan"]
    assert result["tables"] == {"item": "disc_copies"}
    assert (a.members, b.members) == ([A, B], [A, B])
    a.ask("mnesia:dirty_write({item, here, 1})")
    assert b.ask("mnesia:dirty_read(item, here)") == [("item", "here", 1)]
    assert b.ask("mnesia:table_info(schema, storage_type)") == "disc_copies"
    assert b.serves
    assert [host.member().join(False)["plan"] for host in (a, b)] == [[], []]


def test_rows_of_the_joiner_are_refused_and_else_set_aside(start):
    a, b = start(5, 3)
    with pytest.raises(OpsError, match="more than one node holds rows of its own"):
        b.member().join(False)
    assert b.member(adopt="discard").join(True)["changed"]
    assert b.rows == 3
    result = b.member(adopt="discard").join(False)
    assert f"{B}: set its own rows aside" in result["plan"]
    assert (a.rows, b.rows) == (5, 5)
    assert b.discarded() == [b.root / "data" / os.path.basename(result["set_aside"])]
    assert "item.DCD" in os.listdir(result["set_aside"])


def test_a_table_with_copies_enough_is_read_from_the_others(start):
    a, b = start(5, 0)
    assert b.member(copies=1).join(False)["tables"] == {}
    assert b.ask("mnesia:table_info(item, disc_copies)") == [A]
    assert len(b.ask("mnesia:dirty_all_keys(item)")) == 5


@pytest.mark.parametrize("rows", [0, 3])
def test_a_join_that_fails_half_way_is_taken_back(start, rows):
    a, b = start(5, rows)
    plan = Join(B, A, (A,), discard=rows > 0, tables={"item": "disc_copies", "none": "disc_copies"})
    with pytest.raises(OpsError, match="could not join .*: copy none: .*no_exists.*It serves alone again") as failure:
        b.member()._join(plan, str(b.mnesia))
    assert failure.value.details["step"] == "copy none"
    assert (a.members, b.members) == ([A], [B])
    assert a.ask("mnesia:system_info(db_nodes)") == [A]
    assert (a.rows, b.rows, a.serves, b.serves) == (5, rows, True, True)
    assert b.discarded() == []
    assert b.member(adopt="discard").join(False)["changed"]
    assert (a.rows, b.rows) == (5, 5)


@pytest.mark.parametrize(("forget", "step"), [(True, "forget"), (False, "remove")])
def test_a_node_that_cannot_even_begin_serves_on(start, forget, step):
    a, b = start(5, 3)
    peer = "none@127.0.0.1" if forget else A
    plan = Join(B, peer, (peer,), forget=forget, discard=True, tables={"item": "disc_copies"})
    with pytest.raises(OpsError, match=f"could not join through {peer}: {step}: .*It serves alone again"):
        b.member()._join(plan, str(b.root / "nowhere" / "mnesia"))
    assert (b.members, b.rows, b.serves) == ([B], 3, True)
    assert (a.members, a.rows) == ([A], 5)


def test_a_member_that_is_down_is_found_before_anything_is_touched(start):
    a, b, c = start(5, 0, 0)
    b.member().join(False)
    b.die()
    with pytest.raises(OpsError, match=f"degraded or partitioned: .*Mnesia of {B} does not run"):
        c.member(members=list(NAMES)).join(False)
    assert c.serves


def test_a_join_is_taken_back_while_another_member_is_down_too(start):
    a, b, c = start(5, 0, 3)
    b.member().join(False)
    b.die()
    plan = Join(C, A, (A, B), discard=True, tables={"item": "disc_copies", "none": "disc_copies"})
    with pytest.raises(OpsError, match="could not join .*: copy none: .*It serves alone again"):
        c.member()._join(plan, str(c.mnesia))
    assert (c.members, c.rows, c.serves) == ([C], 3, True)
    assert (a.members, a.rows) == ([A], 5)
    assert a.ask("lists:sort(mnesia:system_info(db_nodes))") == [A, B]


def test_rows_that_are_not_loaded_are_not_taken_for_none(start):
    _a, b = start(5, 3)
    b.ask("application:stop(shop), application:stop(mnesia)")
    with pytest.raises(OpsError, match=f"Mnesia of {B} does not run, so it cannot be told whether it holds rows"):
        b.member().join(False)
    b.ask("application:ensure_all_started(shop, permanent)")
    assert b.rows == 3


def test_a_node_that_was_lost_and_built_anew_joins_again(start):
    a, b = joined(start, 5, 0)
    b.die()
    b.root = b.root / "anew"
    (b.root / "data").mkdir(parents=True)
    b.running = True
    b.fresh(0)
    assert a.ask("lists:sort(mnesia:system_info(db_nodes))") == [A, B]
    plan = b.member().join(False)["plan"]
    assert plan[0] == f"{A}: forget the {B} that was lost"
    assert (a.members, b.members, b.rows) == ([A, B], [A, B], 5)


def test_why_no_other_member_is_reached(start):
    (a,) = start(0)
    a.ask(f"erlang:set_cookie('{B}', other), erlang:disconnect_node('{B}')")
    members = [A, B, "none@127.0.0.1", "c@127.0.0.9"]
    with pytest.raises(OpsError, match=f"{A} reaches no other member") as failure:
        a.member(members=members).join(False)
    assert failure.value.details["answers"] == {
        B: "refused",
        "none@127.0.0.1": "not_registered",
        "c@127.0.0.9": "no_epmd",
    }
    assert f"{B}: it runs, but it refuses the connection: its cookie" in str(failure.value)


def test_one_that_is_reached_is_enough(start):
    a, b = start(5, 0)
    assert b.member(members=[A, B, "none@127.0.0.1"]).join(False)["changed"]


def test_a_member_that_disagrees_is_no_proof(start, monkeypatch):
    a, b = start(0, 0)
    monkeypatch.setattr(member_module, "_PROOF_SECONDS", 0)
    a.member()._prove([A], {"item": {A}})
    with pytest.raises(OpsError, match=f"not proven after 0 s: {A} has {A} in its schema, of which {A} run; {B} has"):
        a.member()._prove([A, B], {})
    with pytest.raises(OpsError, match=f"{A} knows of no copy of item on {B}"):
        a.member()._prove([A], {"item": {A, B}})
    with pytest.raises(OpsError, match="none@127.0.0.1 does not answer"):
        a.member()._prove([A, "none@127.0.0.1"], {})


def test_a_node_leaves_with_its_last_copy_moved_and_is_forgotten(start):
    a, b, c = hosts = start(5, 0, 0)
    for host, members in ((b, NAMES[:2]), (c, NAMES)):
        host.member(members=list(members), copies=1).join(False)
    assert a.ask("mnesia:table_info(item, disc_copies)") == [A]
    options = {"members": list(NAMES), "leaving": [A], "copies": 1}
    predicted = a.member(**options).leave(True)
    assert predicted["plan"][0] == f"{B}: get disc_copies of table item"
    assert a.running
    assert not (a.root / "etc" / "removed.json").exists()
    assert b.member(**options, predicted_stopped=True).forget(True)["plan"] == [f"{B}, {C}: remove {A} from the schema"]
    with pytest.raises(OpsError, match=f"{A} still runs"):
        b.member(**options).forget(False)

    result = a.member(**options).leave(False)
    assert result["plan"] == predicted["plan"]
    assert result["tables"] == {"item": [B]}
    assert os.listdir(result["set_aside"]) == ["mnesia"]
    assert json.loads((a.root / "etc" / "removed.json").read_text())["survivors"] == [B, C]
    assert not a.member(**options).leave(False)["changed"]

    module = SimpleNamespace(check_mode=False, params=b.options(**options, state="absent"))
    assert cluster_member(module, b)["changed"]
    assert not cluster_member(module, b)["changed"]
    assert [host.members for host in hosts[1:]] == [[B, C], [B, C]]
    assert (b.rows, len(c.ask("mnesia:dirty_all_keys(item)"))) == (5, 5)


def test_nodes_that_died_are_forgotten_at_once_and_not_looked_for(start):
    a, b, c = joined(start, 5, 0, 0)
    a.ask(f"application:set_env(shop, cluster_nodes, ['{A}', '{B}', '{C}'])")
    b.die()
    c.die()
    a.ask("mnesia:dirty_write({item, later, 0})")
    member = a.member(members=list(NAMES), leaving=[B, C])
    assert member.forget(True)["plan"] == [f"{A}: remove {B} from the schema", f"{A}: remove {C} from the schema"]
    assert a.ask("length(mnesia:system_info(db_nodes))") == 3
    assert member.forget(False)["changed"]
    assert not member.forget(False)["changed"]
    assert a.ask("mnesia:system_info(db_nodes)") == [A]
    assert a.ask("application:get_env(shop, cluster_nodes)") == ("ok", [A])
    assert a.rows == 6


def test_a_leave_that_cannot_stop_the_node_is_taken_back(start):
    a, b = joined(start, 5, 0)
    b.stop_fails = True
    with pytest.raises(OpsError, match="systemctl stop shop-b.service failed"):
        b.member().leave(False)
    assert not (b.root / "etc" / "removed.json").exists()
    assert (b.serves, b.members, a.members) == (True, [A, B], [A, B])


def test_a_leave_that_was_killed_after_the_stop_is_finished(start, monkeypatch):
    _a, b = joined(start, 5, 0)

    def killed(_quarantine):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(quarantine_module.Quarantine, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            b.member().leave(False)
    assert b.mnesia.exists()
    predicted = b.member().leave(True)
    assert b.member().leave(False)["plan"] == predicted["plan"] != []
    assert not b.mnesia.exists()
    assert b.member().leave(True)["plan"] == []


def test_a_node_that_is_down_leaves_only_when_it_is_given_up(start):
    _a, b = joined(start, 5, 0)
    b.die()
    with pytest.raises(OpsError, match=f"{B} does not run, so it cannot hand over what it has: start it, or let"):
        b.member().leave(False)
    assert b.member(lost=True).leave(True)["changed"]
    assert b.mnesia.exists()
    assert b.member(lost=True).leave(False)["changed"]
    assert not b.mnesia.exists()


# A release that starts Mnesia and makes no tables, or some in RAM.


BARE = """
-module(bare).
-behaviour(application).
-export([start/2, stop/1]).
start(_, _) ->
    Ram = application:get_env(bare, tables, []),
    [mnesia:create_table(T, [{ram_copies, [node()]}]) || T <- Ram],
    ok = mnesia:wait_for_tables(Ram, 5000),
    {ok, spawn(fun() -> receive stop -> ok end end)}.
stop(_) -> ok.
"""


@pytest.fixture(name="start_bare")
def _start_bare(start, machines):
    """Like ``start``, but the release makes these tables in RAM, or none, and its schema is where Mnesia puts it."""
    (machines.home / "bare.erl").write_text(BARE)
    (machines.home / "bare.app").write_text(APP.replace("shop", "bare"))

    def start_bare(number, *tables):
        hosts = start(*[0] * number)
        for host in hosts:
            host.application = "bare"
            host.ask(
                "application:stop(shop), application:stop(bare), application:stop(mnesia), "
                f"{{ok, bare}} = compile:file(bare), application:load(bare), "
                f"application:set_env(bare, tables, [{', '.join(tables)}]), "
                f"application:set_env(mnesia, dir, {format_term(str(host.mnesia) + '-bare')})"
            )
        for host in hosts:
            host.restart()
        return hosts

    yield start_bare
    for name in NAMES:
        Node(machines.spec(name), machines.runner).evaluate(
            "application:stop(bare), application:stop(mnesia), application:unset_env(mnesia, schema_location)"
        )


def survives_restarts(hosts):
    """Restart Mnesia of each node in turn: every node has all members each time."""
    names = [host.name for host in hosts]
    for host in hosts:
        host.restart()
        assert [(each.name, each.members) for each in hosts] == [(each.name, names) for each in hosts]
    return True


def test_a_cluster_without_tables_survives_the_restart_of_each_node(start_bare):
    a, b = start_bare(2)
    assert not a.member().join(False)["changed"]
    predicted = b.member().join(True)
    assert a.schema == "ram_copies"
    result = b.member().join(False)
    assert result["plan"] == predicted["plan"] == [f"{A}: keep the schema on disk", f"{B}: join {A} through {A}"]
    assert survives_restarts([a, b])
    assert [host.member().join(False)["plan"] for host in (a, b)] == [[], []]


def test_three_nodes_with_tables_in_ram_survive_the_restart_of_each(start_bare):
    a, b, c = start_bare(3, "fleeting")
    for number, host in ((2, b), (3, c)):
        host.member(members=list(NAMES[:number])).join(False)
    a.ask("mnesia:dirty_write({fleeting, here, 1})")
    assert survives_restarts([a, b, c])
    assert c.ask("mnesia:dirty_read(fleeting, here)") == [("fleeting", "here", 1)]


def test_a_node_whose_schema_is_on_disk_joins_one_that_has_it_in_ram(start_bare):
    a, b = start_bare(2)
    b.ask("{atomic, ok} = mnesia:change_table_copy_type(schema, node(), disc_copies)")
    assert b.member().join(False)["plan"] == [f"{A}: keep the schema on disk", f"{B}: join {A} through {A}"]
    assert survives_restarts([a, b])


def test_a_join_that_fails_leaves_the_others_their_schema_in_ram(start_bare):
    a, b = start_bare(2)
    plan = Join(B, A, (A,), keep=(A,), tables={"none": "disc_copies"})
    with pytest.raises(OpsError, match="could not join .*: copy none: "):
        b.member()._join(plan, "unused")
    assert (a.schema, b.schema, a.members, b.members) == ("ram_copies", "ram_copies", [A], [B])
    assert (a.serves, b.serves) == (True, True)
    a.restart()
    assert a.members == [A]


def test_a_schema_that_cannot_be_put_on_disk_is_told_and_the_node_serves_on(start_bare):
    a, b = start_bare(2)
    a.ask('application:stop(bare), application:stop(mnesia), application:set_env(mnesia, dir, "/proc/none/mnesia")')
    a.restart()
    with pytest.raises(OpsError, match=f"keep_on_disk {A}: .*Cannot create Mnesia dir.*/proc/none/mnesia"):
        b.member().join(False)
    assert (a.members, b.members, b.serves) == ([A], [B], True)


def forgetful(a, b):
    """Join as it was done once: only the schema of the node that joined went to disk."""
    b.ask(f"{{ok, [_]}} = mnesia:change_config(extra_db_nodes, ['{A}'])")
    b.ask("{atomic, ok} = mnesia:change_table_copy_type(schema, node(), disc_copies)")


def test_a_member_that_would_forget_the_cluster_is_kept_from_it(start_bare, monkeypatch):
    a, b = start_bare(2)
    forgetful(a, b)
    monkeypatch.setattr(member_module, "_PROOF_SECONDS", 0)
    with pytest.raises(OpsError, match=f"{B} says that {A} has the schema in RAM, and forgets it at a restart"):
        b.member()._prove([A, B], {}, on_disk=[A, B])
    monkeypatch.undo()
    assert b.member().join(False)["plan"] == []
    predicted = a.member().join(True)
    assert (predicted["plan"], a.schema) == ([f"{A}: keep the schema on disk"], "ram_copies")
    assert a.member().join(False)["plan"] == predicted["plan"]
    assert survives_restarts([a, b])


def test_a_member_that_has_forgotten_the_cluster_joins_it_again_for_good(start_bare):
    a, b = start_bare(2)
    forgetful(a, b)
    a.restart()
    assert (a.members, b.ask("lists:sort(mnesia:system_info(db_nodes))")) == ([A], [A, B])
    plan = a.member().join(False)["plan"]
    assert plan == [f"{B}: forget the {A} that was lost", f"{A}: join {B} through {B}"]
    assert survives_restarts([a, b])


def test_rows_in_ram_cannot_be_set_aside_and_are_said_to_be_dropped(start_bare):
    a, b = start_bare(2, "fleeting")
    for host in (a, b):
        host.ask(f"mnesia:dirty_write({{fleeting, {host.name[0]}, 1}})")
    with pytest.raises(OpsError, match="those of fleeting are in RAM only and are dropped"):
        b.member(seed=A).join(False)
    predicted = b.member(seed=A, adopt="discard").join(True)
    result = b.member(seed=A, adopt="discard").join(False)
    assert result["plan"] == predicted["plan"]
    assert f"{B}: drop its own rows in fleeting, which are in RAM only" in result["plan"]
    assert "set_aside" not in result
    assert b.ask("mnesia:dirty_all_keys(fleeting)") == ["a"]
    assert survives_restarts([a, b])


@pytest.mark.parametrize("fixed", ["a", "b"])
def test_a_schema_that_the_release_keeps_in_ram_is_refused_until_it_is_not(start_bare, fixed):
    a, b = start_bare(2)
    host = {"a": a, "b": b}[fixed]
    host.ask("application:set_env(mnesia, schema_location, ram)")
    host.restart()
    with pytest.raises(OpsError, match=f"Mnesia of {host.name} may not keep its schema on disk"):
        b.member().join(False)
    assert b.serves
    host.ask("application:unset_env(mnesia, schema_location)")
    host.restart()
    assert b.member().join(False)["changed"]
    assert survives_restarts([a, b])


def test_a_release_that_shares_its_schema_in_ram_itself_is_left_alone(start_bare):
    a, b = start_bare(2)
    for host in (a, b):
        host.ask("application:set_env(mnesia, schema_location, ram)")
        host.restart()
    b.ask(f"mnesia:change_config(extra_db_nodes, ['{A}'])")
    assert [host.member().join(False)["plan"] for host in (a, b)] == [[], []]


def test_a_node_leaves_its_table_on_disk_to_one_that_had_its_schema_in_ram(start_bare):
    a, b = start_bare(2)
    forgetful(a, b)
    b.ask("mnesia:create_table(item, [{disc_copies, [node()]}])")
    b.ask("mnesia:dirty_write({item, here, 1})")
    predicted = b.member(leaving=[B]).leave(True)
    assert predicted["plan"][:2] == [f"{A}: keep the schema on disk", f"{A}: get disc_copies of table item"]
    assert b.member(leaving=[B]).leave(False)["plan"] == predicted["plan"]
    assert a.member(leaving=[B]).forget(False)["changed"]
    a.restart()
    assert a.ask("mnesia:wait_for_tables([item], 5000), mnesia:dirty_read(item, here)") == [("item", "here", 1)]
    assert a.members == [A]


def test_a_join_that_fails_says_which_rows_were_in_ram_only(start_bare):
    _a, b = start_bare(2, "fleeting")
    plan = Join(B, A, (A,), drop=("fleeting",), tables={"none": "disc_copies"})
    with pytest.raises(OpsError, match="with what it had, less its rows in fleeting, which were in RAM only"):
        b.member()._join(plan, "unused")
