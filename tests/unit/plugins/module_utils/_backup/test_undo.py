# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last restore is taken back, on real directories: all of it or nothing of it, wherever the run is killed."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from itertools import count
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import restore as module
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import safety, swap
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.spec import SPECS
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.under_way import summary
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.view import Store
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.slots import SlotState

OWN, OTHER = "n@a", "n@b"
COPY = "erlmcp.before-restore-20260101T000000Z"
NOTE = {"replaced_by": "x.tar.zst", "run": "20260101T000000Z", "together": [], "slots": None}


class Killed(BaseException):
    """As by a signal: nothing is cleaned up that a program would have to clean up."""


class FakeUnit:
    name = "erlmcp.service"

    def __init__(self, host):
        self.host = host
        self.running = True

    def state(self):
        return SimpleNamespace(running=self.running, is_laid_down=False)

    def stop(self, _seconds):
        self.running = False

    def start(self, _seconds):
        self.running = True

    def journal(self, _since):
        return ""


class FakeObserver:
    """A node that serves unless its data says that it does not."""

    def __init__(self, host):
        self.node = SimpleNamespace(name=OWN, runner=None)
        # Nothing is in the way of another start.
        self.spec = {"owned_dirs": [], "ports": []}
        self.releases = self.configs = SimpleNamespace(state=SlotState, root="")
        self.unit = host.unit
        self.store = Store("running", members=host.members, running=host.members)
        self.host = host

    def observe(self):
        serves = self.unit.running and self.host.data() not in self.host.bad
        return {
            "name": OWN,
            "pid": 1,
            "members": list(self.host.members),
            "health": {"healthy": serves, "detail": "why"},
            "distribution_error": None,
            "epmd_error": None,
            "unit": {"active": "active", "automatic_restarts": 0},
        }

    def gave_up(self, state):
        return not state["health"]["healthy"]

    def waited(self, _state, _seconds):
        return "at once"


class Host:
    """Data that a restore brought, and beside it what that has replaced."""

    def __init__(self, path):
        self.path = path
        self.members = (OWN,)
        self.bad = ()
        self.unit = FakeUnit(self)
        self.fill("erlmcp", "restored")
        self.fill(COPY, "before")
        self.note(NOTE)

    def fill(self, name, text):
        (self.path / name).mkdir()
        (self.path / name / "file").write_text(text)

    def note(self, noted):
        (self.path / f"{COPY}.json").write_text(json.dumps(noted))

    def data(self):
        return (self.path / "erlmcp" / "file").read_text()

    def everything(self):
        return {path.name: (path / "file").read_text() for path in self.path.iterdir() if path.is_dir()}

    def do(self, state, check=False, **options):
        given = {
            "node": {"name": OWN},
            "health": {"settle_seconds": 0},
            "data_dir": str(self.path / "erlmcp"),
            "store_dir": str(self.path / "store"),
            "run_dir": str(self.path.parent / "run"),
            "state": state,
            **options,
        }
        params = {name: given.get(name, spec.get("default")) for name, spec in SPECS["restore"].items()}
        return module.restore(SimpleNamespace(params=params, check_mode=check), None)


@pytest.fixture(name="host")
def _host(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    host = Host(tmp_path / "lib")
    times = count(1)
    monkeypatch.setattr(module, "_utc_now", lambda: f"20260102T{next(times):06}Z")
    monkeypatch.setattr(module, "Observer", lambda *_arguments: FakeObserver(host))
    monkeypatch.setattr(
        module, "prove", lambda _node, state, _wanted: ({}, [] if state["health"]["healthy"] else ["no"])
    )
    return host


def reverted(host):
    return next(name for name in host.everything() if name.startswith("erlmcp.reverted-"))


def test_what_a_restore_replaced_is_back_and_what_it_brought_is_kept(host):
    done = host.do("reverted")
    assert host.everything() == {"erlmcp": "before", reverted(host): "restored"}
    assert done["safety_copy"] == str(host.path / reverted(host))
    assert json.loads((host.path / f"{reverted(host)}.json").read_text())["replaced_by"] == COPY
    assert not (host.path / f"{COPY}.json").exists()
    assert host.unit.running


def test_an_undo_is_undone_by_the_next_one(host):
    host.do("reverted")
    host.do("reverted")
    assert host.everything() == {"erlmcp": "restored", reverted(host): "before"}


def test_a_node_that_does_not_serve_with_it_has_what_it_had(host):
    host.bad = ("before",)
    was = host.everything()
    with pytest.raises(OpsError, match="The old state is back and serving"):
        host.do("reverted")
    assert host.everything() == was
    assert (host.path / f"{COPY}.json").exists()


def test_a_disk_that_fails_while_the_node_is_stopped_leaves_it_with_what_it_had(host, monkeypatch):
    was, carry_out = host.everything(), module.Swap.carry_out
    failing = [OSError(5, "Input/output error", "/var/lib/erlmcp")]

    def carry_out_later(swap):
        if failing:
            assert not host.unit.running
            raise failing.pop()
        carry_out(swap)

    monkeypatch.setattr(module.Swap, "carry_out", carry_out_later)
    with pytest.raises(OpsError, match="/var/lib/erlmcp: Input/output error.*\nThe old state is back and serving"):
        host.do("reverted")
    assert host.everything() == was
    assert host.unit.running


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("members", "together"), [((OWN, OTHER), []), ((OWN,), [OWN, OTHER])], ids=["now", "when it was restored"]
)
def test_tables_that_others_have_too_are_not_taken_back_alone(host, check, members, together):
    host.members = members
    host.note({**NOTE, "together": together})
    was = host.everything()
    with pytest.raises(OpsError, match=f"shares its tables with {OTHER}, .*, with erlmcp_backup_restore_undo: true"):
        host.do("reverted", check)
    assert host.everything() == was
    assert host.unit.running


