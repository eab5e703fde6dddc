# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module hands to Ansible: its result, its warnings by the way that lasts, and one error."""

from __future__ import annotations

import os

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.plugins.module_utils._core.module import run


class Ended(Exception):
    pass


class FakeModule:
    """A fake: an ``AnsibleModule`` that notes how it was ended."""

    def __init__(self):
        self.warnings = []
        self.warn = self.warnings.append

    def exit_json(self, **result):
        self.result = result

    def fail_json(self, **result):
        self.result = result
        raise Ended


def test_warnings_are_no_key_of_the_result():
    module = FakeModule()
    run(module, lambda _module: {"changed": False, "warnings": ["one", "two"]})
    assert (module.result, module.warnings) == ({"changed": False}, ["one", "two"])


def test_the_umask_of_a_login_decides_nothing(tmp_path):
    before = os.umask(0o077)
    try:
        run(FakeModule(), lambda _module: os.makedirs(tmp_path / "srv/apps") or {})
    finally:
        os.umask(before)
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("srv", "srv/apps")] == ["0o755"] * 2


@pytest.mark.parametrize("error", [OpsError("no", kind="input"), PermissionError(13, "no", "/etc/x")])
def test_a_refusal_is_one_error(error):
    def refuse(_module):
        raise error

    module = FakeModule()
    with pytest.raises(Ended):
        run(module, refuse)
    assert "no" in module.result["msg"].lower() or "/etc/x" in module.result["msg"]
    assert module.result["failure"]["kind"]
