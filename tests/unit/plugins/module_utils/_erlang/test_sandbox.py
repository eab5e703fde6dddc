# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.sandbox import sandboxed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes units")
def test_who_asks_is_run_by_the_command_that_the_role_lays_down(tmp_path):
    (tmp_path / "mine-sandbox").write_text("")
    command = sandboxed("mine", ["erl", "-eval", "$a."], {"HOME": "/home"}, 15, directory=str(tmp_path))
    assert command == [
        *(f"{tmp_path}/mine-sandbox", "--pipe", "-p", "RuntimeMaxSec=15", "-E", "HOME=/home"),
        *("erl", "-eval", "$$a."),
    ]


def test_before_the_role_ran_there_is_no_sandbox(tmp_path):
    assert sandboxed("mine", ["erl"], {}, 15, directory=str(tmp_path)) is None
