# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is not the account's below its directories, and the command that gives it back, run as it is told."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._node.around import look_around

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


class FakeSystemd:
    """A fake: every unit is as the test says."""

    def __init__(self, active):
        self.active = active

    def run(self, _argv, **_options):
        return Completed(0, f"ActiveState={self.active}\nResult=exit-code\n", "")


def look(*directories, user="nobody", services=(), active="inactive"):
    warned = []
    node = {"name": "a@h", "user": user}
    params = {"node": node, "owned_dirs": [*map(str, directories)], "watched_services": [*services]}
    texts = look_around(SimpleNamespace(params=params, warn=warned.append), FakeSystemd(active))
    assert warned == texts
    return texts


@pytest.fixture(name="data")
def _data(tmp_path):
    """A directory of the account, with what root may have there."""
    for name in ("mnesia", "lost+found", ".erlmcp-spool/below"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data/mnesia/item.DCD").touch()
    (tmp_path / "data/link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").touch()
    for name in ("mnesia", "mnesia/item.DCD", "link"):
        os.lchown(tmp_path / "data" / name, 65534, 65534)
    return tmp_path / "data"


@ROOT_ONLY
def test_what_the_account_owns_and_what_is_roots_is_not_told_of(data):
    assert look(data, data / "missing") == []
    assert look(data, user="no such account") == []


@ROOT_ONLY
def test_what_somebody_else_owns_is_named_and_the_command_gives_it_back(data):
    for number in range(4):
        (data / f"mnesia/restored {number}\n").touch()
    os.lchown(data / "link", 0, 0)
    (text,) = look(data)
    first = f"{data}/link (root:root), {data}/mnesia/restored 0\\x0a (root:root)"
    assert text.startswith(f"a@h: {first}, ")
    assert " and 2 more is not owned by nobody" in text
    subprocess.run(["sh", "-c", text.partition("Give it back: ")[2]], check=True)
    assert look(data) == []
    assert (data.parent / "outside").stat().st_uid == 0
    assert (data / ".erlmcp-spool/below").stat().st_uid == 0


@ROOT_ONLY
def test_no_more_is_looked_at_than_is_bearable(data, monkeypatch):
    (data / "mnesia/restored").touch()
    monkeypatch.setattr(f"{look_around.__module__}._LOOKED_AT", 2)
    assert look(data) == []


def test_a_service_that_has_failed_is_named():
    assert look(services=["logrotate"]) == []
    (text,) = look(services=["logrotate"], active="failed")
    assert text.startswith("a@h: logrotate.service has failed (exit-code): journalctl -u logrotate.service tells why.")
    assert text.endswith("systemctl start logrotate.service")
