# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""To which end a restore of several nodes comes when its run was killed, at any moment."""

from __future__ import annotations

from itertools import product

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.under_way import outcome, plan_leftovers
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError

HOSTS = ("a", "b", "c")
NODES = {host: f"n@{host}" for host in HOSTS}
WANTED = {host: f"of-{host}" for host in HOSTS}
# What a run does, step by step, each on all nodes before the next; after it the node's phase, None for no restore.
FORWARD = (None, "staged", "exchanged", "proven", "kept", None)
BACK = ("withdrawn", None)


def left(phase, host, archive=None, together=HOSTS, run="earlier", undo=False):
    if phase is None:
        return None
    return {
        "phase": phase,
        "archive": archive or f"of-{host}",
        "together": [NODES[each] for each in together],
        "run": run,
        "undo": undo,
    }


def decide(phases, wants_undo=False, **changed):
    found = {host: left(phase, host, **changed) for host, phase in zip(HOSTS, phases)}
    return plan_leftovers(found, NODES, WANTED, undo=wants_undo)


def moments(before, after):
    """All that a kill may leave while nodes go from one phase to the next, each by itself."""
    return list(product([before, after], repeat=len(HOSTS)))


@pytest.mark.parametrize("step", range(2))
def test_before_all_are_proven_a_run_goes_on_with_the_same_archives(step):
    for phases in moments(FORWARD[step], FORWARD[step + 1]):
        decided = decide(phases)
        assert (decided["action"], decided["done"]) == ("", False), phases


def test_from_the_exchange_to_the_proof_a_run_goes_on():
    for phases in moments("exchanged", "proven"):
        assert decide(phases)["action"] == "", phases


def test_once_one_node_is_kept_all_are():
    for phases in moments("proven", "kept")[1:]:
        assert decide(phases) == {**decide(phases), "action": "keep", "done": True}, phases


def test_while_nodes_forget_their_way_back_the_others_are_kept():
    for phases in moments("kept", None)[:-1]:
        assert decide(phases) == {**decide(phases), "action": "keep", "done": True}, phases


@pytest.mark.parametrize("before", ["exchanged", "proven"])
def test_once_one_node_is_withdrawn_all_are(before):
    for phases in moments(before, "withdrawn")[1:]:
        assert decide(phases)["action"] == "withdraw", phases


def test_while_nodes_start_with_what_they_had_the_others_are_withdrawn():
    for phases in moments("withdrawn", None)[:-1]:
        assert decide(phases)["action"] == "withdraw", phases


@pytest.mark.parametrize("phase", ["exchanged", "proven"])
def test_a_node_that_has_ended_without_the_others_takes_them_back(phase):
    """As when a host was out of reach while the others were taken back."""
    decided = decide([None, None, phase])
    assert decided["action"] == "withdraw"
    assert "that a, b took no part in" in decided["text"]


@pytest.mark.parametrize(("phase", "action"), [("staged", ""), ("exchanged", "withdraw"), ("proven", "withdraw")])
def test_other_archives_do_not_go_on_from_there(phase, action):
    assert decide([phase] * 3, archive="older")["action"] == action


def test_what_was_kept_of_other_archives_is_ended_and_the_wanted_ones_are_restored():
    decided = decide(["kept"] * 3, archive="older")
    assert (decided["action"], decided["done"]) == ("keep", False)


def test_a_run_that_goes_on_has_the_name_of_the_one_that_was_killed():
    assert decide(["staged", None, None])["run"] == "earlier"
    assert decide(["proven", "exchanged", "exchanged"])["run"] == "earlier"
    assert decide(["staged"] * 3, archive="older")["run"] == ""
    assert decide([None] * 3)["run"] == ""
    # As an older version of the collection has left it.
    assert decide(["proven"] * 3, run=None)["run"] == ""


@pytest.mark.parametrize("phase", ["exchanged", "proven", "withdrawn"])
def test_the_undo_of_a_restore_that_has_not_ended_is_its_end(phase):
    decided = decide([phase, phase, None], wants_undo=True, archive="restored")
    assert (decided["action"], decided["done"]) == ("withdraw", True)


def test_a_restore_that_all_are_to_keep_is_ended_before_it_is_undone():
    decided = decide(["kept", "kept", None], wants_undo=True, archive="restored")
    assert (decided["action"], decided["done"]) == ("keep", False)


@pytest.mark.parametrize(
    ("phases", "action", "done"),
    [
        (("staged", None, None), "", False),
        (("exchanged", "staged", "staged"), "", False),
        (("kept", None, None), "keep", True),
        (("withdrawn", None, None), "withdraw", False),
    ],
)
def test_an_undo_that_was_killed_is_gone_on_with(phases, action, done):
    decided = decide(phases, wants_undo=True, undo=True)
    assert (decided["action"], decided["done"]) == (action, done)


def test_a_node_that_was_restored_alone_is_no_matter_of_the_others():
    found = {"a": left("exchanged", "a", together=()), "b": None}
    assert plan_leftovers(found, NODES, WANTED)["action"] == "withdraw"
    assert plan_leftovers({"a": found["a"]}, NODES, WANTED)["action"] == ""


def test_all_who_take_part_must_be_there():
    found = {"a": left("proven", "a"), "b": left("kept", "b")}
    with pytest.raises(OpsError, match="a, b together with n@c has not ended.*erlmcp_backup_restore_lost"):
        plan_leftovers(found, NODES, WANTED)
    assert plan_leftovers(found, NODES, WANTED, lost=["c"])["action"] == "keep"
    found = {"a": left("proven", "a", undo=True)}
    with pytest.raises(OpsError, match="run the playbook restore with erlmcp_backup_restore_undo: true on all of them"):
        plan_leftovers(found, NODES, WANTED)


FAILED = {"failed": True, "msg": "n@c is not healthy."}


@pytest.mark.parametrize(
    ("results", "own", "told"),
    [
        ({"c": (FAILED, None)}, "c", "n@c is not healthy"),
        (
            {"a": ({}, {"back": True}), "c": (FAILED, {"back": True})},
            "a",
            "c could not be restored. Every node has back what it had.",
        ),
        (
            {"a": ({}, {"back": True}), "c": (None, None)},
            "a",
            "have back what they had: a. Of these it is not known: c.",
        ),
        (
            {"a": ({}, {"back": True}), "c": ({}, None)},
            "a",
            "c has not answered. These nodes have back what they had: a.",
        ),
        ({"a": ({}, {"failed": True}), "c": (FAILED, None)}, "c", "had: none. Of these it is not known: a, c."),
    ],
    ids=["alone", "all are back", "one is silent", "one was lost", "nobody is back"],
)
def test_only_what_a_node_has_said_is_claimed_of_it(results, own, told):
    assert told in outcome(results, own)
