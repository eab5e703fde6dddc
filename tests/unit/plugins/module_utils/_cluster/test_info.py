# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a cluster of real nodes is seen from each of them, whole, split, healed, and merged by mistake."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster import info
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.islands import merge
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._cluster.mnesia_cluster import (
    FIRST,
    HOSTS,
    NAMES,
    SECOND,
    THIRD,
)


def test_a_file_that_mnesia_removes_meanwhile_is_passed_over(tmp_path):
    (tmp_path / "item.DCD").touch()
    # What is there when the directory is read, and gone when it is looked at.
    (tmp_path / "item.DCL").symlink_to("gone")
    store = SimpleNamespace(directory=str(tmp_path), tables={"item": None})
    assert list(info._files(store)["files"]) == ["item.DCD"]


def test_a_whole_cluster(cluster):
    for name in NAMES:
        seen = cluster.info(name, assert_complete=True)
        assert seen["complete"] is True
        assert seen["partitioned"] is False
        assert [sorted(island) for island in seen["islands"]] == [NAMES]
        assert seen["problems"] == []
        assert seen["members"] == seen["running"] == NAMES
        assert set(seen["views"]) == set(NAMES) - {name}
        assert seen["tables"]["item"]["copies"] == dict.fromkeys(NAMES, "disc_copies")
        assert seen["tables"]["item"]["rows"] == 10
        assert {"LATEST.LOG", "item.DCD"} <= set(seen["evidence"]["files"])
        assert seen["evidence"]["last_change"] == max(seen["evidence"]["files"].values())
        json.dumps(seen)


def test_digests_are_taken_once_for_an_island_and_are_those_of_the_rows(cluster):
    first = cluster.info(FIRST, digest=True)["digests"]
    assert cluster.info(SECOND, digest=True)["digests"] == {}
    assert [each["rows"] for each in first["item"].values()] == [10, 10, 10]
    assert set(first["item"]) == set(NAMES)
    assert len({each["digest"] for each in first["item"].values()}) == 1
    assert first["item"][FIRST]["digest"] != first["session"][FIRST]["digest"]
    cluster.write(SECOND, 11)
    written = cluster.info(FIRST, digest=True)["digests"]
    assert written["item"][FIRST]["digest"] != first["item"][FIRST]["digest"]
    assert written["session"] == first["session"]
    assert cluster.evaluate(FIRST, "mnesia:system_info(held_locks)") == []


def test_digests_agree_while_transactions_go_on(cluster):
    for name in NAMES:
        cluster.evaluate(
            name,
            "W = fun W(N) -> mnesia:transaction(fun() -> mnesia:write({item, {node(), N rem 1000}, N}) end), W(N + 1) "
            "end, spawn(fun() -> W(1) end), ok",
        )
    for _attempt in range(5):
        taken = cluster.info(FIRST, digest=True)["digests"]["item"]
        assert len({(each["rows"], each["digest"]) for each in taken.values()}) == 1
        assert None not in {each["digest"] for each in taken.values()}


def test_rows_that_change_outside_of_transactions_are_not_called_different(cluster):
    cluster.evaluate(
        FIRST, "W = fun W(N) -> ets:insert(item, {item, 1, N}), W(N + 1) end, spawn(fun() -> W(1) end), ok"
    )
    seen = cluster.info(FIRST, digest=True)
    assert {each["digest"] for each in seen["digests"]["item"].values()} == {None}
    assert len(seen["islands"]) == 1
    assert seen["problems"] == ["the copies of item cannot be compared: its rows change outside of transactions"]


def test_a_cut_network_is_seen_from_both_sides_and_understood_by_putting_them_together(cluster):
    cluster.cut(THIRD)
    cluster.write(FIRST, 100)
    cluster.write(THIRD, 300)
    found = cluster.everywhere(digest=True)
    assert found["host1"]["islands"] == [[FIRST, SECOND]]
    assert found["host3"]["islands"] == [[THIRD]]
    assert not any(seen["complete"] for seen in found.values())
    assert found["host1"]["problems"] == [f"{THIRD} is not reached: it is down, or the network is cut"]
    merged = merge(found, HOSTS)
    assert merged["partitioned"] is True
    assert [island["hosts"] for island in merged["islands"]] == [["host1", "host2"], ["host3"]]
    assert [island["tables"]["item"]["rows"] for island in merged["islands"]] == [11, 11]
    assert len({island["tables"]["item"]["digest"] for island in merged["islands"]}) == 2
    assert len({island["tables"]["session"]["digest"] for island in merged["islands"]}) == 1
    assert sorted(merged["cut"]) == [["host1", "host3"], ["host2", "host3"], ["host3", "host1"], ["host3", "host2"]]


