# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.islands import find_islands, merge
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.plan import plan_forget
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.repair import plan_repair
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.view import RUNNING, Store, View
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

HOSTS = {"h1": "n1", "h2": "n2", "h3": "n3"}


def info(name, running=(), members=("n1", "n2", "n3"), state="running", **more):
    """What ``cluster_info`` says on a host, as far as it matters here."""
    return {
        "name": name,
        "state": state,
        "error": None,
        "members": list(members),
        "running": list(running),
        "outlived": [],
        "in_ram": [],
        "tables": {"item": {"copies": {}, "rows": 5, "loaded": True, "masters": [], "waits_for": []}},
        "masters": [],
        "views": {},
        "unreached": [],
        "digests": {},
        "lacks": {},
        "evidence": {
            "files": {},
            "last_change": f"2026-11-24T10:00:0{name[1]}Z",
            "transaction_commits": 7,
            "started": "x",
            "on_disk": {},
        },
        **more,
    }


def down(name):
    return info(name, members=(), state="down", error="no answer", tables={})


WHOLE = {host: info(name, HOSTS.values()) for host, name in HOSTS.items()}
SPLIT = {"h1": info("n1", ["n1", "n2"]), "h2": info("n2", ["n1", "n2"]), "h3": info("n3", ["n3"])}


def plan(found, survivor="", dead=(), force_load=False):
    return plan_repair(merge(found, HOSTS, dead), HOSTS, survivor, force_load)


def test_a_whole_cluster_needs_nothing():
    merged = merge(WHOLE, HOSTS)
    assert merged["partitioned"] is False
    assert merged["problems"] == []
    assert merged["text"][:3] == ["The nodes that run are one island.", "Island 1: h1, h2, h3", "  item: 5 rows"]
    for survivor in ("", "h2"):
        decided = plan(WHOLE, survivor)
        assert (decided["losers"], decided["leftover"], decided["refusals"]) == ([], [], [])
        assert decided["text"] == ["Nothing is to be repaired."]


def test_templates_can_name_every_key():
    """``plan.clear`` would be a method of the dictionary."""
    merged = merge(SPLIT, HOSTS)
    for result in (merged, merged["islands"][0], plan(SPLIT, "h1")):
        assert not set(result) & set(dir(dict))


def test_a_split_shows_both_sides_and_waits_for_a_choice():
    merged = merge(SPLIT, HOSTS)
    assert [island["hosts"] for island in merged["islands"]] == [["h1", "h2"], ["h3"]]
    assert [island["last_change"] for island in merged["islands"]] == ["2026-11-24T10:00:02Z", "2026-11-24T10:00:03Z"]
    assert "The cluster is split into 2 islands." in merged["text"]
    (refusal,) = plan(SPLIT)["refusals"]
    assert "-e erlmcp_cluster_survivor=HOST, one of h1, h2 | h3" in refusal
    assert "Nothing was changed" in refusal


@pytest.mark.parametrize(
    ("survivor", "winners", "losers", "masters"),
    [("h1", ["h1", "h2"], ["h3"], ["n1", "n2"]), ("h3", ["h3"], ["h1", "h2"], ["n3"])],
)
def test_everybody_outside_of_the_surviving_island_loses(survivor, winners, losers, masters):
    decided = plan(SPLIT, survivor)
    assert decided["refusals"] == []
    assert (decided["winners"], decided["losers"], decided["masters"]) == (winners, losers, masters)


@pytest.mark.parametrize(("survivor", "words"), [("h9", "no host of the cluster"), ("h3", "on no island")])
def test_a_survivor_that_cannot_be_one_is_refused(survivor, words):
    found = {**SPLIT, "h3": down("n3")}
    (refusal,) = plan(found, survivor)["refusals"]
    assert words in refusal
    assert "name one of h1, h2" in refusal


def test_a_network_that_is_still_cut_is_refused_with_the_pair_and_the_next_action():
    found = {**SPLIT, "h1": info("n1", ["n1", "n2"], unreached=["n3"])}
    (refusal,) = plan(found, "h1")["refusals"]
    assert refusal.startswith("The network is still cut: h1 does not reach h3. Let them reach")
    assert "run again" in refusal
    assert plan(found, "h1")["losers"] == []


