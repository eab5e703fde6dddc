# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who joins whom, what moves where, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.plan import (
    Join,
    Keep,
    Leave,
    nodes_to_join,
    plan_forget,
    plan_join,
    plan_leave,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.view import (
    ABSENT,
    RUNNING,
    STOPPED,
    Store,
    Table,
    View,
    parse_view,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.terms import parse

DISC, RAM = "disc_copies", "ram_copies"


def items(*nodes, rows=0, kind=DISC, **more):
    return {"item": Table(dict.fromkeys(nodes, kind), rows, attributes=("key", "value"), **more)}


def view(name, members=None, running=None, tables=None, state=RUNNING, otp="25", in_ram=(), can_keep=True):
    """A node; alone, with an empty table, unless told."""
    members = tuple(members or [name])
    running = members if running is None else tuple(running)
    tables = items(name) if tables is None else tables
    on_disk = tuple(each for each in members if each not in in_ram)
    return View(name, otp, (), Store(state, members, running, "/d", tables, on_disk, can_keep))


def cluster(*names, tables=None, **more):
    tables = items(*names) if tables is None else tables
    return {name: view(name, names, tables=tables, **more) for name in names}


def join(own, others=(), expected=("a", "b", "c"), **choices):
    others = others if isinstance(others, dict) else {each.node: each for each in others}
    return plan_join(own, others, list(expected), **choices)


# Joining


def asks_in_vain(own, others, seed):
    try:
        return join(own, others, seed=seed) is None
    except OpsError:
        return False


@pytest.mark.parametrize("seed", [None, "b"])
@pytest.mark.parametrize(
    "nodes",
    [
        [view("a"), view("b"), view("c")],
        [view("a"), view("b", tables=items("b", rows=1)), view("c")],
        [view("a", tables=items("a", rows=1)), view("b", tables=items("b", rows=1)), view("c")],
        [view("a"), *cluster("b", "c").values()],
        list(cluster("a", "b", "c").values()),
        [view(name, state=ABSENT, tables={}) for name in "abc"],
    ],
    ids=["new", "one has rows", "two have rows", "a pair", "a whole cluster", "no Mnesia"],
)
def test_whoever_would_ask_in_vain_whom_to_join_is_left_out(nodes, seed):
    stores = {each.node: each.store.summary() for each in nodes}
    asking = [own.node for own in nodes if not asks_in_vain(own, [each for each in nodes if each is not own], seed)]
    assert nodes_to_join(stores, ["a", "b", "c"], seed or "") == asking


def test_while_a_node_is_not_known_everybody_who_is_alone_asks():
    assert nodes_to_join({"a": view("a").store.summary(), "b": None}, ["a", "b", "c"]) == ["a"]


def test_while_a_table_is_not_loaded_everybody_who_is_alone_asks():
    tables = {"a": items("a"), "b": items("b", loaded=False)}
    stores = {name: view(name, tables=each).store.summary() for name, each in tables.items()}
    assert stores["b"]["rows"] == {"item": None}
    assert nodes_to_join(stores, ["a", "b"]) == ["a", "b"]


def test_a_cluster_of_one_joins_nobody():
    assert nodes_to_join({"a": view("a").store.summary()}, ["a"]) == []


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (view("a"), ["a"]),
        (view("a", state=ABSENT, tables={}), ["a", "b"]),
        (view("b", ["a", "b"]), ["a", "b"]),
    ],
    ids=["a cluster of one", "a release without Mnesia", "already a member"],
)
def test_there_is_nothing_to_join(own, expected):
    assert join(own, [view("a")], expected) is None


def test_the_first_of_the_inventory_is_whom_the_others_join():
    assert join(view("a"), [view("b")]) is None
    assert join(view("b"), [view("a")]) == Join("b", "a", ("a",), tables={"item": DISC}, rows={"item": 0})


def test_the_order_of_the_answers_does_not_matter():
    assert join(view("c"), [view("b"), view("a")]).peer == "a"


