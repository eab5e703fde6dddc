# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Runner


def test_input_output_and_status_come_through():
    done = Runner().run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="hello")
    assert (done.rc, done.out, done.err, done.ok) == (3, "hello", "oops\n", False)


def test_the_environment_is_what_is_given(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    out = Runner().run(["env"], env={"HOME": "/nowhere"}).out
    assert "SECRET" not in out
    assert "HOME=/nowhere" in out


def test_a_command_that_hangs_is_ended():
    done = Runner().run(["sleep", "30"], timeout=0.2)
    assert done.rc == 124
    assert "0.2 s" in done.err


def test_a_missing_command_is_named():
    with pytest.raises(OpsError, match="command not found: no-such-command"):
        Runner().run(["no-such-command"])


def test_a_missing_account_is_named():
    with pytest.raises(OpsError, match="account 'no-such-account' does not exist"):
        Runner().run(["true"], account="no-such-account")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_an_account_gets_its_own_identity_and_no_group_of_ours():
    assert Runner().run(["id", "-un"], account="nobody").out == "nobody\n"
    assert Runner().run(["id", "-Gn"], account="nobody").out == "nogroup\n"
