# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes that are new to each other meet when each can reach every other, and not before.

From Erlang/OTP 25 on, a node that reaches only some of the others is worse than one that reaches none. It tells those
it reaches that it lost the rest, and they cut the rest off (``prevent_overlapping_partitions`` of kernel), though their
own connections were fine. Mnesia then takes members for down that never were. Firewalls that open one after the other
are enough for that.
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from .._core.errors import OpsError
from .._erlang.node import Node, Unreachable
from .._erlang.terms import format_term

# What the node knows of its peers: those it sees, and those that it was told to connect to.
_KNOWN = """
[node() | nodes()] ++ lists:append(
    [Nodes || {A, _, _} <- application:loaded_applications(), {ok, Nodes} <- [application:get_env(A, cluster_nodes)]])
"""

_TELL = """
begin
    {{ok, [Sections]}} = file:consult({path}),
    [application:set_env(Application, cluster_nodes, Nodes)
        || {{Application, Settings}} <- Sections, is_list(Settings), {{cluster_nodes, Nodes}} <- Settings]
end
"""

_TOLD = """
case file:consult({path}) of
    {{ok, [Sections]}} ->
        [Application || {{Application, Settings}} <- Sections, is_list(Settings), {{cluster_nodes, Nodes}} <- Settings,
                        application:get_env(Application, cluster_nodes) =/= {{ok, Nodes}}] =:= [];
    _ -> true
end
"""


def told_question(config_dir):
    """Return the Erlang expression that says whether the node was told of the peers that its config names."""
    return _TOLD.format(path=_path(config_dir)).strip()


def cluster_peers(module, runner):
    """The module ``cluster_peers``."""
    options = module.params
    node = Node(options["node"], runner)
    if options["state"] == "reachable":
        new = check_reachable(node, options["members"], options["ports"], options["timeout_seconds"])
        return {"changed": False, "new": new}
    return _connect(node, module.check_mode, options["predicted_outdated"])


def check_reachable(node, members, ports, timeout):
    """Return the members that a node has not met yet, or refuse when a port of one does not answer from this host.

    :param node: a :class:`.._erlang.node.Node`.
    :param members: node names; ``ports``: numbers; ``timeout``: seconds, for all of them together.
    """
    try:
        known = {str(name) for name in node.evaluate(_KNOWN.strip())}
    except Unreachable:
        known = {node.name}
    new = sorted(set(members) - known)
    silent = unreachable(new, ports, timeout)
    if silent:
        raise OpsError(
            f"{node.name} cannot reach {', '.join(silent)}: no answer in {timeout} s. Open what is between them, other "
            "firewalls too; a node that reaches only some of the others would split the cluster",
            kind="unreachable",
            unreachable=silent,
        )
    return new


def _connect(node, check_mode, predicted_outdated):
    config_dir = node.spec["config_dir"]
    try:
        told = node.evaluate(told_question(config_dir)) and not (check_mode and predicted_outdated)
        if not told and not check_mode:
            node.evaluate(_TELL.format(path=_path(config_dir)).strip())
    except Unreachable:
        # It reads them when it starts.
        told = True
    return {"changed": not told, "new": []}


def unreachable(names, ports, timeout):
    """Return ``host:port`` for what does not answer. A refused connection is an answer: the way is open.

    :param names: node names; ``ports``: numbers; ``timeout``: seconds, for all of them together.
    """
    targets = [(name.partition("@")[2], port) for name in names for port in ports]
    if not targets:
        return []
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        answers = pool.map(lambda target: _answers(*target, timeout), targets)
        return [f"{host}:{port}" for (host, port), answer in zip(targets, answers) if not answer]


def _answers(host, port, timeout):
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def _path(config_dir):
    return format_term(f"{config_dir}/sys.config")
