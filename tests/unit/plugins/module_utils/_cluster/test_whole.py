# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.whole import cluster_problems, turn

WELL = {
    "healthy": True,
    "detail": "told",
    "epmd_error": None,
    "missing_members": [],
    "not_sharing": [],
    "in_the_way": [],
}


def cluster(**states):
    return {host: {**WELL, "name": f"node-{host}", **state} for host, state in states.items()}


DOWN = {"healthy": False, "missing_members": ["node-a", "node-c"]}
ALONE = {"missing_members": ["node-b"], "not_sharing": ["node-b"]}


@pytest.mark.parametrize("resumes", [False, True])
def test_a_whole_cluster_has_no_problems(resumes):
    assert cluster_problems(cluster(a={}, b={}, c={}), resumes) == {}


def test_what_is_wrong_is_told_of_each_node():
    assert cluster_problems(
        cluster(a=ALONE, b={"healthy": False}, c={"epmd_error": "it is silent", "in_the_way": ["full", "lost"]})
    ) == {
        "a": "node-a does not see node-b, does not share its tables with node-b",
        "b": "node-b is not healthy (told)",
        "c": "node-c cannot be found by others: it is silent, could not start again: full; lost",
    }


@pytest.mark.parametrize(
    ("states", "refused"),
    [
        # Stopped between two steps; up again, and not seen yet.
        ({"a": ALONE, "b": DOWN, "c": ALONE}, False),
        ({"a": ALONE, "b": {"missing_members": ["node-a"]}, "c": ALONE}, False),
        # Something else is wrong too: the next node must not be taken down.
        ({"a": ALONE, "b": DOWN, "c": {"healthy": False}}, True),
        ({"a": {"not_sharing": ["node-c"]}, "b": DOWN, "c": {}}, True),
        ({"a": {"missing_members": ["node-b", "node-c"]}, "b": DOWN, "c": ALONE}, True),
    ],
)
def test_a_run_that_was_cut_off_has_left_one_node_in_any_state_and_no_more(states, refused):
    assert bool(cluster_problems(cluster(**states), resumes=True)) == refused
    assert cluster_problems(cluster(**states))


@pytest.mark.parametrize(
    ("node", "version", "resumed_seconds", "expected"),
    [
        ({}, "1.1", None, "due"),
        ({"running": "1.1"}, "1.1", None, "due"),
        ({"running": "1.1", "current": "1.1"}, "1.1", None, "done"),
        ({"running": None, "healthy": False}, "1.1", None, "first"),
        ({"healthy": False}, None, 100, "first"),
        ({}, None, None, "due"),
        ({}, None, 100, "done"),
        ({}, None, 5, "due"),
        # It serves, and does not answer over distribution.
        ({"uptime_seconds": None}, None, 100, "due"),
    ],
)
def test_whose_turn_comes(node, version, resumed_seconds, expected):
    state = {"healthy": True, "running": "1.0", "current": "1.0", "uptime_seconds": 10, **node}
    assert turn(state, version, resumed_seconds) == expected
