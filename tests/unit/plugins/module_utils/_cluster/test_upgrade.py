# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.upgrade import (
    rollback_problems,
    rollback_version,
    upgrade_problems,
)


def nodes(*running, otp="25"):
    return {f"n{number}": {"running": version, "otp": otp} for number, version in enumerate(running, 1)}


@pytest.mark.parametrize(
    ("running", "goes_on", "refused"),
    [
        (("1.0", "1.0"), False, False),
        (("1.1", "1.0"), False, False),
        (("1.1", None), False, False),
        (("1.1", "1.1"), False, True),
        # A run that was cut off after its last node.
        (("1.1", "1.1"), True, False),
    ],
)
def test_a_release_that_every_node_runs_is_refused(running, goes_on, refused):
    problems = upgrade_problems(nodes(*running), "1.1", "13.1", goes_on)
    assert problems == (["every node runs 1.1 already: name another release"] if refused else [])


@pytest.mark.parametrize(
    ("erts", "otp", "refused"),
    [
        ("13.1.5", "25", False),
        ("15.2", "25", False),
        ("16.0", "25", True),
        ("11.2", "23", False),
        ("11.2", "26", True),
        # Older than the rule by which it could be told, and a node that does not answer.
        ("10.4", "25", False),
        ("16.0", None, False),
    ],
)
def test_releases_of_erlang_that_cannot_be_one_cluster_are_refused(erts, otp, refused):
    problems = upgrade_problems(nodes("1.0", otp=otp), "1.1", erts)
    assert bool(problems) is refused
    assert all(f"n1 runs Erlang/OTP {otp} and release 1.1 brings" in problem for problem in problems)


def slots(*states):
    """Each is current, previous, and whether the node is healthy, which it is by default."""
    keys = ("current", "previous", "healthy")
    return {f"n{number}": dict(zip(keys, (*state, True))) for number, state in enumerate(states, 1)}


@pytest.mark.parametrize(
    "states",
    [
        (("1.1", "1.0"), ("1.1", "1.0")),
        # An upgrade that stopped half-way; the second was put back, the third had its turn never.
        (("1.1", "1.0"), ("1.0", None), ("1.0", "0.9")),
        (("1.1", "1.0", False), ("1.0", None), ("1.0", "0.9")),
        # The first and the second have changed between the two before, and the first does not serve.
        (("1.1", "1.0", False), ("1.0", "1.1")),
        # A rollback that was cut off.
        (("1.0", "1.1"), ("1.1", "1.0", False)),
    ],
)
def test_a_rollback_goes_where_all_nodes_came_from(states):
    assert rollback_version(slots(*states)) == ("1.0", "")


def test_a_rollback_goes_where_the_operator_says():
    assert rollback_version(slots(("1.1", "1.0"), ("1.0", "1.1")), "1.0") == ("1.0", "")


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ((("1.1", "1.0"), ("1.0", "1.1")), "each of 1.0 and 1.1 could be meant"),
        (
            (("1.1", "1.0"), ("1.1", "0.9")),
            "no release in common (n1 is on 1.1, before that 1.0; n2 is on 1.1, before that 0.9)",
        ),
        ((("1.1", None),), "no release in common (n1 is on 1.1, before that none)"),
        ((("1.0", "1.1", False), ("1.1", "1.0", False)), "each of 1.0 and 1.1 could be meant"),
    ],
)
def test_a_rollback_that_is_not_clear_has_to_be_named(states, message):
    version, problem = rollback_version(slots(*states))
    assert version == ""
    assert message in problem
    assert "erlmcp_cluster_rollback_version" in problem


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({}, {}, ""),
        # It crashes: that is why.
        ({"current": "1.1", "healthy": False}, {"missing": ["node1"]}, ""),
        # It has crashed, and was up when it was asked.
        ({"current": "1.1", "missing": ["node2"]}, {"missing": ["node1"]}, ""),
        ({"current": "1.1", "healthy": False}, {"healthy": False}, "n2 is on release 1.0 already and is not healthy"),
        ({"missing": ["node2"]}, {"current": "1.1"}, ""),
        ({"missing": ["node3"]}, {"current": "1.1"}, "n1 does not see, or does not share its tables with, node3"),
    ],
)
def test_a_rollback_that_would_not_mend_the_cluster_is_refused(first, second, refused):
    well = {"current": "1.0", "healthy": True, "detail": "told", "missing": []}
    nodes_now = {"n1": {**well, "name": "node1", **first}, "n2": {**well, "name": "node2", **second}}
    problems = " ".join(rollback_problems(nodes_now, "1.0"))
    assert refused in problems
    assert bool(problems) == bool(refused) == ("erlmcp_cluster_force" in problems)


@pytest.mark.parametrize(
    ("third", "refused"), [({}, False), ({"healthy": False}, True), ({"missing": ["node1", "node2"]}, True)]
)
def test_what_a_run_that_was_cut_off_has_left_is_mended_when_it_is_one_node(third, refused):
    well = {"current": "1.0", "healthy": True, "detail": "told", "missing": ["node2"]}
    second = {**well, "name": "node2", "healthy": False, "missing": []}
    nodes_now = {"n1": {**well, "name": "node1"}, "n2": second, "n3": {**well, "name": "node3", **third}}
    assert bool(rollback_problems(nodes_now, "1.0", cut_off=True)) == refused
    assert rollback_problems(nodes_now, "1.0")