def test_the_split_outlives_the_cut_and_is_then_seen_from_any_node(cluster):
    cluster.cut(THIRD)
    cluster.heal(THIRD)
    # Who is connected again is told to each node, one after the other.
    cluster.wait(lambda: all(cluster.info(name)["partitioned"] for name in NAMES))
    for name in NAMES:
        seen = cluster.info(name)
        assert seen["partitioned"] is True
        assert sorted(map(sorted, seen["islands"])) == [[FIRST, SECOND], [THIRD]]
        assert seen["unreached"] == []
        assert "split into 2 islands" in seen["problems"][0]
    merged = merge(cluster.everywhere(), HOSTS)
    assert merged["cut"] == []
    assert "Mnesia stays split until one side is restarted" in "\n".join(merged["text"])


def test_a_node_restarted_while_the_cluster_is_split_hides_it_from_all_but_the_digests(cluster):
    for name in (FIRST, THIRD):
        cluster.cut(name)
    cluster.write(FIRST, 100)
    for name in (FIRST, THIRD):
        cluster.heal(name)
    cluster.kill(SECOND)
    cluster.start(SECOND)
    cluster.wait(lambda: cluster.info(SECOND)["complete"])
    assert cluster.keys(FIRST) == [100]
    assert cluster.keys(THIRD) == []
    seen = cluster.info(FIRST, digest=True)
    assert seen["partitioned"] is True
    assert not seen["complete"]
    assert any("the copies of item differ" in problem for problem in seen["problems"])


def test_a_node_whose_mnesia_is_stopped(cluster):
    cluster.evaluate(THIRD, "mnesia:stop()")
    seen = cluster.info(THIRD)
    assert seen["state"] == "stopped"
    assert seen["members"] == NAMES
    assert seen["partitioned"] is False
    assert cluster.info(FIRST)["problems"] == [f"Mnesia does not run on {THIRD}"]
    assert merge(cluster.everywhere(), HOSTS)["stopped"] == ["host3"]


def test_a_node_that_does_not_run_is_no_failure_and_no_partition(cluster):
    cluster.kill(THIRD)
    seen = cluster.info(THIRD)
    assert seen["state"] == "down"
    assert seen["error"]
    merged = merge(cluster.everywhere(), HOSTS)
    assert merged["down"] == ["host3"]
    assert merged["partitioned"] is False
    with pytest.raises(OpsError, match=f"{THIRD} is not reached"):
        cluster.info(FIRST, assert_complete=True)


def test_a_node_that_runs_and_does_not_answer_is_waited_for_and_then_told(cluster, monkeypatch):
    monkeypatch.setattr(info, "_SILENCE_SECONDS", 0.2)
    runner = cluster.runner(THIRD)
    cluster.kill(THIRD)
    runner.running = lambda: True
    monkeypatch.setattr(cluster, "runner", lambda name: runner)
    started = time.monotonic()
    assert cluster.info(THIRD)["state"] == "silent"
    assert time.monotonic() - started > 0.5


def test_a_node_whose_tables_vanish_between_two_words_is_asked_again(cluster, monkeypatch):
    view, answers = info.own_view, [OpsError("aborted: no_exists", kind="erlang")]

    def view_of_a_node_that_starts(node):
        if answers:
            raise answers.pop()
        return view(node)

    monkeypatch.setattr(info, "own_view", view_of_a_node_that_starts)
    assert cluster.info(FIRST)["complete"]


