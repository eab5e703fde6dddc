# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work beside a node that serves."""

from __future__ import annotations

import contextlib
import os

_NICE = 10


@contextlib.contextmanager
def in_background():
    """Inside, this process and the programs it starts let the node go first.

    All of them alike: a compressor that went before the counting of rows would only end sooner to wait for it.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(before, _NICE))
    try:
        yield
    finally:
        # A sandbox may allow only the one direction.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)
