# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a node that serves is near an end: of its memory, or of what its virtual machine may have."""

from __future__ import annotations

import re

from .._checks.row import WARN, Row
from .._core.files import read_if_there

# From here on a node has little time. Nine tenths is what the administration guide takes for capacity.
_NEAR = 0.9
# The kernel begins to kill well before nothing is left.
_HOST_LEFT = 0.05
_KIB, _MIB = 1024, 1024**2

_LIMITS = (
    ("processes", "process_limit", "erlmcp_node_process_limit"),
    ("ports", "port_limit", "erlmcp_node_port_limit"),
)
_RESTART = "A restart frees it for now: ansible-playbook erlmcp.ops.restart --limit {host}"


def near_limits(node, figures):
    """Return a :class:`Row` for each limit of the virtual machine that the node is near.

    :param node: its name.
    :param figures: what :class:`.observe.Observer` has read, empty when the node did not answer.
    """
    return [
        Row(
            "ERLMCP_LIMIT_NEAR",
            WARN,
            f"{node} has {figures[what]} of the {figures[limit]} {what} that it may have, and refuses work at the end",
            f"Find what makes them, or raise {variable}. {_RESTART}",
        )
        for what, limit, variable in _LIMITS
        if figures and figures[what] >= _NEAR * figures[limit]
    ]


def near_memory(node, resident, allowed, host):
    """Return a list with the :class:`Row` that says whether the kernel may soon end the node.

    :param node: its name.
    :param resident: bytes that the node has in memory.
    :param allowed: bytes that its unit may have, ``None`` without a limit.
    :param host: bytes that the host has, and of these what is available.
    """
    total, available = host
    if allowed and resident >= _NEAR * allowed:
        what = f"of the {allowed // _MIB} MiB that its unit may have (MemoryMax)"
    elif available < _HOST_LEFT * total:
        what = f"and of the {total // _MIB} MiB of its host {available // _MIB} MiB are left"
    else:
        return []
    return [
        Row(
            "ERLMCP_MEMORY",
            WARN,
            f"{node} has {resident // _MIB} MiB of memory, {what}: at the end the kernel kills it",
            f"See what holds it: erlmcp eval 'erlang:memory().'. {_RESTART}",
        )
    ]


def read_memory(pid, unit):
    """Return the last three arguments of :func:`near_memory`, or ``None`` when the process has ended.

    :param pid: of the node.
    :param unit: its :class:`.unit.Unit`.
    """
    status = read_if_there(f"/proc/{pid}/status")
    resident = re.search(rb"^VmRSS:\s+(\d+) kB$", status or b"", re.MULTILINE)
    if not resident:
        return None
    host = {name: int(size) * _KIB for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", _meminfo(), re.MULTILINE)}
    return int(resident[1]) * _KIB, unit.memory_max(), (host["MemTotal"], host["MemAvailable"])


def _meminfo():
    with open("/proc/meminfo", encoding="ascii") as stream:
        return stream.read()
