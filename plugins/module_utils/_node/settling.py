# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that was started is healthy when it stays so: some answer for seconds before their application crashes."""

from __future__ import annotations

import time


class Settling:
    """Tells whether a node has been well for long enough, without a break and as one process.

    :param seconds: how long that is.
    :param clock: returns seconds that only grow.
    """

    def __init__(self, seconds, clock=time.monotonic):
        self.seconds = seconds
        self.clock = clock
        self.since = None
        self._pid = None

    @property
    def begun(self):
        """Whether the node was well when it was last looked at."""
        return self.since is not None

    def look(self, state, well):
        """Take in what was seen just now; return whether the node has settled.

        :param state: what :class:`.observe.Observer` says.
        :param well: whether that is as it should be.
        """
        if not well or state["pid"] != self._pid:
            self.since = None
        if well and self.since is None:
            self.since = self.clock()
        self._pid = state["pid"]
        return well and self.clock() - self.since >= self.seconds
