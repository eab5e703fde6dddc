# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import multiprocessing
import os
import time

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import hot
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.erlang_text import binary
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.readiness import not_ready, rows_of
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.tables import Offline, export_hot, look
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import private_erlang

NAME = "live@127.0.0.1"
ODD_NAME = "Ünï \"quoted\" 'name'"
ROWS = 20000

# audit keeps its owner alive: DETS closes a table when the process that opened it ends.
SETUP = r"""
File = fun unicode:characters_to_list/1,
Node = [node()],
ok = mnesia:create_schema(Node),
ok = mnesia:start(),
{atomic, ok} = mnesia:create_table(orders, [{disc_copies, Node}]),
{atomic, ok} = mnesia:create_table(lines, [{disc_copies, Node}]),
{atomic, ok} = mnesia:create_table('my table', [{disc_only_copies, Node}, {type, bag}, {record_name, row}]),
{atomic, ok} = mnesia:create_table(binary_to_atom(ODD_NAME, utf8), [{ram_copies, Node},
    {type, ordered_set}, {record_name, row}]),
{atomic, ok} = mnesia:create_table(empty, [{disc_copies, Node}]),
[mnesia:dirty_write(Table, {Table, Key, 0}) || Key <- lists:seq(1, ROWS), Table <- [orders, lines]],
[mnesia:dirty_write('my table', {row, Key rem 10, Key}) || Key <- lists:seq(1, 50)],
[mnesia:dirty_write(binary_to_atom(ODD_NAME, utf8), {row, Key, x}) || Key <- lists:seq(1, 7)],
Parent = self(),
spawn(fun() ->
    {ok, _} = dets:open_file(audit, [{file, filename:join(File(DIRECTORY), "audit.dets")}, {auto_save, 1000}]),
    OddFile = filename:join(File(DIRECTORY), File(ODD_FILE)),
    {ok, _} = dets:open_file({"odd", name}, [{file, OddFile}, {type, bag}, {keypos, 2}]),
    ok = dets:insert(audit, [{Key, binary:copy(<<"x">>, 100)} || Key <- lists:seq(1, ROWS)]),
    ok = dets:insert({"odd", name}, [{row, Key rem 3, Key} || Key <- lists:seq(1, 9)]),
    register(owner, self()),
    Parent ! opened,
    receive stop -> ok end
end),
receive opened -> ok end
"""

# Each transaction leaves orders and lines with the same keys, and the same value for each key.
WRITER = r"""
Write = fun Write(N) ->
    Key = rand:uniform(ROWS),
    {atomic, _} = mnesia:transaction(fun() ->
        case N rem 3 of
            0 -> mnesia:delete({orders, Key}), mnesia:delete({lines, Key});
            _ -> mnesia:write({orders, Key, N}), mnesia:write({lines, Key, N})
        end
    end),
    dets:insert(audit, [{ROWS + N, new}, {Key, {changed, N}}]),
    Write(N + 1)
end,
[spawn(fun() -> Write(1) end) || _ <- [1, 2]],
ok
"""

CLEAN = r"""
{whereis(erlmcp_ops_backup), mnesia:system_info(checkpoints),
 [Name || Name <- dets:all(), is_tuple(Name), element(1, Name) =:= erlmcp_ops_backup], dets:info(audit, safe_fixed)}
"""


def wait_until_clean(node):
    for _attempt in range(100):
        if (found := node.evaluate(CLEAN)) == (None, [], [], False):
            return
        time.sleep(0.1)
    raise AssertionError(found)


