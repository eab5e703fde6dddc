# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draining through the release's own functions: no new sessions, and those that are open may end."""

from __future__ import annotations

import time

from .._erlang.node import Unreachable, function_name

DRAIN_SPEC = {
    "drain": {
        "type": "dict",
        "default": {},
        "options": {
            "start": {"type": "str"},
            "undo": {"type": "str"},
            "count": {"type": "str"},
            "timeout_seconds": {"type": "int", "default": 30},
        },
    },
}


class Drain:
    """Draining of one node.

    :param node: a :class:`.._erlang.node.Node`.
    :param options: the ``drain`` option of a module.
    :raises OpsError: for what is not the name of a function.
    """

    def __init__(self, node, options):
        for name in ("start", "undo", "count"):
            if options[name]:
                function_name(options[name])
        self.node = node
        self.options = options
        self.outcome = "not needed"

    def start(self):
        """Drain, and wait until the sessions have ended or the time is over.

        :return: whether there is something to undo.
        """
        if not self._call("start")[0]:
            self.outcome = "the release cannot drain"
            return False
        try:
            self.outcome = self._wait()
        except BaseException:
            self.undo()
            raise
        return True

    def undo(self):
        self._call("undo")

    def _wait(self):
        deadline = time.monotonic() + self.options["timeout_seconds"]
        while True:
            called, count = self._call("count")
            if not called:
                return "sessions cannot be counted"
            if count == 0:
                return "no session was open"
            if time.monotonic() >= deadline:
                return f"{count} sessions were still open after {self.options['timeout_seconds']} s"
            time.sleep(0.2)

    def _call(self, name):
        if not self.options[name]:
            return False, None
        try:
            return self.node.call_if_exported(self.options[name])
        except Unreachable:
            return False, None
