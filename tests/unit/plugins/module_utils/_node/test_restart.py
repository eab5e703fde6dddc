# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of node_restart, and its way back. A restart of a real node is proven by the scenario ``rolling``."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.under_way import work_directory
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.view import RUNNING, Store, Table
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import Slots, SlotState
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Unreachable
from ansible_collections.erlmcp.ops.plugins.module_utils._node.observe import Observer
from ansible_collections.erlmcp.ops.plugins.module_utils._node.restart import Restart, plan, refuse_half_restored
from ansible_collections.erlmcp.ops.plugins.module_utils._node.unit import UnitState
from ansible_collections.erlmcp.ops.plugins.module_utils._release.proof import RECORD


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


# A restart, with real slots and a fake node that serves with what the test says it serves with


class FakeUnit:
    """A fake: notes what was done, and with which release."""

    name = "erlmcp.service"

    def __init__(self, releases):
        self.releases = releases
        self.done = []

    def state(self):
        return UnitState()

    def reload_definitions(self):
        self.done.append("reload")

    def start(self, _timeout):
        self.done.append(f"start {self.releases.state().current}")

    def stop(self, _timeout):
        self.done.append("stop")

    def journal(self, _since):
        return "why"


class FakeObserver:
    """A fake: a node that is healthy with some pairs of release and config."""

    gave_up = staticmethod(Observer.gave_up)
    waited = staticmethod(Observer.waited)
    health_options: ClassVar = {"settle_seconds": 0}

    def __init__(self, root, serves):
        self.serves = serves
        self.releases = Slots(str(root), "releases")
        self.configs = Slots(str(root / "etc"), "sets")
        (root / "etc").mkdir()
        self.unit = FakeUnit(self.releases)
        self.node = SimpleNamespace(name="a@h", evaluate=lambda *_question, **_options: [], runner=None)
        # Nothing is in the way of another start.
        self.spec = {
            "user": getpass.getuser(),
            "service": "no-such-erlmcp",
            "home_dir": str(root),
            "owned_dirs": [],
            "ports": [],
        }
        cookie = root / ".erlang.cookie"
        cookie.write_text("cookie")
        cookie.chmod(0o400)
        self.store = Store(RUNNING, ("a@h", "b@h"), ("a@h", "b@h"), "/d", {})
        for slots, name in ((self.releases, "1"), (self.configs, "one")):
            slots.stage(name)
            slots.activate()
        self.running_release = "1"
        self.uptime = 1
        self.members = ["a@h"]
        self.silence = None
        # What is another way when it is looked at again.
        self.later = {}

    def observe(self):
        release, config = self.releases.state(), self.configs.state()
        healthy = (release.current, config.current) in self.serves
        return {
            "name": "a@h",
            "running": True,
            "pid": 42,
            "unit": {"active": "active" if healthy else "failed", "automatic_restarts": 0},
            "health": {"healthy": healthy, "detail": f"{release.current} with {config.current}"},
            "figures": {"uptime_seconds": self.uptime},
            "release": {"running": self.running_release, **vars(release)},
            "config": vars(config),
            "members": self.members,
            "store": self.store.summary(),
            "distribution_error": self.silence,
            "epmd_error": None,
        }

    def runs_with_its_config(self):
        return True

    def observe_until(self, _good, _timeout):
        self.members = self.later.get("members", self.members)
        return {**self.observe(), **self.later}

    def restart(self, **options):
        options = {
            "drain": {"start": None, "undo": None, "count": None, "timeout_seconds": 0},
            "gate": True,
            "application": "erlmcp",
            "members": [],
            "ports": [],
            "revert": True,
            "start_timeout_seconds": 5,
            "stop_timeout_seconds": 5,
            **options,
        }
        return Restart(self, options).apply(self.observe())


@pytest.fixture(name="observer")
def _observer(tmp_path):
    return FakeObserver(tmp_path, {("1", "one")})


def test_a_node_that_ends_while_it_is_told_of_its_peers_is_looked_at_again(observer):
    def evaluate(*_question, **_options):
        observer.serves = set()
        raise Unreachable("a@h does not answer")

    observer.node.evaluate = evaluate
    observer.health_options = {"settle_seconds": 1}
    observer.releases.stage("2")
    observer.serves = {("2", "one")}
    with pytest.raises(OpsError, match=r"a@h is not healthy: 2 with one \(its unit has failed\)"):
        observer.restart(members=["a@h", "b@h"], gate=False, revert=False)


def test_a_release_and_a_config_that_do_not_serve_are_put_back(observer):
    observer.releases.stage("2")
    observer.configs.stage("two")
    with pytest.raises(OpsError, match="(?s)put back on release 1 and serves again. .*2 with two") as failure:
        observer.restart()
    assert failure.value.kind == "reverted"
    assert "revert_config" not in str(failure.value)
    assert (observer.releases.state(), observer.configs.state()) == (SlotState("1"), SlotState("one"))
    assert observer.unit.done == ["reload", "stop", "start 2", "stop", "start 1"]


def test_a_config_that_was_not_switched_stays(observer):
    for name in ("two", "one"):
        observer.configs.stage(name)
        observer.configs.activate()
    observer.releases.stage("2")
    with pytest.raises(OpsError, match="put back on release 1"):
        observer.restart()
    assert observer.configs.state() == SlotState("one", previous="two")


def test_a_release_that_was_not_switched_stays(observer):
    for name in ("2", "1"):
        observer.releases.stage(name)
        observer.releases.activate()
    observer.configs.stage("two")
    with pytest.raises(OpsError, match="put back on the config before and serves again"):
        observer.restart()
    assert observer.releases.state() == SlotState("1", previous="2")
    assert observer.configs.state() == SlotState("one")


