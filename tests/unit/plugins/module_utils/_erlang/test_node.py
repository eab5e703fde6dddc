# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._core.runner import Completed
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node


class FakeRunner:
    """Answers each question with ``ok`` and keeps the command."""

    def run(self, argv, **_options):
        self.argv = argv
        return Completed(0, '{ok, "ok"}', "")


@pytest.mark.parametrize(
    ("vm_args", "place"),
    [
        (None, ["-name", "erlmcp@127.0.0.1"]),
        ("-name erlmcp@127.0.0.1\n-start_epmd false\n", ["-name", "erlmcp@127.0.0.1"]),
        ("-name erlmcp@127.0.0.1\n-erl_epmd_port 9100\n", ["-address", "127.0.0.1:9100"]),
        ("# -erl_epmd_port 9100\n", ["-name", "erlmcp@127.0.0.1"]),
    ],
    ids="fresh epmd no_epmd comment".split(),
)
def test_a_node_without_epmd_is_looked_for_on_its_port(tmp_path, vm_args, place):
    erl_call = tmp_path / "current" / "erts-1" / "bin" / "erl_call"
    erl_call.parent.mkdir(parents=True)
    erl_call.touch()
    if vm_args is not None:
        (tmp_path / "vm.args").write_text(vm_args)
    spec = {"name": "erlmcp@127.0.0.1", "name_type": "long", "user": "x", "home_dir": "/", "install_dir": str(tmp_path)}
    runner = FakeRunner()
    assert Node({**spec, "config_dir": str(tmp_path)}, runner).evaluate("ok") == "ok"
    assert runner.argv == [str(erl_call), "-R", *place, "-timeout", "10", "-e"]