def test_a_member_that_does_not_run_is_not_reached_and_no_cut():
    found = {"h1": info("n1", ["n1", "n2"], unreached=["n3"]), "h2": info("n2", ["n1", "n2"]), "h3": down("n3")}
    merged = merge(found, HOSTS)
    assert merged["cut"] == []
    assert merged["partitioned"] is False
    (refusal,) = plan(found)["refusals"]
    assert "h3 does not run" in refusal
    assert "erlmcp_cluster_survivor that it had" in refusal
    assert plan(found, "h1")["losers"] == ["h3"]


def test_a_node_that_is_new_and_not_started_is_nobodys_loser():
    known = ("n1", "n2")
    found = {"h1": info("n1", known, known), "h2": info("n2", known, known), "h3": down("n3")}
    assert plan(found)["refusals"] == []
    assert plan(found, "h1")["losers"] == []


def test_a_host_that_was_not_asked_is_refused_unless_it_is_dead():
    found = {"h1": SPLIT["h1"], "h2": SPLIT["h2"], "h3": {"unreachable": True, "msg": "no route"}}
    (refusal,) = plan(found, "h1")["refusals"]
    assert "h3 was not asked" in refusal
    assert "erlmcp_cluster_dead" in refusal
    del found["h3"]
    assert "h3 was not asked" in plan(found, "h1")["refusals"][0]
    assert plan(found, "h1", dead=["h3"])["refusals"] == []


def test_a_host_that_is_said_to_be_dead_and_is_not_is_refused():
    found = {"h1": info("n1", ["n1", "n2"], views={"n3": info("n3", ["n3"])}), "h2": SPLIT["h2"]}
    (refusal,) = plan(found, "h1", dead=["h3"])["refusals"]
    assert "h3 is named in erlmcp_cluster_dead, and its node runs" in refusal


def test_a_host_that_was_not_asked_is_judged_by_those_that_reach_its_node():
    third = info("n3", ["n3"])
    found = {"h1": info("n1", ["n1", "n2"], views={"n3": third}), "h2": SPLIT["h2"], "h3": {"unreachable": True}}
    merged = merge(found, HOSTS)
    assert [island["hosts"] for island in merged["islands"]] == [["h1", "h2"], ["h3"]]
    assert merged["unasked"] == ["h3"]


def test_a_node_that_runs_and_does_not_answer_is_refused():
    found = {**WHOLE, "h2": info("n2", state="silent", members=(), error="no answer", tables={})}
    (refusal,) = plan(found)["refusals"]
    assert refusal.startswith("h2: the node runs and does not answer")


def test_a_node_between_two_islands_is_on_neither():
    nodes = {"n1": info("n1", ["n1", "n2"]), "n2": info("n2", ["n1", "n2", "n3"]), "n3": info("n3", ["n2", "n3"])}
    assert find_islands(nodes) == [["n1"], ["n2"], ["n3"]]


def test_members_that_were_not_asked_part_nobody():
    nodes = {"n1": info("n1", ["n1", "n2", "n9"]), "n2": info("n2", ["n1", "n2"])}
    assert find_islands(nodes) == [["n1", "n2"]]


def test_copies_that_differ_part_nodes_that_take_each_other_for_running():
    digests = {"item": {name: {"rows": 5, "digest": digest} for name, digest in zip(HOSTS.values(), "aab")}}
    found = {**WHOLE, "h1": {**WHOLE["h1"], "digests": digests}}
    merged = merge(found, HOSTS)
    assert [island["hosts"] for island in merged["islands"]] == [["h1", "h2"], ["h3"]]
    assert "the copies of item differ: n1 5 rows, n2 5 rows, n3 5 rows" in merged["problems"]
    assert "  item: 5 rows, digest a (not the same on every island)" in merged["text"]
    assert plan(found, "h3")["losers"] == ["h1", "h2"]
    digests["item"]["n3"]["digest"] = None
    assert merge(found, HOSTS)["partitioned"] is False