@pytest.mark.parametrize("running", [None, "2"], ids=["stopped", "started without success"])
def test_a_release_that_a_killed_run_switched_to_is_put_back(observer, running):
    observer.releases.stage("2")
    observer.releases.activate()
    observer.running_release = running
    with pytest.raises(OpsError, match="put back on release 1 and serves again"):
        observer.restart()


def test_what_does_not_serve_with_the_old_release_either_is_told(observer):
    observer.serves = set()
    observer.releases.stage("2")
    with pytest.raises(OpsError, match="(?s)put back on release 1, with which .* either: .*1 with one.*2 with one"):
        observer.restart()
    assert observer.releases.state() == SlotState("1")


def test_where_nothing_ran_before_there_is_only_the_failure(tmp_path, observer):
    observer.serves = set()
    with pytest.raises(OpsError, match="1 with one") as failure:
        observer.restart()
    assert failure.value.kind == "health"
    assert "put back" not in str(failure.value)
    assert observer.unit.done == ["reload", "stop", "start 1"]


def test_unless_asked_nothing_is_put_back(observer):
    observer.releases.stage("2")
    observer.configs.stage("two")
    with pytest.raises(OpsError, match="The previous config one is kept: run the playbook revert_config"):
        observer.restart(revert=False)
    assert observer.releases.state() == SlotState("2", previous="1")


# A release that a node was healthy with is noted


@pytest.fixture(name="proven")
def _proven(tmp_path):
    """Return which releases are noted as healthy; records for all are there."""
    for name in "12":
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / RECORD).write_text('{"proven": false}')

    def proven():
        return [name for name in "12" if json.loads((tmp_path / "releases" / name / RECORD).read_text())["proven"]]

    return proven


def test_after_a_restart_it_is_noted(observer, proven):
    observer.serves.add(("2", "one"))
    observer.running_release = None
    observer.releases.stage("2")
    observer.restart()
    assert proven() == ["2"]


def test_what_was_tried_and_put_back_is_not_noted(observer, proven):
    observer.releases.stage("2")
    with pytest.raises(OpsError, match="put back"):
        observer.restart()
    assert proven() == ["1"]


@pytest.mark.parametrize(("uptime", "running", "noted"), [(9, "1", True), (8, "1", False), (9, "0", False)])
def test_before_a_restart_what_a_killed_run_has_not_noted_is(observer, proven, uptime, running, noted):
    observer.health_options = {"settle_seconds": 9}
    observer.uptime, observer.running_release = uptime, running
    observer.unit.reload_definitions = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        observer.restart()
    assert proven() == (["1"] if noted else [])


def shared(*nodes, running=("a@h", "b@h")):
    tables = {"item": Table(dict.fromkeys(nodes, "disc_copies"))}
    return Store(RUNNING, ("a@h", "b@h"), running, "/d", tables)


def test_no_node_is_taken_down_while_its_tables_are_split(observer):
    observer.store = shared("a@h", "b@h", running=("a@h",))
    with pytest.raises(OpsError, match="a@h is left running, .* b@h is taken for down by its tables"):
        observer.restart()
    assert "stop" not in observer.unit.done


def test_the_last_running_copy_of_a_table_is_not_taken_down(observer):
    observer.store = shared("a@h")
    with pytest.raises(OpsError, match="a@h is left running, because no other node that runs has a copy of item"):
        observer.restart()
    assert "stop" not in observer.unit.done
    observer.restart(gate=False)


@pytest.mark.parametrize(
    "store",
    [
        shared("a@h", "b@h"),
        shared("b@h"),
        Store(RUNNING, ("a@h",), ("a@h",), "/d", {"item": Table({"a@h": "disc_copies"})}),
    ],
    ids=["another has one", "others have it", "nobody else"],
)
def test_a_node_that_may_go_is_restarted(observer, store):
    observer.store = store
    observer.restart()
    assert observer.unit.done == ["reload", "stop", "start 1"]


def test_a_node_that_has_just_started_may_find_the_others_first(observer):
    with pytest.raises(OpsError, match="a@h is left running, .* b@h is not connected"):
        observer.restart(members=["a@h", "b@h"], ports=[])
    observer.later = {"members": ["a@h", "b@h"]}
    observer.restart(members=["a@h", "b@h"], ports=[])
    assert observer.unit.done[-2:] == ["stop", "start 1"]


def test_a_node_that_cannot_be_asked_does_not_blame_the_others(observer):
    observer.silence = "no erl_call"
    with pytest.raises(OpsError, match="a@h is left running, because it cannot be asked how .*: no erl_call"):
        observer.restart(members=["a@h", "b@h"], ports=[])
    assert "stop" not in observer.unit.done
    observer.restart(members=["a@h"], ports=[])


def test_a_node_that_crashes_before_it_is_judged_is_not_kept_up(observer):
    observer.later = {"health": {"healthy": False, "detail": "it has crashed"}}
    observer.restart(members=["a@h", "b@h"], ports=[])
    assert observer.unit.done == ["reload", "stop", "start 1"]


@pytest.mark.parametrize(
    ("phase", "refused"), [(None, False), ("staged", False), ("exchanged", True), ("proven", True), ("withdrawn", True)]
)
def test_a_node_is_not_started_in_the_middle_of_a_restore(tmp_path, phase, refused):
    data_dir = str(tmp_path / "data")
    if phase:
        work = Path(work_directory(data_dir))
        work.mkdir()
        (work / "state.json").write_text(json.dumps({"phase": phase, "archive": "x", "together": ["a@h", "b@h"]}))
    if not refused:
        refuse_half_restored(data_dir, "a@h")
        return
    with pytest.raises(OpsError, match=f"restore of a@h, b@h has not ended, and is {phase} on a@h.*playbook restore"):
        refuse_half_restored(data_dir, "a@h")