def test_a_node_that_was_never_joined(cluster):
    cluster.evaluate(THIRD, "mnesia:stop(), ok = mnesia:delete_schema([node()]), ok = mnesia:create_schema([node()])")
    cluster.evaluate(THIRD, "mnesia:start()")
    seen = cluster.info(THIRD)
    assert seen["members"] == [THIRD]
    assert f"{THIRD} shares its tables with nobody: no other node is in its schema" in seen["problems"]
    merged = merge(cluster.everywhere(), HOSTS)
    assert merged["not_joined"] == ["host3"]
    assert merged["partitioned"] is False


def test_tables_that_wait_for_their_masters_are_not_complete(cluster):
    cluster.evaluate(THIRD, f"mnesia:set_master_nodes(['{FIRST}'])")
    for name in NAMES:
        cluster.kill(name)
    cluster.start(THIRD)
    seen = cluster.info(THIRD, members=[THIRD])
    assert seen["masters"] == [FIRST]
    assert seen["tables"]["item"] == {
        "copies": dict.fromkeys(NAMES, "disc_copies"),
        "rows": None,
        "loaded": False,
        "masters": [FIRST],
        "waits_for": [FIRST],
    }
    assert seen["complete"] is False
    waits = f"{THIRD} waits for {FIRST} with its tables item, session: it does not know whose rows are the newest."
    assert any(problem.startswith(waits) for problem in seen["problems"])


def test_a_node_that_boots_alone_after_a_power_cut_waits_and_tells_what_it_has(cluster):
    """It was cut off first: the rows with which the others went on are not on its disk."""
    cluster.write(FIRST, 20)
    cluster.evaluate(FIRST, "mnesia:sync_transaction(fun() -> mnesia:delete({item, 1}) end)")
    cluster.evaluate(FIRST, "mnesia:sync_log()")
    cluster.kill(FIRST)
    cluster.write(SECOND, 100)
    cluster.kill(THIRD)
    # It has to know, and not only in memory.
    cluster.wait(lambda: cluster.info(SECOND)["outlived"] == [FIRST, THIRD])
    cluster.evaluate(SECOND, "mnesia:sync_log()")
    cluster.kill(SECOND)
    cluster.start(FIRST)
    seen = cluster.info(FIRST)
    assert seen["tables"]["item"]["waits_for"] == [SECOND, THIRD]
    assert seen["evidence"]["on_disk"] == {"item": 10, "session": 10}
    assert (seen["outlived"], seen["complete"]) == ([], False)
    # The second one saw both of the others go, so it waits for nobody, and brings the rows.
    cluster.start(SECOND)
    cluster.wait(lambda: cluster.info(FIRST)["tables"]["item"]["loaded"])
    assert cluster.info(FIRST)["tables"]["item"]["waits_for"] == []
    assert cluster.keys(FIRST) == [20, 100]


def test_when_all_run_and_all_wait_the_oldest_rows_may_win(cluster):
    """Why nobody is told to start the others beside a node that waits. These two went at once."""
    cluster.kill(FIRST)
    cluster.write(SECOND, 100)
    others = (SECOND, THIRD)
    cluster.wait(lambda: all(cluster.info(name)["outlived"] == [FIRST] for name in others))
    for name in others:
        cluster.evaluate(name, "mnesia:sync_log()")
    cluster.kill(*others)
    for name in others:
        cluster.start(name)
    for name in others:
        seen = cluster.info(name)
        assert (seen["tables"]["item"]["waits_for"], seen["outlived"]) == ([FIRST], [FIRST])
        assert seen["evidence"]["on_disk"]["item"] == 11
    cluster.start(FIRST)
    cluster.wait(lambda: cluster.info(FIRST)["complete"])
    assert [cluster.keys(name) for name in NAMES] == [[], [], []]


def test_rows_that_one_island_lacks_are_counted_when_it_reaches_the_other(cluster):
    cluster.cut(THIRD)
    cluster.write(FIRST, 100)
    cluster.write(FIRST, 1)
    assert cluster.info(FIRST, digest=True)["lacks"] == {}
    cluster.heal(THIRD)
    cluster.wait(lambda: all(cluster.info(name)["partitioned"] for name in NAMES))
    assert cluster.info(FIRST, digest=True)["lacks"] == {THIRD: {"item": 1, "session": 0}}
    assert cluster.info(SECOND, digest=True)["lacks"] == {}
    assert cluster.info(THIRD, digest=True)["lacks"] == {FIRST: {"item": 2, "session": 0}}