def test_sides_that_have_removed_each_other_are_no_partition():
    found = {
        "h1": info("n1", ["n1", "n2"], ["n1", "n2"]),
        "h2": info("n2", ["n1", "n2"], ["n1", "n2"]),
        "h3": SPLIT["h3"],
    }
    (refusal,) = plan(found, "h1")["refusals"]
    assert "do not have each other in their schemas (n3 is missing)" in refusal


def test_a_side_that_cannot_read_its_tables_does_not_survive():
    item = {
        "copies": {"n1": "disc_copies", "n3": "disc_copies"},
        "rows": None,
        "loaded": False,
        "masters": ["n1"],
        "waits_for": ["n1"],
    }
    waiting = info("n3", ["n3"], tables={"item": item})
    (refusal,) = plan({**SPLIT, "h3": waiting}, "h3")["refusals"]
    assert "h3 cannot read item" in refusal
    assert plan({**SPLIT, "h3": waiting}, "h1")["refusals"] == []
    # Whoever has no copy of a table has no rows of it to lose.
    del item["copies"]["n3"]
    assert plan({**SPLIT, "h3": waiting}, "h3")["refusals"] == []


def test_masters_that_are_left_are_cleared_where_they_are_wrong():
    found = {**WHOLE, "h3": {**WHOLE["h3"], "masters": ["n1"]}}
    decided = plan(found)
    assert (decided["losers"], decided["leftover"]) == ([], ["h3"])
    # Another side was chosen before: the one that survives now must not load from the others.
    found = {**SPLIT, "h3": {**SPLIT["h3"], "masters": ["n1", "n2"]}}
    assert plan(found, "h3")["leftover"] == ["h3"]
    assert plan(found, "h1")["leftover"] == []


def test_hosts_of_two_clusters_are_refused():
    with pytest.raises(OpsError, match="h9 and h1, h2, h3 are not of one cluster"):
        merge({**WHOLE, "h9": info("n9", ["n9"])}, HOSTS)


def test_nodes_that_were_never_joined_are_no_islands():
    found = {host: info(name, [name], [name]) for host, name in HOSTS.items()}
    merged = merge(found, HOSTS)
    assert merged["islands"] == []
    assert merged["not_joined"] == list(HOSTS)
    assert plan(found)["refusals"] == []
    assert "which is on no island" in plan(found, "h1")["refusals"][0]


@pytest.mark.parametrize(("survivor", "refused"), [("h1", ["h3"]), ("h3", ["h1", "h2"])])
def test_a_loser_that_would_forget_the_cluster_is_not_stopped(survivor, refused):
    found = {host: {**each, "in_ram": [each["name"]]} for host, each in SPLIT.items()}
    (refusal,) = plan(found, survivor)["refusals"]
    assert refusal.startswith(f"{', '.join(refused)} has its schema in RAM, so it forgets the cluster")
    assert "replace_node with -e erlmcp_cluster_replaced=HOST" in refusal
    assert ("leave_cluster with -e erlmcp_cluster_leaving=h1,h2" in refusal) is (survivor == "h3")


def test_the_survivors_forget_a_loser_whose_schema_is_in_ram():
    """What the refusal names: replace_node begins with that."""
    store = Store(RUNNING, ("n1", "n2", "n3"), ("n1", "n2"), on_disk=("n1", "n2"))
    seen = {name: View(name, "25", (), store) for name in ("n1", "n2")}
    assert plan_forget(["n3"], seen, list(HOSTS.values())) == (("n3",), ("n1", "n2"))


def waiting(name, running=(), masters=(), waits_for=("n3",), **more):
    """A node that has booted alone, and has not loaded its table since others may have newer rows."""
    item = {
        "copies": dict.fromkeys(HOSTS.values(), "disc_copies"),
        "rows": None,
        "loaded": False,
        "masters": list(masters),
        "waits_for": list(waits_for),
    }
    evidence = {
        "files": {"LATEST.LOG": "2026-11-24T12:00:00Z", "item.DCD": "2026-11-24T10:00:00Z"},
        "last_change": "2026-11-24T12:00:00Z",
        "transaction_commits": 0,
        "started": "2026-11-24T12:00:00Z",
        "on_disk": {"item": 5},
    }
    more = {"masters": list(masters), "evidence": evidence, **more}
    return info(name, running or [name], tables={"item": item}, **more)


