# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.scratch import scratch

KILLED = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from ansible_collections.erlmcp.ops.plugins.module_utils._core.scratch import scratch
with scratch("look", sys.argv[1]) as directory:
    os.mkdir(os.path.join(directory, "below"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_private_and_gone_afterwards(tmp_path):
    with scratch("look", str(tmp_path)) as directory:
        assert os.stat(directory).st_mode & 0o777 == 0o700
        (tmp_path / directory / "file").write_text("")
    with pytest.raises(OSError, match="what happened"), scratch("look", str(tmp_path)):
        raise OSError("what happened")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_what_one_uses_is_not(tmp_path):
    (tmp_path / "look-for-something").mkdir()
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False).returncode == -9
    (left,) = tmp_path.glob("look-[0-9]*")
    with scratch("look", str(tmp_path)) as first, scratch("look", str(tmp_path)) as second:
        assert not left.exists()
        assert os.path.isdir(first)
        assert os.path.isdir(second)
    assert [path.name for path in tmp_path.iterdir()] == ["look-for-something"]
