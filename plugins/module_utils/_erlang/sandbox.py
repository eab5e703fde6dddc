# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An Erlang that asks a node is in its hands, since distribution is symmetric: so it is run in the sandbox of the node.
So is one that reads tables, which the node or a stranger has written.

Role erlmcp_node lays down the command that does so, a ``systemd-run`` with the settings of the node's unit.
"""

from __future__ import annotations

import os

_DIRECTORY = "/usr/local/lib/erlmcp-ops"


def sandboxed(release_name, command, environment, seconds, writable=None, directory=_DIRECTORY):
    """Return the command that runs ``command`` in the sandbox, to be run by root.

    Returns ``None`` where there is no sandbox: before the first run of the role, and for whoever is not root.

    :param environment: all of it, as a dict; must not hold a secret (every user of the host can read it).
    :param seconds: after which everything in the sandbox is killed.
    :param writable: for what asks nobody: the one directory that it may write, and it has no network. The parents of
        the directory must be root's.
    """
    sandbox = os.path.join(directory, f"{release_name}-sandbox")
    if os.geteuid() != 0 or not os.path.exists(sandbox):
        return None
    return [
        *(sandbox, "--pipe", "-p", f"RuntimeMaxSec={seconds}"),
        *(_network() if writable is None else _alone(writable)),
        *(word for name, value in environment.items() for word in ("-E", f"{name}={value}")),
        # In the arguments of a unit a dollar sign is written twice.
        *(word.replace("$", "$$") for word in command),
    ]


def _alone(writable):
    """It lets the node go first like who runs it does, which a unit does not inherit."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return [
        *("-p", "PrivateNetwork=yes", "-p", f"ReadWritePaths={writable}", "-p", f"Nice={nice}"),
        *(["-p", "IOSchedulingClass=idle"] if nice > 0 else []),
    ]


def _network():
    """A drill asks in a network of its own, where its node is."""
    own, host = (os.stat(f"/proc/{process}/ns/net") for process in ("self", os.getppid()))
    return [] if own.st_ino == host.st_ino else ["-p", f"NetworkNamespacePath=/proc/{os.getpid()}/ns/net"]
