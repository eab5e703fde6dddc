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
from .._erlang.terms import Atom, format_term

# What a port says.
OPEN, REFUSED, SILENT = "open", "refused", "silent"

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


_CONNECT = """
begin
    Ask = fun(Name) -> spawn_monitor(fun() -> exit({{connected, net_kernel:connect_node(Name)}}) end) end,
    Asked = [{{Name, Ask(Name)}} || Name <- {names}],
    [Name || {{Name, {{Process, Monitor}}}} <- Asked,
        receive {{'DOWN', Monitor, process, Process, Why}} -> Why =:= {{connected, true}} end]
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


def connect(node, names, ports, check_mode, timeout=2):
    """Connect a running node to others, and return the names of those that it is connected to, or would be.

    To none of them when one does not answer at all (see the top).

    :param node: a :class:`.._erlang.node.Node`.
    :param names: node names; ``timeout``: seconds, for all of them together.
    :param ports: numbers, those of the port mapper and of distribution; without any, nothing is done.
    """
    answers = _ask_ports(names, ports, timeout)
    if not answers or SILENT in answers.values():
        return []
    open_ones = [name for name in names if all(answers[name, port] == OPEN for port in ports)]
    if check_mode or not open_ones:
        return open_ones
    listed = format_term([Atom(name) for name in open_ones])
    return sorted(str(name) for name in node.evaluate(_CONNECT.format(names=listed).strip()))


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
    answers = _ask_ports(names, ports, timeout)
    return [f"{name.partition('@')[2]}:{port}" for (name, port), answer in answers.items() if answer == SILENT]


def _ask_ports(names, ports, timeout):
    """Return what (name, port) says, for all of them at once."""
    targets = [(name, port) for name in names for port in ports]
    if not targets:
        return {}
    with ThreadPoolExecutor(max_workers=len(targets)) as pool:
        answers = pool.map(lambda target: _answer(target[0].partition("@")[2], target[1], timeout), targets)
        return dict(zip(targets, answers))


def _answer(host, port, timeout):
    try:
        socket.create_connection((host, port), timeout).close()
    except ConnectionRefusedError:
        return REFUSED
    except OSError:
        return SILENT
    return OPEN


def _path(config_dir):
    return format_term(f"{config_dir}/sys.config")
