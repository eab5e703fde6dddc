# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which application of a node listens where. The kernel only knows that the node does."""

from __future__ import annotations

_QUESTION = """
[{inet:ntoa(Address), Number, case application:get_application(Owner) of {ok, Name} -> Name; _ -> none end}
    || Port <- erlang:ports(), {name, "tcp_inet"} =:= erlang:port_info(Port, name),
       {ok, Status} <- [prim_inet:getstatus(Port)], lists:member(listen, Status),
       {ok, {Address, Number}} <- [inet:sockname(Port)], is_integer(Number),
       {connected, Owner} <- [erlang:port_info(Port, connected)]]
"""


def listeners(node):
    """Return ``address``, ``port`` and ``application`` (empty when it is none's) of each TCP listener of a node.

    :param node: a :class:`.node.Node`. A node with many connections looks at each of them.
    :raises OpsError: when it does not answer.
    """
    answer = node.evaluate(" ".join(_QUESTION.split()), timeout=30)
    return [
        {
            "address": str(address),
            "port": port,
            "application": "" if str(application) == "none" else str(application),
        }
        for address, port, application in answer
    ]


def unnamed(found, ports):
    """Return those of ``found`` that others can reach and whose port is not one of ``ports``."""
    return [each for each in found if each["port"] not in ports and not is_loopback(each["address"])]


def is_loopback(address):
    """Whether only programs of the host itself can reach the address."""
    return address.startswith("127.") or address == "::1"