def test_the_node_with_rows_is_whom_the_others_join():
    full = view("b", tables=items("b", rows=7))
    assert join(full, [view("a"), view("c")]) is None
    plan = join(view("a"), [full, view("c")])
    assert (plan.peer, plan.rows) == ("b", {"item": 7})
    assert plan.steps == ["a: join b through b", "a: get disc_copies of table item (7 rows)"]


def test_the_seed_decides_where_it_is_given():
    assert join(view("a"), [view("b"), view("c")], seed="b").peer == "b"
    assert join(view("b"), [view("a"), view("c")], seed="b") is None


def test_a_cluster_that_is_there_is_joined_whatever_the_seed():
    others = {**cluster("b", "c"), "d": view("d")}
    assert join(view("a"), others, "abcd", seed="d").members == ("b", "c")


def test_a_seed_that_does_not_answer_is_named():
    with pytest.raises(OpsError, match=r"a is to join b \(erlmcp_cluster_seed\), and that does not answer"):
        join(view("a"), [view("c")], seed="b")


def test_rows_of_several_nodes_are_not_chosen_among():
    a, b = (view(name, tables=items(name, rows=rows)) for name, rows in (("a", 3), ("b", 4)))
    with pytest.raises(OpsError, match="a holds 3 rows in item; b holds 4 rows in item. Name the one .*_cluster_seed"):
        join(view("c"), [a, b])
    with pytest.raises(OpsError, match="b holds 4 rows in item of its own, .* erlmcp_cluster_adopt: discard"):
        join(b, [a], seed="a")
    plan = join(b, [a], discard=True)
    assert (plan.peer, plan.discard) == ("a", True)
    assert plan.steps[0] == "b: set its own rows aside"
    assert join(a, [b], discard=True) is None


def test_rows_of_a_node_that_comes_late_are_not_lost():
    late = view("c", tables=items("c", rows=1))
    with pytest.raises(OpsError, match="c holds 1 rows in item of its own"):
        join(late, cluster("a", "b"))
    assert join(late, cluster("a", "b"), discard=True).discard


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (view("b", state=STOPPED, tables={}), "Mnesia of b does not run"),
        (view("b", tables=items("b", loaded=False)), "b has not loaded item"),
    ],
)
def test_rows_that_cannot_be_counted_are_not_taken_for_none(own, why):
    with pytest.raises(OpsError, match=f"{why}, so it cannot be told whether it holds rows"):
        join(own, [view("a")])


@pytest.mark.parametrize(
    ("copies", "have", "gets"),
    [(0, "ab", DISC), (3, "ab", DISC), (2, "ab", None), (2, "a", DISC), (1, "a", None)],
)
def test_a_table_that_has_copies_enough_is_read_from_the_others(copies, have, gets):
    plan = join(view("c"), cluster("a", "b", tables=items(*have, rows=2)), copies=copies)
    assert plan.tables == {"item": gets}
    assert plan.steps[-1] == (
        "c: get disc_copies of table item (2 rows)" if gets else "c: read from the others table item (2 rows)"
    )


def test_a_copy_is_of_the_most_durable_kind_that_there_is():
    tables = {"mixed": Table({"a": RAM, "b": DISC}), "fleeting": Table({"a": RAM, "b": RAM})}
    assert join(view("c"), cluster("a", "b", tables=tables)).tables == {"mixed": DISC, "fleeting": RAM}


@pytest.mark.parametrize(("copies", "gets"), [(0, DISC), (2, DISC), (1, None)])
def test_a_node_that_was_lost_and_built_anew_is_forgotten_first(copies, gets):
    others = {name: view(name, "abc", "ab", items("a", "c")) for name in "ab"}
    plan = join(view("c"), others, copies=copies)
    assert (plan.forget, plan.members, plan.tables) == (True, ("a", "b"), {"item": gets})
    assert plan.steps[:2] == ["a, b: forget the c that was lost", "c: join a, b through a"]


