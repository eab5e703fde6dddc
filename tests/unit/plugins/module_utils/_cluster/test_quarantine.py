# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node that leaves had is set aside, with real files; systemctl is a fake."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster import quarantine as quarantine_module
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.quarantine import Quarantine
from ansible_collections.erlmcp.ops.plugins.module_utils._config.admission import check_admitted
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._node.unit import Unit
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._core.killed import killed_everywhere


class FakeRunner:
    """A fake: systemctl does nothing, and what it finds on disk is noted."""

    def __init__(self, host):
        self.host = host
        self.calls = []

    def run(self, argv, **_options):
        self.calls.append((argv[1:], self.host.state()))
        return Completed(0, "", "")


class Host:
    """The files of a node."""

    def __init__(self, root):
        self.root = root
        for directory in ("etc", "home", "data", "units"):
            (root / directory).mkdir(parents=True)
        (root / "data" / "item.DCD").write_text("rows")
        (root / "home" / ".erlang.cookie").write_text("cookie")
        (root / "units" / "erlmcp.service").write_text("[Service]")
        self.runner = FakeRunner(self)

    def quarantine(self, *other_units):
        node = {
            "name": "a@h",
            "service": "erlmcp",
            "config_dir": str(self.root / "etc"),
            "home_dir": str(self.root / "home"),
        }
        options = {"node": node, "data_dir": str(self.root / "data"), "other_units": list(other_units)}
        quarantine = Quarantine(options, Unit("erlmcp", self.runner), self.runner)
        quarantine.definition = str(self.root / "units" / "erlmcp.service")
        return quarantine

    def state(self):
        """What could still bring the node back."""
        unit = self.root / "units" / "erlmcp.service"
        return {
            "noted": (self.root / "etc" / "removed.json").exists(),
            "unit": os.path.lexists(unit) and not os.path.islink(unit),
            "masked": os.path.islink(unit) and os.readlink(unit) == os.devnull,
            "cookie": (self.root / "home" / ".erlang.cookie").exists(),
            "data": (self.root / "data").exists(),
        }


GONE = {"noted": True, "unit": False, "masked": True, "cookie": False, "data": False}


@pytest.fixture(name="host")
def _host(tmp_path):
    return Host(tmp_path)


def leave(host):
    quarantine = host.quarantine()
    quarantine.begin(["b@h"])
    quarantine.finish()


def kept(host):
    """The content of everything that was set aside."""
    (data,) = host.root.glob("data.removed-*")
    (cookie,) = (host.root / "home").glob(".erlang.cookie.removed-*")
    unit = host.root / "units" / "erlmcp.service.removed"
    return [(data / "item.DCD").read_text(), cookie.read_text(), unit.read_text()]


def test_the_unit_is_masked_before_anything_is_moved(host):
    quarantine = host.quarantine("erlmcp-backup.timer")
    quarantine.begin(["b@h"])
    quarantine.finish()
    (disable, first), (reload, second) = host.runner.calls
    assert disable == ["disable", "--now", "erlmcp-backup.timer"]
    assert first == {"noted": True, "unit": True, "masked": False, "cookie": True, "data": True}
    assert reload == ["daemon-reload"]
    assert second == {"noted": True, "unit": False, "masked": True, "cookie": True, "data": True}
    assert host.state() == GONE
    assert kept(host) == ["rows", "cookie", "[Service]"]
    assert os.path.isdir(quarantine.aside)


def test_it_is_noted_who_left_and_a_run_of_site_is_refused(host):
    host.quarantine().begin(["b@h", "c@h"])
    record = json.loads((host.root / "etc" / "removed.json").read_text())
    assert (record["node"], record["survivors"]) == ("a@h", ["b@h", "c@h"])
    with pytest.raises(OpsError, match="a@h has left its cluster .* erlmcp_node_readmit=true"):
        check_admitted(str(host.root / "etc"), readmit=False)
    check_admitted(str(host.root / "etc"), readmit=True)


def test_a_node_that_stays_is_not_noted(host):
    quarantine = host.quarantine()
    quarantine.begin(["b@h"])
    assert quarantine.begun()
    quarantine.withdraw()
    quarantine.withdraw()
    assert not quarantine.begun()
    assert host.state()["unit"]


def test_again_changes_nothing(host):
    leave(host)
    record = (host.root / "etc" / "removed.json").read_text()
    assert not host.quarantine().needed()
    again = host.quarantine()
    again.begin(["c@h"])
    again.finish()
    assert host.state() == GONE
    assert kept(host) == ["rows", "cookie", "[Service]"]
    assert (host.root / "etc" / "removed.json").read_text() == record


@pytest.mark.parametrize("left", ["data", "home/.erlang.cookie", "units/erlmcp.service"])
def test_whatever_is_left_could_come_back(host, left):
    leave(host)
    path = host.root / left
    path.unlink(missing_ok=True)
    path.write_text("")
    assert host.quarantine().needed()


def test_a_departure_that_was_killed_anywhere_is_finished_by_the_next_run(tmp_path):
    states = []
    for host in killed_everywhere(lambda number: Host(tmp_path / str(number)), leave):
        state = host.state()
        states.append(state)
        assert state["cookie"] or state["masked"]
        assert state["data"] or not state["cookie"]
        assert state["noted"] or state["unit"]
        assert state == GONE or host.quarantine().needed()
        leave(host)
        assert host.state() == GONE
        assert kept(host) == ["rows", "cookie", "[Service]"]
        assert not list(host.root.rglob("*.tmp"))
    assert [GONE["data"], True] == sorted({state["data"] for state in states})


def test_the_unit_is_where_systemd_looks_first(host):
    node = {"name": "a@h", "config_dir": "/etc/erlmcp", "home_dir": "/etc/erlmcp/home"}
    options = {"node": node, "data_dir": "/var/lib/erlmcp", "other_units": []}
    unit = Unit("erlmcp", host.runner)
    assert quarantine_module.Quarantine(options, unit, host.runner).definition == "/etc/systemd/system/erlmcp.service"
