# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of node_restart. What a restart does to a real node is proven by the scenario ``rolling``."""

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._node.restart import plan


def state(reasons, running=True, healthy=True, **slots):
    return {
        "restart_required": reasons,
        "running": running,
        "health": {"healthy": healthy},
        "release": {"next": slots.get("release")},
        "config": {"next": slots.get("config")},
    }


def test_a_node_that_runs_what_is_on_disk_is_left_alone():
    assert plan(state([])) == ([], [])


def test_a_healthy_node_is_gated_and_drained_before_the_stop():
    reasons, steps = plan(state(["config"], config="set-2"))
    assert reasons == ["config"]
    assert steps == [
        "reload unit definitions",
        "check the other members",
        "drain",
        "stop",
        "switch config to set-2",
        "start",
        "wait until healthy",
    ]


def test_an_unhealthy_node_takes_nothing_away_and_is_not_gated():
    _reasons, steps = plan(state(["config"], healthy=False))
    assert "check the other members" not in steps
    assert "stop" in steps


def test_a_stopped_node_is_started_with_what_waits():
    _reasons, steps = plan(state(["stopped"], running=False, healthy=False, release="1.0.0", config="set-1"))
    assert steps == [
        "reload unit definitions",
        "switch release to 1.0.0",
        "switch config to set-1",
        "start",
        "wait until healthy",
    ]


def test_a_reason_from_outside_restarts_a_node_that_needs_nothing():
    reasons, steps = plan(state([]), ["requested"])
    assert reasons == ["requested"]
    assert "stop" in steps


def test_a_reason_is_named_once():
    assert plan(state(["config"]), ["config"])[0] == ["config"]