def test_a_node_built_anew_whose_copy_was_the_last_is_not_forgotten():
    others = {"a": view("a", "ac", "a", {**items("a", "c"), "only": Table({"c": DISC})})}
    with pytest.raises(OpsError, match="c has the last copy of only: bring it back"):
        join(view("c"), others)


def test_two_clusters_are_not_merged():
    with pytest.raises(OpsError, match="e finds more than one cluster among the expected nodes: a, b; c, d. Clusters"):
        join(view("e"), {**cluster("a", "b"), **cluster("c", "d")}, "abcde")


def test_a_member_of_another_cluster_stays_there():
    with pytest.raises(OpsError, match="c shares its tables with x, y, which the inventory does not have"):
        join(view("c", ["c", "x", "y"]), cluster("a", "b"))


def degraded():
    both = cluster("a", "b")
    return [
        ({"a": both["a"]}, "b does not answer"),
        ({**both, "b": view("b", "ab", state=STOPPED, tables={})}, "Mnesia of b does not run"),
        ({**both, "a": view("a", "ab", running="a")}, "a takes b for down"),
        ({**both, "b": view("b", "ab", running="b")}, "b takes a for down"),
    ]


@pytest.mark.parametrize(("others", "why"), degraded(), ids=["silent", "stopped", "half-way", "the other way"])
def test_a_degraded_or_partitioned_cluster_is_not_joined(others, why):
    with pytest.raises(OpsError, match=f"degraded or partitioned: {why}. Start what is down, repair .*leave_cluster"):
        join(view("c"), others)


def test_another_otp_is_refused():
    with pytest.raises(OpsError, match="b runs Erlang/OTP 26, a 25: give them releases with the same one first"):
        join(view("b", otp="26"), [view("a")])


def test_a_table_with_other_fields_is_refused():
    other = {"item": Table({"b": DISC}, attributes=("key", "value", "time"))}
    with pytest.raises(OpsError, match="table item has the fields key, value, time on b and key, value on a"):
        join(view("b", tables=other), [view("a")])


def test_a_table_that_only_the_joiner_has_is_no_obstacle_when_empty():
    own = view("b", tables={**items("b"), "old": Table({"b": DISC})})
    assert join(own, [view("a")]).tables == {"item": DISC}


def test_whoever_has_the_schema_in_ram_puts_it_on_disk_before_somebody_joins():
    plan = join(view("b"), [view("a", in_ram="a", tables={})])
    assert (plan.keep, plan.steps) == (("a",), ["a: keep the schema on disk", "b: join a through a"])
    plan = join(view("c"), cluster("a", "b", in_ram="b"))
    assert (plan.peer, plan.keep) == ("a", ("b",))
    assert join(view("b", in_ram="b"), [view("a")]).keep == ()


def test_a_member_whose_schema_is_in_ram_puts_it_on_disk_and_the_others_have_nothing_to_do():
    views = cluster("a", "b", in_ram="a")
    assert join(views["a"], [views["b"]], "ab") == Keep("a", ("a", "b"))
    assert join(views["b"], [views["a"]], "ab") is None
    stores = {name: each.store.summary() for name, each in views.items()}
    assert nodes_to_join(stores, ["a", "b"]) == ["a"]
    assert nodes_to_join({**stores, "c": view("c").store.summary()}, ["a", "b", "c"]) == ["a", "c"]


def test_a_member_cannot_put_its_schema_on_disk_while_another_one_is_down():
    with pytest.raises(OpsError, match="degraded or partitioned: b does not answer; a takes b for down"):
        join(view("a", "ab", running="a", in_ram="a"), expected="ab")


def test_what_a_release_keeps_in_ram_on_purpose_is_no_reason_to_do_anything():
    own = view("a", "ab", in_ram="ab", can_keep=False)
    assert join(own, [view("b", "ab", in_ram="ab", can_keep=False)], "ab") is None
    assert nodes_to_join({"a": own.store.summary(), "b": own.store.summary()}, ["a", "b"]) == []


