# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one exception root: everything a module refuses or fails on is an OpsError."""

from __future__ import annotations


class OpsError(Exception):
    """A refusal or a failure, told to the operator.

    :param message: what failed (naming the variable, file or host) and the next action.
    :param kind: a stable word for programs, for example ``archive``, ``config``, ``health``.
    :param details: structured evidence; must not hold secrets.
    """

    def __init__(self, message, kind="error", **details):
        super().__init__(message)
        self.kind = kind
        self.details = details

    def as_dict(self):
        """Return what a module reports as ``failure``."""
        return {"kind": self.kind, "details": self.details}


def system_error(error):
    """Return as an :class:`OpsError` what the system refused and no topic has a better word for.

    :param error: an ``OSError``.
    """
    place = f"{error.filename}: " if error.filename else ""
    return OpsError(
        f"{place}{error.strerror or error}. Read in the journal what this host says of it (journalctl -b -p warning), "
        "remove the cause, then run again",
        kind="system",
    )
