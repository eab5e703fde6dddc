# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.cluster_plan import plan_cluster
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def archive(host, time="20261124T020000Z", db_nodes=None, **more):
    node = f"erlmcp@{host}"
    return {
        "name": f"erlmcp-{host}-{time}.tar.zst",
        "host": host,
        "time": time,
        "node": node,
        "db_nodes": [node] if db_nodes is None else db_nodes,
        "release": "1.0.0",
        "tables": [{"name": "t", "rows": 3}],
        "problem": None,
        "size": 1000,
        **more,
    }


def test_each_host_gets_its_newest_archive():
    found = {"a": [archive("a"), archive("a", "20261125T020000Z")], "b": [archive("b")]}
    plan = plan_cluster(["a", "b"], {"a": "erlmcp@a", "b": "erlmcp@b"}, found)
    assert plan["a"]["archive"] == "erlmcp-a-20261125T020000Z.tar.zst"
    assert plan["b"]["archive"] == "erlmcp-b-20261124T020000Z.tar.zst"
    assert plan["a"]["node_map"] == {}
    assert plan["a"]["tables_archive"] is None
    assert plan["a"]["text"].startswith("a (erlmcp@a) gets erlmcp-a-20261125T020000Z.tar.zst of erlmcp@a")


def test_a_time_chooses_what_was_newest_then():
    found = {"a": [archive("a", "20261123T020000Z"), archive("a"), archive("a", "20261125T020000Z")]}
    plan = plan_cluster(["a"], {"a": "erlmcp@a"}, found, before="20261124T120000Z")
    assert plan["a"]["archive"] == "erlmcp-a-20261124T020000Z.tar.zst"


def test_an_archive_from_the_future_leaves_it_to_the_operator_which_is_the_latest():
    found = {"a": [archive("a"), archive("a", "20990101T000000Z")]}
    with pytest.raises(OpsError, match="a: erlmcp-a-20990101T000000Z.tar.zst is from the future.*restore_before"):
        plan_cluster(["a"], {"a": "erlmcp@a"}, found, now="20261125T020000Z")
    plan = plan_cluster(["a"], {"a": "erlmcp@a"}, found, before="20261125T000000Z", now="20261125T020000Z")
    assert plan["a"]["archive"] == "erlmcp-a-20261124T020000Z.tar.zst"


def test_the_times_that_a_refusal_names_suit_every_host():
    found = {"a": [archive("a", "20261123T020000Z"), archive("a")], "b": [archive("b", "20261123T020007Z")]}
    with pytest.raises(OpsError) as refused:
        plan_cluster(["a", "b"], PAIR, found, before="20200101T000000Z")
    times = re.findall(r"that there is \((.*?)\)", str(refused.value))
    assert times == ["20261124T020000Z", "20261123T020007Z"]
    for time in times:
        assert plan_cluster(["a", "b"], PAIR, found, before=time)


def test_other_machines_get_a_map_of_all_names():
    everything = [archive("a"), archive("b")]
    plan = plan_cluster(
        ["x", "y"], {"x": "erlmcp@x", "y": "erlmcp@y"}, {"x": everything, "y": everything}, {"x": "a", "y": "b"}
    )
    assert plan["x"]["node_map"] == {"erlmcp@a": "erlmcp@x", "erlmcp@b": "erlmcp@y"}
    assert plan["y"]["archive"] == "erlmcp-b-20261124T020000Z.tar.zst"


def test_nodes_that_share_a_schema_get_the_tables_of_one_moment():
    shared = ["erlmcp@a", "erlmcp@b"]
    everything = [archive("a", db_nodes=shared), archive("b", "20261124T020005Z", db_nodes=shared), archive("c")]
    plan = plan_cluster(list("abc"), {h: f"erlmcp@{h}" for h in "abc"}, dict.fromkeys("abc", everything))
    assert plan["a"]["tables_archive"] == "erlmcp-b-20261124T020005Z.tar.zst"
    assert plan["b"]["tables_archive"] is None
    assert plan["c"]["tables_archive"] is None
    assert plan["a"]["files"] == [
        "erlmcp-a-20261124T020000Z.tar.zst",
        "erlmcp-a-20261124T020000Z.tar.zst.json",
        "erlmcp-b-20261124T020005Z.tar.zst",
        "erlmcp-b-20261124T020005Z.tar.zst.json",
    ]


SHARED = ["erlmcp@a", "erlmcp@b"]
APART = {"a": [archive("a", db_nodes=SHARED)], "b": [archive("b", "20261124T020005Z", db_nodes=SHARED, size=5 << 20)]}
PAIR = {"a": "erlmcp@a", "b": "erlmcp@b"}


def test_tables_that_lie_on_another_host_are_copied_from_there():
    plan = plan_cluster(["a", "b"], PAIR, APART)
    newest = "erlmcp-b-20261124T020005Z.tar.zst"
    assert plan["a"]["tables_archive"] == newest
    assert plan["a"]["copies"] == [{"name": newest, "size": 5 << 20, "host": "b"}]
    assert plan["a"]["text"].endswith(f"its Mnesia tables from {newest}, which is copied from b (5 MiB)")
    assert plan["b"]["copies"] == []
    # A directory on the control node has all of them.
    everything = [*APART["a"], *APART["b"]]
    assert plan_cluster(["a", "b"], PAIR, dict.fromkeys("ab", everything))["a"]["copies"] == []


def test_a_host_without_room_for_a_copy_is_refused():
    plan_cluster(["a", "b"], PAIR, APART, free={"a": 69 << 20, "b": 0})
    with pytest.raises(OpsError, match="a has 68 MiB free .*, which has 5 MiB, .* from b: make room"):
        plan_cluster(["a", "b"], PAIR, APART, free={"a": 68 << 20, "b": 0})


def test_two_hosts_do_not_become_one_node():
    found = {"a": [archive("a")], "b": [archive("a"), archive("b")]}
    with pytest.raises(OpsError, match="a and b would get an archive of erlmcp@a each.*erlmcp_backup_restore_map"):
        plan_cluster(["a", "b"], PAIR, found, sources={"b": "a"})
    assert plan_cluster(["a", "b"], PAIR, found)["b"]["archive"] == archive("b")["name"]


def test_every_host_without_an_archive_is_named():
    found = {"a": [archive("z")], "b": [archive("b", problem="it is empty")]}
    with pytest.raises(OpsError) as refused:
        plan_cluster(["a", "b"], {"a": "erlmcp@a", "b": "erlmcp@b"}, found)
    assert "a: no good archive of a" in str(refused.value)
    assert "archives of z" in str(refused.value)
    assert "b: no good archive of b" in str(refused.value)


def test_one_archive_is_not_for_several_hosts():
    with pytest.raises(OpsError, match="limit the run to one host"):
        plan_cluster(["a", "b"], {}, {}, archive="erlmcp-a-20261124T020000Z.tar.zst")


def test_what_is_named_instead_of_an_archive_that_is_not_there_is_accepted():
    nodes, found = {"a": "erlmcp@a"}, {"a": [archive("a"), archive("z")]}
    time = archive("a")["time"]
    with pytest.raises(OpsError, match=f"to the time of one that there is .{time}., or name another source in"):
        plan_cluster(["a"], nodes, found, before="20200101T000000Z")
    for options in ({"before": time}, {"sources": {"a": "z"}}):
        assert plan_cluster(["a"], nodes, found, **options)["a"]["archive"]
    with pytest.raises(OpsError) as refused:
        plan_cluster(["a"], nodes, {"a": []})
    assert str(refused.value) == (
        "a: no good archive of a: name a directory that holds one in erlmcp_backup_restore_from"
    )