@pytest.mark.parametrize(("own", "peer"), [(False, True), (True, False)])
def test_a_node_that_may_not_have_its_schema_on_disk_is_not_joined_and_joins_nobody(own, peer):
    nodes = [view("b", in_ram="b", can_keep=own), view("a", in_ram="a", can_keep=peer)]
    name = "a" if own else "b"
    with pytest.raises(OpsError, match=f"Mnesia of {name} may not keep its schema on disk.*take schema_location out"):
        join(nodes[0], nodes[1:])


def test_rows_on_disk_are_set_aside_and_those_in_ram_dropped():
    tables = {**items("b", rows=1), "fleeting": Table({"b": RAM}, 2)}
    own = view("b", tables=tables)
    with pytest.raises(OpsError, match=r"set aside \(those of fleeting are in RAM only and are dropped\)"):
        join(own, [view("a")], seed="a")
    plan = join(own, [view("a")], seed="a", discard=True)
    assert (plan.discard, plan.drop) == (True, ("fleeting",))
    assert plan.steps[:2] == ["b: set its own rows aside", "b: drop its own rows in fleeting, which are in RAM only"]
    only = view("b", tables={"fleeting": tables["fleeting"]})
    assert not join(only, [view("a")], seed="a", discard=True).discard


# Leaving


def test_a_node_whose_copies_others_have_moves_nothing():
    plan = plan_leave("c", ["c"], cluster("a", "b", "c"))
    assert plan == Leave("c", ("a", "b"), (), {"item": ["a", "b"]})
    assert plan.steps == ["c: drain, stop, set its data and its cookie aside, mask its unit"]


@pytest.mark.parametrize(
    ("copies", "have", "moves"),
    [
        (1, "c", [("item", "a", DISC)]),
        (1, "ac", []),
        (2, "ac", [("item", "b", DISC)]),
        (2, "c", [("item", "a", DISC), ("item", "b", DISC)]),
        (0, "ac", [("item", "b", DISC)]),
        (5, "c", [("item", "a", DISC), ("item", "b", DISC)]),
    ],
)
def test_copies_move_until_there_are_enough(copies, have, moves):
    plan = plan_leave("c", ["c"], cluster("a", "b", "c", tables=items(*have)), copies)
    assert list(plan.moves) == moves
    assert plan.steps[:-1] == [f"{node}: get {kind} of table {table}" for table, node, kind in moves]


def test_copies_that_move_are_spread():
    tables = {name: Table({"c": DISC}) for name in ("t1", "t2", "t3")}
    plan = plan_leave("c", ["c"], cluster("a", "b", "c", tables=tables), copies=1)
    assert plan.copies == {"t1": ["a"], "t2": ["b"], "t3": ["a"]}


def test_nothing_moves_to_a_node_that_leaves_too():
    plan = plan_leave("c", ["b", "c"], cluster("a", "b", "c", tables=items("b", "c")), copies=1)
    assert plan == Leave("c", ("a",), (("item", "a", DISC),), {"item": ["a"]})


def test_one_that_left_before_is_not_missed():
    tables = items("a", "c")
    views = {name: view(name, "abc", "ac", tables) for name in "ac"}
    assert plan_leave("c", ["b", "c"], views).members == ("a",)


def test_the_last_node_does_not_leave():
    with pytest.raises(OpsError, match="b is the last node that holds the tables: nobody would have them"):
        plan_leave("b", ["a", "b"], cluster("a", "b"))


def test_a_member_that_is_down_keeps_the_others_from_leaving():
    views = {name: view(name, "abc", "ac") for name in "ac"}
    with pytest.raises(OpsError, match="degraded or partitioned: b does not answer; a takes b for down"):
        plan_leave("c", ["c"], views)


def test_a_node_without_mnesia_leaves_without_ado():
    assert plan_leave("c", ["c"], {"c": View("c", "25", (), Store())}) == Leave("c", ())


