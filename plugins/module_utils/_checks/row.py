# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A check: a row with a stable code, a state, what was found, and the command that mends it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

# Nothing that is seen on such a host is of the node that was meant.
OTHER_NODE = "ERLMCP_OTHER_NODE"
# What keeps a node from starting again. The playbook site mends the last three, also in the run that is predicted.
LAID_DOWN = ("ERLMCP_RELEASE_DAMAGED", "ERLMCP_COOKIE", "ERLMCP_CONFIG_BROKEN")
KEEPS_FROM_STARTING = (
    "ERLMCP_DISK_FULL",
    "ERLMCP_DISK_READ_ONLY",
    "ERLMCP_NOT_WRITABLE",
    "ERLMCP_PORT_TAKEN",
    OTHER_NODE,
    *LAID_DOWN,
)

OK, WARN, CRIT, UNKNOWN = "OK", "WARN", "CRIT", "UNKNOWN"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at on one host.

    :param code: stays the same from release to release, so that it can be searched for and silenced.
    :param state: one of ``OK``, ``WARN``, ``CRIT`` and ``UNKNOWN``. What could not be looked at is never ``OK``.
    :param evidence: what was found, a sentence without its full stop.
    :param remedy: what mends it, a command where there is one.
    """

    code: str
    state: str
    evidence: str
    remedy: str

    def as_dict(self):
        return asdict(self)

    def __str__(self):
        return f"{self.evidence}. {self.remedy}"