ALONE = {"h1": waiting("n1", waits_for=["n2", "n3"]), "h2": {"unreachable": True}, "h3": {"unreachable": True}}
FORCE = {"survivor": "h1", "dead": ["h2", "h3"], "force_load": True}


def test_a_node_that_waits_is_shown_with_the_ways_on():
    (text,) = (problem for problem in merge(ALONE, HOSTS)["problems"] if "waits for" in problem)
    assert text.startswith("n1 waits for n2, n3 with its tables item: it does not know whose rows are the newest.")
    waits, newer, force, *unasked = plan(ALONE)["refusals"]
    assert waits == f"{text}. On its disk are 5 of item (files last written 2026-11-24T10:00:00Z)"
    assert newer.startswith("What h2, h3 has may be newer. So that no row is lost, stop what waits (systemctl stop on")
    assert (
        "-e erlmcp_cluster_survivor=h1 -e erlmcp_cluster_force_load=true "
        """-e '{"erlmcp_cluster_dead": ["h2", "h3"]}'. """
    ) in force
    assert force.endswith("Nothing was changed")
    assert [text.split(":")[0] for text in unasked] == ["h2 was not asked", "h3 was not asked"]
    # The choice of a survivor alone is no consent.
    assert plan(ALONE, "h1", ["h2", "h3"])["refusals"] == [waits, newer, force]


def test_nodes_that_outlived_the_one_that_is_missing_have_the_newest_rows():
    seen = {"waits_for": ["n1"], "outlived": ["n1"]}
    found = {"h1": down("n1"), "h2": waiting("n2", ["n2", "n3"], **seen), "h3": waiting("n3", ["n2", "n3"], **seen)}
    found["h3"]["evidence"] = {**found["h3"]["evidence"], "on_disk": {"item": 6}}
    second, third, older, force = plan(found)["refusals"]
    assert (second.split(" with")[0], third.split(" with")[0]) == ("n2 waits for n1", "n3 waits for n1")
    assert older == "What h1 has is older: it was seen going down by a node that waits"
    assert "-e erlmcp_cluster_survivor=h3 -e erlmcp_cluster_force_load=true. It is" in force
    decided = plan(found, "h3", force_load=True)
    assert (decided["losers"], decided["masters"]) == (["h3", "h1", "h2"], ["n3"])


def test_a_node_that_may_have_newer_rows_is_started_beside_one_that_waits_only_while_an_older_one_is_down():
    """As long as one copy is missing, Mnesia takes none just because its node is the first by name."""
    found = {"h1": down("n1"), "h2": down("n2"), "h3": waiting("n3", waits_for=["n2"], outlived=["n1"])}
    text = "\n".join(plan(found)["refusals"])
    assert "What h1 has is older" in text
    assert "What h2 has may be newer. Start it, while h1 stays down, and run this again unless that serves" in text
    assert "systemctl stop" not in text


def test_files_that_the_start_has_written_tell_nothing_of_before():
    found = {**ALONE, "h1": waiting("n1")}
    found["h1"]["evidence"]["files"]["item.DCL"] = "2026-11-24T12:00:01Z"
    found["h1"]["evidence"]["on_disk"] = {"item": None}
    text = plan(found)["refusals"][0]
    assert text.endswith("On its disk are ? of item (files last written when it started, 2026-11-24T12:00:01Z)")