def test_a_node_whose_mnesia_is_stopped_hands_nothing_over_and_stays():
    views = {**{name: view(name, "abc", "ab") for name in "ab"}, "c": view("c", "abc", "ab", {}, STOPPED)}
    with pytest.raises(OpsError, match="Mnesia of c does not run, so it cannot hand over what it has"):
        plan_leave("c", ["c"], views)


def test_who_gets_a_table_on_disk_has_the_schema_there_first():
    views = cluster("a", "b", "c", tables=items("c"), in_ram="ab")
    plan = plan_leave("c", ["c"], views, 1)
    assert plan.keep == ("a",)
    assert plan.steps[:2] == ["a: keep the schema on disk", "a: get disc_copies of table item"]
    fleeting = cluster("a", "b", "c", tables=items("c", kind=RAM), in_ram="ab")
    assert plan_leave("c", ["c"], fleeting).keep == ()
    views["a"] = view("a", "abc", tables=items("c"), in_ram="ab", can_keep=False)
    with pytest.raises(OpsError, match="Mnesia of a may not keep its schema on disk"):
        plan_leave("c", ["c"], views, 1)


# Being forgotten


def survivors(tables=None):
    return {name: view(name, "abc", "ab", items(*"abc") if tables is None else tables) for name in "ab"}


def test_a_node_that_is_down_is_forgotten_by_all_others():
    assert plan_forget(["c"], survivors(), ["a", "b", "c"]) == (("c",), ("a", "b"))


def test_a_node_whose_host_has_left_the_inventory_is_forgotten():
    assert plan_forget(["c"], survivors(), ["a", "b"]) == (("c",), ("a", "b"))


def test_several_are_forgotten_at_once_and_those_already_forgotten_left_out():
    views = {"a": view("a", "abc", "a", items(*"abc"))}
    assert plan_forget(["b", "c", "d"], views, ["a", "b", "c", "d"]) == (("b", "c"), ("a",))


def test_a_node_that_nobody_knows_any_more_needs_nothing():
    assert plan_forget(["c"], cluster("a", "b"), ["a", "b", "c"]) == ((), ())


def test_a_mistyped_name_is_told_from_one_that_has_left():
    with pytest.raises(OpsError, match=r"typo is unknown: neither the inventory nor the members \(a, b\) have it"):
        plan_forget(["typo"], cluster("a", "b"), ["a", "b"])


def test_a_node_that_runs_is_not_forgotten():
    with pytest.raises(OpsError, match=r"c still runs: let it leave \(leave_cluster .*, or stop it on its host"):
        plan_forget(["c"], cluster("a", "b", "c"), ["a", "b", "c"])


@pytest.mark.parametrize("have", ["abc", "c"])
def test_in_check_mode_it_has_neither_been_stopped_nor_moved_its_copies(have):
    views = cluster("a", "b", "c", tables=items(*have))
    assert plan_forget(["c"], views, ["a", "b", "c"], still_run=True) == (("c",), ("a", "b"))


def test_in_check_mode_one_that_is_down_moves_nothing():
    with pytest.raises(OpsError, match="c has the last copy of item"):
        plan_forget(["c"], survivors(items("c")), ["a", "b", "c"], still_run=True)


def test_the_last_copy_is_not_forgotten():
    tables = {**items("a", "c"), "only": Table({"c": DISC}), "two": Table({"b": DISC, "c": DISC})}
    with pytest.raises(
        OpsError, match="c has the last copy of only: bring it back with its data, or restore all nodes together"
    ):
        plan_forget(["c"], survivors(tables), ["a", "b", "c"])


def test_a_cluster_that_is_degraded_otherwise_forgets_nobody():
    views = {"a": view("a", "abc", "a", items(*"abc"))}
    with pytest.raises(OpsError, match="degraded or partitioned: b does not answer; a takes b for down"):
        plan_forget(["c"], views, ["a", "b", "c"])