@pytest.fixture(scope="module")
def erlang(tmp_path_factory):
    with private_erlang(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def live(erlang, tmp_path):
    with erlang.node(NAME, tmp_path / "mnesia") as (node, _process):
        program = SETUP.replace("ODD_NAME", binary(ODD_NAME)).replace("ODD_FILE", binary("Ünï.dets"))
        node.evaluate(program.replace("ROWS", str(ROWS)).replace("DIRECTORY", binary(tmp_path)), timeout=60)
        yield node


@pytest.fixture
def spool(tmp_path):
    path = tmp_path / "spool Ünï"
    path.mkdir()
    return path


def test_look_tells_every_table(live, tmp_path):
    seen = look(live)
    assert seen["mnesia"]["directory"] == str(tmp_path / "mnesia")
    assert seen["mnesia"]["db_nodes"] == [NAME]
    assert {(t["name"], t["type"], t["storage"], t["rows"]) for t in seen["mnesia"]["tables"]} == {
        ("orders", "set", "disc_copies", ROWS),
        ("lines", "set", "disc_copies", ROWS),
        ("my table", "bag", "disc_only_copies", 50),
        (ODD_NAME, "ordered_set", "ram_copies", 7),
        ("empty", "set", "disc_copies", 0),
    }
    assert all(t["nodes"] == [NAME] for t in seen["mnesia"]["tables"])
    assert {(t["name"], t["file"], t["type"], t["rows"]) for t in seen["dets"]} == {
        ("audit", str(tmp_path / "audit.dets"), "set", ROWS),
        ('{"odd",name}', str(tmp_path / "Ünï.dets"), "bag", 9),
    }
    assert rows_of(seen)["my table"] == 50
    assert rows_of(seen)["audit"] == ROWS


def test_look_at_a_node_without_mnesia_on_disc(erlang, tmp_path):
    with erlang.node("bare@127.0.0.1", tmp_path / "mnesia") as (node, _process):
        assert look(node) == {"state": "no", "mnesia": None, "dets": []}
        node.evaluate("mnesia:start()")
        assert look(node) == {"state": "yes", "mnesia": None, "dets": []}


# What Mnesia says of itself while it starts takes too short a time to be met.
STARTING = """
{ok, Module, Code} = compile:forms([{attribute, 1, module, mnesia}, {attribute, 1, export, [{system_info, 1}]},
    {function, 1, system_info, 1, [{clause, 1, [{var, 1, '_'}], [], [{atom, 1, starting}]}]}]),
code:unstick_dir(filename:dirname(code:which(mnesia))),
code:load_binary(Module, "mnesia", Code)
"""


def test_look_at_a_node_whose_mnesia_starts(erlang, tmp_path):
    with erlang.node("starting@127.0.0.1", tmp_path / "mnesia") as (node, _process):
        node.evaluate(STARTING)
        assert look(node) == {"state": "starting", "mnesia": None, "dets": []}


def test_a_table_that_is_elsewhere_or_not_loaded_has_no_rows_here(erlang, tmp_path):
    first, second = "first@127.0.0.1", "second@127.0.0.1"
    with erlang.node(second, tmp_path / second) as (node, process):
        node.evaluate(f"ok = mnesia:create_schema([node()]), ok = mnesia:start(), net_kernel:connect_node('{first}')")
        with erlang.node(first, tmp_path / first) as (other, _process):
            other.evaluate(f"ok = mnesia:start(), {{ok, [_]}} = mnesia:change_config(extra_db_nodes, ['{second}'])")
            other.evaluate("{atomic, ok} = mnesia:change_table_copy_type(schema, node(), disc_copies)")
            for name, nodes in (("both", [first, second]), ("elsewhere", [second])):
                copies = ",".join(f"'{each}'" for each in nodes)
                node.evaluate(f"{{atomic, ok}} = mnesia:create_table({name}, [{{disc_copies, [{copies}]}}])")
                node.evaluate(f"[mnesia:dirty_write({{{name}, Key, 0}}) || Key <- [1, 2, 3]]")
            assert rows_of(look(other)) == {"both": 3, "elsewhere": None}
        # Started alone, it waits for the one that stopped last.
        process.kill()
        process.wait()
        with erlang.node(first, tmp_path / first) as (other, _process):
            other.evaluate("mnesia:start()")
            seen = look(other)
            assert rows_of(seen) == {"both": None, "elsewhere": None}
            assert not_ready(seen, first) == ["table both is not loaded"]


def test_an_export_has_every_row_and_leaves_nothing_on_the_node(live, erlang, spool, tmp_path):
    seen = look(live)
    export_hot(live, str(spool), seen, timeout=60)
    wait_until_clean(live)
    files = [str(spool / "dets" / str(n)) for n in range(len(seen["dets"]))]
    counted = Offline(erlang.spec(NAME), erlang.runner, str(tmp_path)).count(str(spool / "mnesia.backup"), files)
    assert {t["name"]: t["rows"] for t in counted if t["kind"] == "mnesia"} == {
        t["name"]: t["rows"] for t in seen["mnesia"]["tables"]
    }
    assert [(t["type"], t["rows"]) for t in counted if t["kind"] == "dets"] == [
        (t["type"], t["rows"]) for t in seen["dets"]
    ]


# Nobody gets an answer from the table any more, until its holder ends.
HANGING = """
register(holder, spawn(fun() -> erlang:suspend_process(dets:info(audit, pid)), receive stop -> ok end end)), ok
"""


def test_a_node_that_writes_nothing_is_not_waited_for_for_hours(live, spool, monkeypatch):
    monkeypatch.setattr(hot, "_STALLED_SECONDS", 1)
    seen = look(live)
    live.evaluate(HANGING)
    with pytest.raises(OpsError, match="has written nothing of its tables for 1 s"):
        export_hot(live, str(spool), seen, timeout=20)
    live.evaluate("holder ! stop, ok")
    wait_until_clean(live)


def test_tables_agree_while_transactions_go_on(live, erlang, spool, tmp_path):
    live.evaluate(WRITER.replace("ROWS", str(ROWS)))
    time.sleep(0.3)
    seen = look(live)
    export_hot(live, str(spool), seen, timeout=60)
    wait_until_clean(live)
    offline = Offline(erlang.spec(NAME), erlang.runner, str(tmp_path))
    counted = offline.count(str(spool / "mnesia.backup"))
    built = offline.build(
        str(spool / "mnesia.backup"), str(tmp_path / "built"), "copy@127.0.0.1", {NAME: "copy@127.0.0.1"}
    )
    assert {t["name"]: t["rows"] for t in counted} == {t["name"]: t["rows"] for t in built}
    audit = [t["name"] for t in seen["dets"]].index("audit")
    with erlang.node("copy@127.0.0.1", tmp_path / "built") as (node, _process):
        rows = "[lists:sort([{K, V} || {_, K, V} <- ets:tab2list(T)]) || T <- [orders, lines]]"
        node.evaluate("mnesia:start(), mnesia:wait_for_tables([orders, lines], 10000)", timeout=20)
        assert node.evaluate(f"[Orders, Lines] = {rows}, {{Orders =:= Lines, length(Orders) > 1000}}") == (True, True)
        changed = node.evaluate("length([x || {_, _, V} <- ets:tab2list(orders), V > 0])")
        assert changed > 0
        copy = binary(spool / "dets" / str(audit))
        opened = f"dets:open_file(a, [{{file, unicode:characters_to_list({copy})}}, {{repair, false}}])"
        lost = f"[K || K <- lists:seq(1, {ROWS}), not dets:member(a, K)]"
        assert node.evaluate(f"{{ok, a}} = {opened}, {lost}", timeout=30) == []


def test_a_failed_export_leaves_nothing(live, spool):
    seen = look(live)
    seen["dets"].append({"name": "gone", "file": str(spool / "gone.dets"), "type": "set", "rows": 1})
    with pytest.raises(OpsError, match=r"could not copy its tables: .*closed_meanwhile"):
        export_hot(live, str(spool), seen, timeout=60)
    wait_until_clean(live)
    assert [path for path in spool.rglob("*") if path.is_file()] == []


def test_an_export_that_cannot_write_says_so(live, tmp_path):
    with pytest.raises(OpsError, match="enoent"):
        export_hot(live, str(tmp_path / "nowhere"), look(live), timeout=60)
    wait_until_clean(live)


HOLD = r"""
spawn(fun() ->
    erlang:suspend_process(dets_server:get_pid(TABLE)),
    timer:sleep(2500)
end),
ok
"""


@pytest.mark.parametrize("table", ["audit", "'my table'"])
def test_an_export_that_takes_too_long_is_ended(live, spool, table):
    seen = look(live)
    live.evaluate(HOLD.replace("TABLE", table))
    with pytest.raises(OpsError, match="did not copy its tables in 1 s: allow more time"):
        export_hot(live, str(spool), seen, timeout=1)
    wait_until_clean(live)
    assert [path for path in spool.rglob("*") if path.is_file()] == []


@pytest.fixture
def orphan(live, spool, monkeypatch):
    """An export whose controller was killed."""
    monkeypatch.setattr(hot, "_ORPHANED_SECONDS", 2)
    seen = look(live)
    monkeypatch.setattr(hot, "_wait", lambda *_arguments: time.sleep(60))
    child = multiprocessing.get_context("fork").Process(target=export_hot, args=(live, str(spool), seen, 60))
    child.start()
    while live.evaluate("whereis(erlmcp_ops_backup)") is None:
        time.sleep(0.05)
    child.kill()
    child.join()
    monkeypatch.undo()
    return seen


def test_an_export_whose_controller_was_killed_ends_by_itself(live, spool, orphan):
    wait_until_clean(live)
    assert [path for path in spool.rglob("*") if path.is_file()] == []


def test_the_next_export_takes_over_from_a_killed_one(live, spool, tmp_path, orphan):
    second = tmp_path / "second"
    second.mkdir()
    export_hot(live, str(second), orphan, timeout=60)
    wait_until_clean(live)
    assert sorted(os.listdir(second)) == ["dets", "mnesia.backup"]
    assert [path for path in spool.rglob("*") if path.is_file()] == []


def test_a_checkpoint_left_by_a_killed_process_does_not_disturb(live, spool):
    live.evaluate("{ok, _, _} = mnesia:activate_checkpoint([{name, erlmcp_ops_backup}, {max, [orders]}])")
    export_hot(live, str(spool), look(live), timeout=60)
    wait_until_clean(live)
