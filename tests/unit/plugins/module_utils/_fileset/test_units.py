# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is done to units when their files change."""

from __future__ import annotations

from ansible_collections.erlmcp.ops.plugins.module_utils._fileset.units import (
    UnitNow,
    UnitPlan,
    Units,
    defined_units,
    plan_units,
)
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._fileset.fake_systemd import FakeSystemd

TIMER, SERVICE = "/etc/systemd/system/a.timer", "/etc/systemd/system/a.service"
ACTIVE, INACTIVE = {"a.timer": UnitNow(running=True)}, {"a.timer": UnitNow()}


def test_nothing_is_done_when_no_unit_is_named():
    assert plan_units([], [], [TIMER], {}) == UnitPlan()


def test_a_unit_that_runs_unchanged_is_left_alone():
    plan = plan_units(["a.timer"], [], ["/etc/other"], ACTIVE)
    assert (plan, plan.changes) == (UnitPlan(), False)


def test_a_unit_is_restarted_for_its_own_file_and_drop_in_only():
    assert plan_units(["a.timer"], [], [TIMER], ACTIVE) == UnitPlan(reload=True, restart=["a.timer"])
    assert plan_units(["a.timer"], [], [f"{TIMER}.d/x.conf"], ACTIVE).restart == ["a.timer"]
    assert plan_units(["a.timer"], [], [SERVICE, f"{TIMER}s"], ACTIVE) == UnitPlan(reload=True)


def test_a_unit_that_does_not_run_is_started_not_restarted():
    assert plan_units(["a.timer"], [], [TIMER], INACTIVE) == UnitPlan(reload=True, start=["a.timer"])


def test_what_a_run_that_was_cut_off_left_is_done_by_the_next():
    outdated = {"a.timer": UnitNow(running=True, outdated=True)}
    assert plan_units(["a.timer"], [], [], outdated) == UnitPlan(reload=True, restart=["a.timer"])
    other = {**ACTIVE, "a.service": UnitNow(outdated=True)}
    assert plan_units(["a.timer"], [], [], other) == UnitPlan(reload=True)


def test_a_unit_is_stopped_when_it_runs():
    assert plan_units([], ["a.timer"], [], ACTIVE) == UnitPlan(stop=["a.timer"])
    assert plan_units([], ["a.timer"], [], INACTIVE) == UnitPlan()


def test_a_unit_that_another_one_calls_for_is_started_and_left_to_that_one_otherwise():
    def plan(now, other, changed=()):
        return plan_units([], [], [*changed], {"a.timer": now, "b.service": other}, {"a.timer": "b.service"})

    runs, stands, old = UnitNow(running=True), UnitNow(), UnitNow(outdated=True)
    assert plan(stands, runs) == UnitPlan(start=["a.timer"])
    assert plan(old, runs) == plan(stands, runs, [TIMER]) == UnitPlan(reload=True, start=["a.timer"])
    assert plan(stands, stands) == plan(runs, runs, [TIMER]) == plan(old, stands) == UnitPlan()


def test_units_of_the_set_are_known_by_their_files():
    entries = [
        {"path": TIMER, "state": "file"},
        {"path": f"{SERVICE}.d/x.conf", "state": "file"},
        {"path": "/etc/systemd/system/timers.target.wants/a.timer", "state": "link"},
    ]
    assert defined_units(entries) == ["a.timer"]


def test_units_are_looked_at_in_one_call_and_handled_in_order():
    systemd = FakeSystemd({"a.timer": ("active", False), "b.service": ("activating", True)})
    units = Units(systemd)
    assert units.observe(["b.service", "a.timer"], ["c.service"]) == {
        "a.timer": UnitNow(running=True),
        "b.service": UnitNow(running=True, outdated=True),
        "c.service": UnitNow(),
    }
    units.apply(UnitPlan(reload=True, start=["a.timer"], restart=["b.service"], stop=["d.timer"]))
    assert [each[0] for each in systemd.did] == ["daemon-reload", "stop", "start", "try-restart"]
