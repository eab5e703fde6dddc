# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One at a time: a backup, a restore, a drill of one service on its host."""

from __future__ import annotations

from .._core import lock
from .progress import progress_path


class Lock(lock.Lock):
    """While it is held, there is a file for :class:`.progress.Progress`."""

    def __init__(self, run_dir, service, what):
        super().__init__(run_dir, service, what, companion=progress_path(run_dir, service))
