# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import getpass
import os
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._backup import drill as drill_module
from ansible_collections.erlmcp.ops.plugins.module_utils._backup.drill import Drill
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="directories are given to the account")

UNIT = '# /etc/systemd/system/erlmcp.service\n[Service]\nExecStart=/x\nEnvironment="A=with blanks"\nLimitNOFILE=7\n'


class FakeSystemd:
    """A fake: says what the unit is, keeps what was laid down for the drill, and that its node has ended."""

    def __init__(self, unit_file, fails=()):
        self.unit_file = unit_file
        self.fails = fails
        self.laid_down = None

    def run(self, argv, **_options):
        verb = argv[1]
        if verb in self.fails:
            return Completed(1, "", f"no {verb}")
        if argv[0] == "journalctl":
            return Completed(0, "error: why it ended\n", "")
        if verb == "start":
            self.laid_down = self.unit_file.read_text()
        answer = {"cat": UNIT, "show": "LoadState=loaded\nActiveState=failed\nMainPID=0\n"}
        return Completed(0, answer.get(verb, ""), "")


@pytest.fixture(name="drill")
def _drill(tmp_path, monkeypatch):
    def init(staging, _spec, _runner, area, _progress):
        staging.area = area

    def fill(staging, *_arguments, **_options):
        staging.area.make()
        return {"node": {"name": "erlmcp@h"}, "tables": []}

    (tmp_path / "units").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(drill_module, "_UNIT_DIR", str(tmp_path / "units"))
    monkeypatch.setattr(drill_module.Staging, "__init__", init)
    monkeypatch.setattr(drill_module.Staging, "fill", fill)
    systemd = FakeSystemd(tmp_path / "units" / "erlmcp-drill.service")
    options = {
        "node": {
            "service": "erlmcp",
            "user": getpass.getuser(),
            "release_name": "erlmcp",
            "run_dir": "/run/erlmcp",
            "config_dir": str(tmp_path / "etc"),
        },
        "data_dir": str(tmp_path / "data"),
        "log_dir": "/var/log/erlmcp",
        "store_dir": str(tmp_path / "store"),
        "run_dir": str(tmp_path / "run"),
        "service": "erlmcp",
        "group": "erlmcp",
        "identity": None,
        "start_timeout_seconds": 5,
        "stop_timeout_seconds": 5,
    }
    return SimpleNamespace(run=lambda: Drill(options, systemd).run(backup()), systemd=systemd, root=tmp_path)


def backup():
    return SimpleNamespace(name="archive", path="/store/archive", beside=None)


def leftovers(drill):
    return [*os.listdir(drill.root / "units"), *(name for name in os.listdir(drill.root) if "drill" in name)]


def test_a_node_that_ends_at_once_is_told_with_its_journal_and_leaves_nothing(drill):
    with pytest.raises(OpsError, match="(?s)archive failed: its node has ended at once.*why it ended") as failure:
        drill.run()
    assert failure.value.kind == "drill"
    assert leftovers(drill) == []


def test_the_node_has_the_settings_of_its_unit_and_those_of_the_drill(drill):
    with pytest.raises(OpsError):
        drill.run()
    lines = drill.systemd.laid_down.splitlines()
    assert lines[lines.index("[Service]") + 1 :][:2] == ['Environment="A=with blanks"', "LimitNOFILE=7"]
    assert "ExecStart=/x" not in lines
    assert {"PrivateNetwork=yes", "ProtectSystem=strict", "Type=exec"} <= set(lines)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("start", "(?s)could not be started: systemctl start erlmcp-drill.service failed: no start.*why it ended"),
        ("cat", "systemctl cat erlmcp.service failed: no cat. Lay the unit down with the playbook site"),
    ],
)
def test_a_node_that_cannot_be_started_leaves_nothing(drill, verb, said):
    drill.systemd.fails = (verb,)
    with pytest.raises(OpsError, match=said):
        drill.run()
    assert leftovers(drill) == []
