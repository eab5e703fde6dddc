# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""epmd, of which nodes learn where another one listens. It is asked as they ask it, whosever process it is."""

from __future__ import annotations

import socket
import struct

_PORT = 4369
_SECONDS = 2
_PORT_PLEASE, _PORT_ANSWER = 122, 119


def mapper_problem(distribution, name, unit):
    """Say why others cannot find a node that runs, with the next action; ``None`` where they can, or need no epmd.

    :param distribution: the :class:`.distribution.Distribution` of the node.
    :param name: name of the node.
    :param unit: full name of the unit of epmd.
    """
    if not distribution.registers:
        return None
    port = distribution.mapper_port or _PORT
    try:
        if _knows(port, name.partition("@")[0]):
            return None
    except OSError as error:
        return (
            f"epmd does not answer on port {port} ({error.strerror or error}). The playbook site starts it where it is "
            f"stopped, else systemctl restart {unit}; the node registers with it by itself. "
            f"journalctl -u {unit} tells why it ended"
        )
    return (
        f"epmd on port {port} does not know {name}. A node registers within seconds; one that still has not is helped "
        "by a restart: playbook restart with erlmcp_cluster_restart_gate: false, when the other nodes are well"
    )


def _knows(port, name):
    """Whether the epmd of this host knows a node.

    :raises OSError: when nothing answers that could be epmd.
    """
    question = struct.pack(">B", _PORT_PLEASE) + name.encode()
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        connection.sendall(struct.pack(">H", len(question)) + question)
        answer = connection.makefile("rb").read(2)
    if len(answer) < 2 or answer[0] != _PORT_ANSWER:
        raise OSError("what listens there does not speak its protocol")
    return answer[1] == 0