def test_nobody_is_taken_for_forgotten_by_nodes_that_cannot_tell():
    with pytest.raises(OpsError, match="Mnesia of a does not run"):
        plan_forget(["c"], {"a": view("a", "abc", "", {}, STOPPED)}, ["a", "b", "c"])


# What the refusals name: whoever does it is let through


def test_rows_of_one_are_named_and_those_of_the_others_given_up():
    a, b = (view(name, tables=items(name, rows=3)) for name in "ab")
    assert join(view("c"), [a, b], seed="a").peer == "a"
    assert join(b, [a, view("c")], seed="a", discard=True).peer == "a"
    assert join(a, [b, view("c")], seed="a") is None


def test_another_seed_is_named_when_one_does_not_answer():
    assert join(view("a"), [view("c")], seed="c").peer == "c"


def test_what_had_not_loaded_joins_once_it_serves():
    assert join(view("b"), [view("a")]).peer == "a"


def test_of_two_clusters_one_is_given_up_node_by_node():
    second = cluster("c", "d", tables=items("c", "d", rows=1))
    assert plan_leave("d", ["d"], second).members == ("c",)
    left = {"c": view("c", "cd", "c", items("c", "d", rows=1))}
    assert plan_forget(["d"], left, ["c", "d"]) == (("d",), ("c",))
    alone = view("c", tables=items("c", rows=1))
    assert join(alone, cluster("a", "b"), "abcd", discard=True).members == ("a", "b")


def test_strangers_that_are_gone_are_forgotten_by_their_names():
    assert plan_forget(["x"], {"c": view("c", "cx", "c")}, "abc") == (("x",), ("c",))
    assert join(view("c"), cluster("a", "b")).peer == "a"


@pytest.mark.parametrize("gone", ["b", "c"])
def test_a_degraded_cluster_is_joined_after_what_is_gone_was_forgotten(gone):
    kept = {"b": "c", "c": "b"}[gone]
    seen = {name: view(name, "abc", ["a", kept], items("a", "b", "c")) for name in ("a", kept)}
    assert plan_forget([gone], seen, "abc")[1] == tuple(sorted(["a", kept]))
    assert join(view("d"), cluster("a", kept), "abcd").peer == "a"


def test_the_last_node_leaves_when_another_one_has_come():
    assert plan_leave("b", ["b"], cluster("b", "c", tables=items("b"))).moves == (("item", "c", DISC),)


def test_a_node_whose_mnesia_is_stopped_is_forgotten_instead():
    seen = {**survivors(), "c": view("c", "abc", "", {}, STOPPED)}
    assert plan_forget(["c"], seen, "abc") == (("c",), ("a", "b"))


def test_a_node_that_has_the_last_copy_is_back_and_leaves():
    tables = {**items("a", "c"), "only": Table({"c": DISC})}
    plan = plan_leave("c", ["c"], cluster("a", "b", "c", tables=tables), 1)
    assert [move[0] for move in plan.moves] == ["only"]


# What a node says


def test_an_answer_becomes_a_view():
    answer = parse(
        "[{node,'a@h'},{otp,\"25\"},{connected,['b@h']},{state,running},{members,['a@h','b@h']},"
        "{running,['a@h']},{directory,{\"/d\"}},{on_disk,['a@h']},{location,ram},{outlived,['c@h']},"
        "{tables,[{item,[{'a@h',disc_copies},{'b@h',ram_copies}],7,false,{[key,value]},['b@h'],['c@h','b@h']}]}]"
    )
    table = Table({"a@h": DISC, "b@h": RAM}, 7, False, ("key", "value"), ("b@h",), ("b@h", "c@h"))
    store = Store(RUNNING, ("a@h", "b@h"), ("a@h",), "/d", {"item": table}, ("a@h",), False, ("c@h",))
    assert parse_view(answer) == View("a@h", "25", ("b@h",), store)
    assert store.rows == 7
    assert not table.runs_besides("a@h", store)
    assert table.runs_besides("b@h", store)
