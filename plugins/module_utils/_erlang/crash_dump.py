# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node leaves behind when it crashes: its memory in a file, and so its cookie and what clients sent."""

from __future__ import annotations

import os

from .._core import trees

# Also of one that was packed or moved aside.
_NAME = "erl_crash.dump"
_HEAD = b"=erl_crash_dump:"


def is_crash_dump(directory, name):
    """Whether a file is one, whatever it is called.

    :param name: its path below the directory.
    """
    return os.path.basename(name).startswith(_NAME) or trees.read(directory, name, len(_HEAD)) == _HEAD
