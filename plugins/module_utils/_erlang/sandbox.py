# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An Erlang that asks a node is in its hands, since distribution is symmetric: so it is run in the sandbox of the node.

Role erlmcp_node lays down the command that does so, a ``systemd-run`` with the settings of the node's unit.
"""

from __future__ import annotations

import os

_DIRECTORY = "/usr/local/lib/erlmcp-ops"


def sandboxed(release_name, command, environment, seconds, directory=_DIRECTORY):
    """Return the command that runs ``command`` in the sandbox, to be run by root.

    Returns ``None`` where there is no sandbox: before the first run of the role, and for whoever is not root.

    :param environment: all of it, as a dict; must not hold a secret (every user of the host can read it).
    :param seconds: after which everything in the sandbox is killed.
    """
    sandbox = os.path.join(directory, f"{release_name}-sandbox")
    if os.geteuid() != 0 or not os.path.exists(sandbox):
        return None
    return [
        *(sandbox, "--pipe", "-p", f"RuntimeMaxSec={seconds}"),
        *_network(),
        *(word for name, value in environment.items() for word in ("-E", f"{name}={value}")),
        # In the arguments of a unit a dollar sign is written twice.
        *(word.replace("$", "$$") for word in command),
    ]


def _network():
    """A drill asks in a network of its own, where its node is."""
    own, host = (os.stat(f"/proc/{process}/ns/net") for process in ("self", os.getppid()))
    return [] if own.st_ino == host.st_ino else ["-p", f"NetworkNamespacePath=/proc/{os.getpid()}/ns/net"]