def test_without_anything_to_be_taken_back_archives_are_named(host):
    (host.path / COPY).rename(host.path / "elsewhere")
    with pytest.raises(OpsError, match="erlmcp-ops list"):
        host.do("reverted")


def test_a_restore_that_has_not_ended_is_ended_first(host):
    work = host.path / ".erlmcp.restore"
    work.mkdir()
    (work / "state.json").write_text(json.dumps({"phase": "exchanged", "archive": "x", "together": []}))
    with pytest.raises(OpsError, match="a restore of x has not ended .* run the same restore again"):
        host.do("reverted")


ALL = {"undo": True, "together": [OWN, OTHER], "archive": COPY, "run": "20260102T000000Z"}
FORWARD = ("staged", "exchanged", "started", "proven", "kept", "finished")


def together(host, *states):
    for state in states:
        host.do(state, **({} if state in ("kept", "finished", "withdrawn", "resumed") else ALL))


def test_several_nodes_take_each_step_together(host):
    host.members = (OWN, OTHER)
    together(host, "staged")
    assert host.unit.running
    assert host.data() == "restored"
    assert summary(str(host.path / "erlmcp")) == {
        "phase": "staged",
        "archive": COPY,
        "undo": True,
        "together": [OWN, OTHER],
        "run": "20260102T000000Z",
    }
    together(host, *FORWARD[1:])
    assert host.everything() == {"erlmcp": "before", reverted(host): "restored"}
    noted = json.loads((host.path / f"{reverted(host)}.json").read_text())
    assert (noted["run"], noted["together"]) == ("20260102T000000Z", [OWN, OTHER])


@pytest.mark.parametrize("last", range(1, 5))
def test_when_another_node_does_not_serve_all_is_as_it_was(host, last):
    was = host.everything()
    together(host, *FORWARD[:last], "withdrawn", *(["resumed"] * (last > 1)))
    assert host.everything() == was
    assert host.unit.running


def killed_at(monkeypatch, moment):
    """Let the run be killed before its change of this number to the disk: it makes none from there on."""
    made = count(1)

    def counted(change):
        def change_or_die(*arguments, **options):
            if next(made) >= moment:
                raise Killed
            return change(*arguments, **options)

        return change_or_die

    for where, name in ((module, "write_atomically"), (swap, "write_atomically"), (swap, "exchange"), (os, "rename")):
        monkeypatch.setattr(where, name, counted(getattr(where, name)))


@pytest.mark.parametrize("way", ["alone", "forward", "back"])
@pytest.mark.parametrize("moment", range(1, 25))
def test_wherever_it_is_killed_the_next_run_ends_it(host, monkeypatch, moment, way):
    before = host.everything()
    steps = {"forward": FORWARD, "back": (*FORWARD[:3], "withdrawn", "resumed")}.get(way)
    left = list(steps or ["reverted"])

    def go_on():
        while left:
            together(host, left[0]) if steps else host.do(left[0])
            left.pop(0)

    with monkeypatch.context() as patched, suppress(Killed):
        killed_at(patched, moment)
        go_on()
    go_on()
    after = {"erlmcp": "before", **{name: "restored" for name in host.everything() if "reverted" in name}}
    assert host.everything() == (before if way == "back" else after)
    assert host.unit.running
    assert summary(str(host.path / "erlmcp")) is None
    assert safety.SafetyCopies(str(host.path / "erlmcp")).leftovers() == []
