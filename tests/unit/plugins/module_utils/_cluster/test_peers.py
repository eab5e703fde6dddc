# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Erlang node is told of its peers; real sockets answer, refuse, or keep silent."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.peers import (
    cluster_peers,
    connect,
    unreachable,
)
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._backup.erlang_nodes import private_erlang
from ansible_collections.erlmcp.ops.tests.unit.plugins.module_utils._cluster.mnesia_cluster import (
    FIRST,
    SECOND,
    Cluster,
)

NEW = "new@127.0.0.2"


@pytest.fixture(name="peers")
def _peers(tmp_path):
    """Function that runs the module on one node, whose config names ``NEW``."""
    home = tmp_path / "home"
    home.mkdir()
    with private_erlang(home) as erlang:
        cluster = Cluster(erlang, tmp_path)
        cluster.start(FIRST, "ok")
        spec = {**cluster.spec(FIRST), "config_dir": str(tmp_path)}
        (tmp_path / "sys.config").write_text(f"[{{kernel, [{{cluster_nodes, ['{FIRST}', '{NEW}']}}]}}].\n")

        def run(state, check_mode=False, **options):
            params = {"node": spec, "state": state, "members": [FIRST, NEW], "timeout_seconds": 1}
            params = {**params, "predicted_outdated": False, **options}
            return cluster_peers(SimpleNamespace(params=params, check_mode=check_mode), cluster.runner(FIRST))

        run.ask = lambda text: cluster.evaluate(FIRST, text)
        run.cluster = cluster
        run.kill = lambda: cluster.kill(FIRST)
        yield run
        for name in list(cluster.stacks):
            cluster.kill(name)


@pytest.fixture(name="silent")
def _silent():
    """A port that answers nobody: its queue of connections is full, so the kernel drops what comes."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as server:
        waiting = []
        try:
            for _each in range(8):
                waiting.append(socket.socket())
                waiting[-1].setblocking(False)
                waiting[-1].connect_ex(server.getsockname())
            yield server.getsockname()[1]
        finally:
            for each in waiting:
                each.close()


@pytest.fixture(name="free")
def _free():
    with socket.create_server(("127.0.0.2", 0)) as server:
        return server.getsockname()[1]


def test_a_running_node_is_told_once(peers):
    assert peers("connected", check_mode=True)["changed"]
    assert peers.ask("application:get_env(kernel, cluster_nodes)") is None
    assert peers("connected")["changed"]
    assert peers.ask("application:get_env(kernel, cluster_nodes)") == ("ok", [FIRST, NEW])
    assert not peers("connected")["changed"]
    assert peers("connected", check_mode=True, predicted_outdated=True)["changed"]
    assert not peers("connected", predicted_outdated=True)["changed"]


def test_a_node_that_does_not_run_is_told_by_its_start(peers):
    peers.kill()
    assert not peers("connected")["changed"]


def test_a_peer_that_keeps_silent_is_refused_and_one_that_refuses_is_not(peers, silent, free):
    assert peers("reachable", ports=[free]) == {"changed": False, "new": [NEW]}
    with pytest.raises(OpsError, match=f"{FIRST} cannot reach 127.0.0.2:{silent}: no answer in 1 s") as refused:
        peers("reachable", ports=[free, silent])
    assert refused.value.details["unreachable"] == [f"127.0.0.2:{silent}"]
    peers.ask(f"application:set_env(kernel, cluster_nodes, ['{NEW}'])")
    assert peers("reachable", ports=[silent])["new"] == []


def test_a_name_that_does_not_resolve_does_not_answer(free):
    assert unreachable(["erlmcp@nowhere.invalid"], [free], 1) == [f"nowhere.invalid:{free}"]
    assert unreachable([], [free], 1) == []


def test_a_node_is_connected_to_those_that_answer_and_to_none_when_one_is_silent(peers, silent, free):
    node = peers.cluster.node(FIRST)
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        assert connect(node, [NEW], [port], check_mode=True) == [NEW]
        # Nobody is there who could be met.
        assert connect(node, [NEW], [port, free], check_mode=True) == []
        assert connect(node, [NEW], [port, silent], check_mode=True) == []
        # Something answers, and is no node.
        assert connect(node, [NEW], [port], check_mode=False) == []
    assert connect(node, [NEW], [], check_mode=True) == []
    peers.cluster.start(SECOND, "ok")
    peers.ask(f"erlang:disconnect_node('{SECOND}')")
    ports = [peers.cluster.erlang.port]
    assert connect(node, [SECOND], ports, check_mode=True) == [SECOND]
    assert peers.ask(f"lists:member('{SECOND}', nodes())") is False
    assert connect(node, [SECOND], ports, check_mode=False) == [SECOND]
    assert peers.ask(f"lists:member('{SECOND}', nodes())") is True
