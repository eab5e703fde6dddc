# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Master nodes of real nodes, and what they are for: a cluster that was split becomes one."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.offline import Offline
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.islands import merge
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.masters import plan
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.repair import plan_repair
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._cluster.mnesia_cluster import (
    FIRST,
    HOSTS,
    NAMES,
    SECOND,
    THIRD,
)


def split(cluster, name):
    """Part a node from the others, and let both sides take in rows."""
    cluster.cut(name)
    for number, each in enumerate(NAMES, start=1):
        cluster.write(each, number * 100)
    cluster.write(name, 999, "session")
    cluster.heal(name)


def repair(cluster, survivor):
    """Do what the playbook does, on these nodes."""
    decided = plan_repair(merge(cluster.everywhere(digest=True), HOSTS), HOSTS, survivor)
    assert decided["refusals"] == []
    losers = [HOSTS[host] for host in decided["losers"]]
    for name in losers:
        cluster.masters(name, decided["masters"])
    for name in losers:
        if name in cluster.stacks:
            cluster.kill(name)
    for name in losers:
        cluster.start(name)
    cluster.info(FIRST, wait_seconds=10, digest=True, assert_complete=True)
    for name in NAMES:
        cluster.masters(name, [])
    return losers


def cut_off_and_boot_alone(cluster):
    """The first node goes first, and is the only one to come back: the others have rows that it has never seen."""
    cluster.kill(FIRST)
    cluster.write(SECOND, 100)
    cluster.kill(THIRD)
    cluster.write(SECOND, 200)
    cluster.wait(lambda: cluster.info(SECOND)["outlived"] == [FIRST, THIRD])
    cluster.evaluate(SECOND, "mnesia:sync_log()")
    cluster.kill(SECOND)
    cluster.start(FIRST)


def is_one(cluster):
    merged = merge(cluster.everywhere(digest=True), HOSTS)
    assert merged["problems"] == []
    assert [sorted(island["hosts"]) for island in merged["islands"]] == [sorted(HOSTS)]
    return True


def test_only_what_is_wrong_is_set():
    current = {"schema": ([], ["a", "b"]), "item": (["a"], ["a", "b"]), "local": ([], ["b"])}
    assert plan(current, ["a"]) == {"schema": ["a"]}
    assert plan(current, []) == {"item": []}
    assert plan({}, ["a"]) == {}


def test_setting_and_clearing_on_a_node_that_runs(cluster):
    assert cluster.masters(THIRD, [])["changed"] is False
    predicted = cluster.masters(THIRD, [SECOND, FIRST], check_mode=True)
    assert predicted["changed"] is True
    assert cluster.info(THIRD)["masters"] == []
    done = cluster.masters(THIRD, [SECOND, FIRST])
    assert done == predicted
    assert f"from {FIRST}, {SECOND} only" in done["diff"]["after"]
    assert cluster.info(THIRD)["masters"] == [FIRST, SECOND]
    assert cluster.info(SECOND)["masters"] == []
    assert cluster.masters(THIRD, [FIRST, SECOND])["changed"] is False
    cluster.kill(THIRD)
    cluster.start(THIRD)
    assert cluster.info(THIRD)["masters"] == [FIRST, SECOND]
    assert cluster.masters(THIRD, [])["changed"] is True
    cluster.kill(THIRD)
    cluster.start(THIRD)
    assert cluster.info(THIRD)["masters"] == []


def test_setting_on_a_node_that_does_not_run(cluster):
    cluster.kill(THIRD)
    assert cluster.masters(THIRD, [FIRST], check_mode=True)["changed"] is True
    assert cluster.masters(THIRD, [FIRST]) == {**cluster.masters(THIRD, [FIRST], check_mode=True), "running": False}
    cluster.start(THIRD)
    assert cluster.info(THIRD)["masters"] == [FIRST]
    assert is_one_but_for_masters(cluster)


def is_one_but_for_masters(cluster):
    return cluster.info(FIRST, wait_seconds=10)["complete"]


def test_a_node_without_a_schema_is_refused(cluster, tmp_path):
    cluster.kill(THIRD)
    for path in cluster.directory(THIRD).iterdir():
        path.unlink()
    with pytest.raises(OpsError, match="no Mnesia schema is below .*set erlmcp_data_dir"):
        cluster.masters(THIRD, [FIRST])


def test_the_larger_side_survives(cluster):
    split(cluster, THIRD)
    assert cluster.keys(SECOND) == [100, 200]
    assert cluster.keys(THIRD) == [300]
    assert repair(cluster, "host2") == [THIRD]
    assert [cluster.keys(name) for name in NAMES] == [[100, 200]] * 3
    assert [cluster.keys(name, "session") for name in NAMES] == [[]] * 3
    assert is_one(cluster)
    cluster.write(THIRD, 1000)
    assert [cluster.keys(name) for name in NAMES] == [[100, 200, 1000]] * 3