def test_a_node_loads_what_it_has_only_when_that_is_said():
    decided = plan(ALONE, **FORCE)
    assert decided["refusals"] == []
    assert (decided["forced"], decided["losers"], decided["masters"]) == (["h1"], ["h1"], ["n1"])
    assert (decided["winners"], decided["keepers"], decided["leftover"]) == ([], ["h1"], [])
    assert decided["text"][0] == "h1: stop, back up, start with the rows that it has, whatever others may have."
    assert "h1 stays its own master node until the others are back" in decided["text"][1]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({**FORCE, "survivor": "h9"}, "erlmcp_cluster_survivor is h9, which is no host of the cluster"),
        ({**FORCE, "dead": ["h2", "h3", "h7"]}, "erlmcp_cluster_dead names h7, which is no host of the cluster"),
        ({**FORCE, "dead": ["h3"]}, "h2 was not asked"),
        ({**FORCE, "survivor": ""}, "n1 waits for n2, n3"),
    ],
)
def test_a_forced_load_of_whom_is_not_clear_is_refused(choice, words):
    decided = plan(ALONE, **choice)
    assert words in "\n".join(decided["refusals"])
    assert decided["losers"] == []


def test_nodes_that_are_reached_take_over_the_rows_after_it():
    """One that waits too, and one that was stopped: both may have rows that the first one has not."""
    found = {"h1": waiting("n1", ["n1", "n2"]), "h2": waiting("n2", ["n1", "n2"]), "h3": down("n3")}
    assert [text.split(" with")[0] for text in plan(found)["refusals"][:2]] == ["n1 waits for n3", "n2 waits for n3"]
    decided = plan(found, "h2", force_load=True)
    assert (decided["forced"], decided["losers"], decided["masters"]) == (["h2"], ["h2", "h1", "h3"], ["n2"])
    assert decided["keepers"] == []
    assert decided["text"][1] == "h1: stop, back up, start with the rows of n2."


@pytest.mark.parametrize("state", ["masters set", "stopped"])
def test_a_forced_load_that_was_killed_is_finished(state):
    first = waiting("n1", masters=["n1"]) if state == "masters set" else down("n1")
    decided = plan({**ALONE, "h1": first}, **FORCE)
    assert decided["refusals"] == []
    assert (decided["forced"], decided["losers"], decided["keepers"]) == (["h1"], ["h1"], ["h1"])


def test_a_node_that_was_made_to_load_stays_its_own_master_until_the_others_are_back():
    loaded = info("n1", ["n1"], masters=["n1"])
    again = plan({**ALONE, "h1": loaded}, **FORCE)
    assert (again["refusals"], again["losers"], again["keepers"], again["leftover"]) == ([], [], ["h1"], [])
    back = {**WHOLE, "h1": {**WHOLE["h1"], "masters": ["n1"]}}
    assert (plan(back)["keepers"], plan(back)["leftover"]) == ([], ["h1"])
    # The third one was reached, took over the rows, and the run was killed before it was started.
    found = {**ALONE, "h1": loaded, "h3": down("n3")}
    decided = plan(found, "h1", ["h2"], force_load=True)
    assert (decided["winners"], decided["losers"], decided["keepers"]) == (["h1"], ["h3"], ["h1"])


def test_no_node_is_made_to_load_while_another_one_serves():
    found = {"h1": info("n1", ["n1", "n2"]), "h2": info("n2", ["n1", "n2"]), "h3": waiting("n3", waits_for=["n1"])}
    decided = plan(found, "h3", force_load=True)
    assert decided["forced"] == []
    assert "h3 cannot read item" in decided["refusals"][0]
    assert plan(found, "h1")["losers"] == ["h3"]
    assert "which is on no island" in plan({**found, "h3": down("n3")}, "h3", force_load=True)["refusals"][0]


def test_an_island_that_holds_all_that_another_one_has_is_named():
    found = {**SPLIT, "h1": {**SPLIT["h1"], "lacks": {"n3": {"item": 0, "session": 0}}}}
    found["h3"] = {**SPLIT["h3"], "lacks": {"n1": {"item": 2, "session": 0}}}
    text = merge(found, HOSTS)["text"]
    assert "Island 1 holds every row that island 2 has now: nothing of it is lost by keeping island 1." in text
    assert "Island 2 lacks rows that island 1 has: 2 of item." in text
    assert not any("lacks" in line or "holds" in line for line in merge(SPLIT, HOSTS)["text"])
