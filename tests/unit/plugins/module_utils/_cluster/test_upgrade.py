# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.upgrade import rollback_version, upgrade_problems
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


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


def slots(*pairs):
    return {f"n{number}": dict(zip(("current", "previous"), pair)) for number, pair in enumerate(pairs, 1)}


def test_a_rollback_goes_where_all_nodes_came_from():
    assert rollback_version(slots(("1.1", "1.0"), ("1.1", "1.0"))) == "1.0"
    assert rollback_version(slots(("1.1", "1.0"), ("1.0", "1.1")), "1.0") == "1.0"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ((("1.1", "1.0"), ("1.0", "1.1")), "the nodes are on 1.0 and 1.1, as after a change that was cut off"),
        ((("1.1", "1.0"), ("1.1", "0.9")), r"do not have one release before 1.1 \(n1: 1.0; n2: 0.9\)"),
        ((("1.1", None),), r"do not have one release before 1.1 \(n1: none\)"),
    ],
)
def test_a_rollback_that_is_not_clear_has_to_be_named(pairs, message):
    with pytest.raises(OpsError, match=f"{message}.*erlmcp_cluster_rollback_version"):
        rollback_version(slots(*pairs))
