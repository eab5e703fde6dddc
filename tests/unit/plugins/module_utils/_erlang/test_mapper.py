# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real epmd is asked for a node that is registered there, and for one that is not."""

from __future__ import annotations

import signal
import socket

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.distribution import distribution_of
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.mapper import mapper_problem
from ansible_collections.erlmcp.ops.plugins.module_utils._erlang.node import Node, Unreachable
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import (
    free_port,
    private_erlang,
)

UNIT = "erlmcp-epmd.service"


def problem(port, flags=b"-name a@127.0.0.1\n", name="a@127.0.0.1"):
    return mapper_problem(distribution_of(flags, f"ERL_EPMD_PORT='{port}'".encode()), name, UNIT)


def test_a_node_is_found_while_it_is_registered(tmp_path):
    with private_erlang(tmp_path) as erlang, erlang.node("a@127.0.0.1", tmp_path / "mnesia"):
        assert problem(erlang.port) is None
        assert f"epmd on port {erlang.port} does not know b@127.0.0.1" in problem(erlang.port, name="b@127.0.0.1")
    silent = problem(erlang.port)
    assert f"epmd does not answer on port {erlang.port} (Connection refused)" in silent
    assert f"systemctl restart {UNIT}" in silent


def test_a_cookie_that_is_refused_is_told_from_a_node_that_is_not_there(tmp_path):
    (tmp_path / "vm.args").write_text("-name a@127.0.0.1\n")
    with private_erlang(tmp_path) as erlang, erlang.node("a@127.0.0.1", tmp_path / "mnesia") as (node, process):
        (tmp_path / "env.sh").write_text(f"export ERL_EPMD_PORT={erlang.port}\n")
        asked = Node({**node.spec, "config_dir": str(tmp_path), "service": "erlmcp"}, erlang.runner)
        assert asked.evaluate("1 + 1") == 2
        cookie = tmp_path / ".erlang.cookie"
        cookie.chmod(0o600)
        cookie.write_text("another")
        cookie.chmod(0o400)
        with pytest.raises(Unreachable, match=f"it refuses the cookie in {cookie}, so it runs with another"):
            asked.evaluate("1 + 1")
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(Unreachable, match="it has not answered within 1 s, so it hangs or is overloaded"):
            asked.evaluate("1 + 1", timeout=1)
        process.kill()
        process.wait()
        with pytest.raises(Unreachable, match=f"epmd on port {erlang.port} does not know a@127.0.0.1"):
            asked.evaluate("1 + 1")


def test_what_is_no_epmd_does_not_pass_for_one():
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        assert "(timed out)" in problem(other.getsockname()[1])


@pytest.mark.parametrize("flags", ["-erl_epmd_port 9100", "-epmd_module other", "-no_epmd"])
def test_a_node_that_does_without_epmd_is_not_looked_for(flags):
    port = free_port()
    assert problem(port, f"-name a@127.0.0.1\n{flags}\n".encode()) is None
    assert problem(port, b"# nothing laid down\n") is None
    assert problem(port, b"-sname a\n") is not None