def test_the_smaller_side_survives_against_two(cluster):
    split(cluster, FIRST)
    assert repair(cluster, "host1") == [SECOND, THIRD]
    assert [cluster.keys(name) for name in NAMES] == [[100]] * 3
    assert [cluster.keys(name, "session") for name in NAMES] == [[999]] * 3
    assert is_one(cluster)


def test_a_cluster_that_a_restart_has_merged_by_mistake_is_repaired_too(cluster):
    split(cluster, FIRST)
    cluster.kill(SECOND)
    cluster.start(SECOND)
    cluster.wait(lambda: cluster.info(SECOND)["complete"])
    assert cluster.keys(FIRST) != cluster.keys(THIRD)
    assert set(repair(cluster, "host3")) >= {FIRST}
    assert [cluster.keys(name) for name in NAMES] == [[200, 300]] * 3
    assert is_one(cluster)


def test_a_repair_that_was_killed_with_nodes_stopped_is_finished(cluster):
    split(cluster, FIRST)
    for name in (SECOND, THIRD):
        cluster.masters(name, [FIRST])
    cluster.kill(SECOND)
    assert repair(cluster, "host1") == [SECOND, THIRD]
    assert [cluster.keys(name) for name in NAMES] == [[100]] * 3
    assert is_one(cluster)


def test_masters_that_a_killed_repair_has_left_are_cleared(cluster):
    cluster.masters(SECOND, [FIRST])
    decided = plan_repair(merge(cluster.everywhere(), HOSTS), HOSTS)
    assert decided["losers"] == []
    assert decided["leftover"] == ["host2"]
    assert repair(cluster, "") == []
    assert is_one(cluster)


def test_the_last_rows_of_a_loser_are_in_its_directory_after_the_stop(cluster, tmp_path):
    """The cold backup of the stopped node has them, although its masters are set."""
    split(cluster, THIRD)
    cluster.masters(THIRD, [FIRST, SECOND])
    cluster.write(THIRD, 301)
    cluster.evaluate(THIRD, "mnesia:stop()")
    cluster.kill(THIRD)
    cluster.masters(THIRD, [FIRST, SECOND])
    copy, backup = tmp_path / "copy", tmp_path / "backup"
    cluster.directory(THIRD).rename(copy)
    offline = Offline(cluster.spec(THIRD), cluster.runner(THIRD), str(tmp_path))
    offline.export(str(copy), str(backup), THIRD)
    assert {table["name"]: table["rows"] for table in offline.count(str(backup))} == {"item": 12, "session": 11}


def test_a_node_that_is_its_own_master_loads_what_it_has_and_the_others_take_that_over(cluster):
    """What a forced load does. It holds up when the node is restarted before the others are back."""
    cut_off_and_boot_alone(cluster)
    found = {"host1": cluster.info(FIRST, digest=True), "host2": {}, "host3": {}}
    assert "waits for" in plan_repair(merge(found, HOSTS), HOSTS)["refusals"][0]
    decided = plan_repair(merge(found, HOSTS, ["host2", "host3"]), HOSTS, "host1", True)
    assert (decided["forced"], decided["masters"]) == (["host1"], [FIRST])
    cluster.masters(FIRST, decided["masters"])
    assert cluster.info(FIRST)["tables"]["item"]["waits_for"] == [SECOND, THIRD]
    cluster.kill(FIRST)
    cluster.start(FIRST)
    cluster.info(FIRST, members=[FIRST], wait_seconds=10, assert_complete=True)
    cluster.write(FIRST, 300)
    cluster.evaluate(FIRST, "mnesia:stop()")
    cluster.kill(FIRST)
    cluster.start(FIRST)
    cluster.wait(lambda: cluster.info(FIRST, members=[FIRST])["complete"])
    assert cluster.keys(FIRST) == [300]
    for name in (SECOND, THIRD):
        cluster.start(name)
    cluster.info(FIRST, wait_seconds=10, digest=True, assert_complete=True)
    assert [cluster.keys(name) for name in NAMES] == [[300]] * 3
    decided = plan_repair(merge(cluster.everywhere(digest=True), HOSTS), HOSTS)
    assert (decided["leftover"], decided["losers"]) == (["host1"], [])
    cluster.masters(FIRST, [])
    assert is_one(cluster)


def test_a_table_that_is_loaded_by_force_is_not_the_next_time(cluster):
    """Why a forced load is not done with force_load_table: rows written after it were lost."""
    cut_off_and_boot_alone(cluster)
    assert cluster.evaluate(FIRST, "[mnesia:force_load_table(T) || T <- [item, session]]") == ["yes", "yes"]
    cluster.write(FIRST, 300)
    cluster.evaluate(FIRST, "mnesia:stop()")
    cluster.kill(FIRST)
    cluster.start(FIRST)
    assert cluster.info(FIRST)["tables"]["item"]["waits_for"] == [SECOND, THIRD]
    cluster.start(SECOND)
    cluster.wait(lambda: cluster.info(FIRST)["tables"]["item"]["loaded"])
    assert cluster.keys(FIRST) == [100, 200]
