# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories for the time of one look. What a killed run left of them is removed by the next one."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile

from . import trees

# Only root can write there, so nobody else can take a name or put a link in its place. Gone after a boot.
_RUN = "/run"


@contextlib.contextmanager
def scratch(name, parent=_RUN):
    """Make a directory that only its owner can enter, yield its path, and remove it.

    :param name: what it is for, the beginning of its name. Those of processes that have ended are removed first.
    :param parent: a directory that only root can write to.
    """
    for left in _left(name, parent):
        trees.remove(left)
    directory = tempfile.mkdtemp(dir=parent, prefix=f"{name}-{os.getpid()}-")
    try:
        yield directory
    finally:
        trees.remove(directory)


def _left(name, parent):
    made = re.compile(rf"{re.escape(name)}-(\d+)-[a-z0-9_]{{8}}")
    for entry in os.listdir(parent):
        match = made.fullmatch(entry)
        if match and not os.path.exists(f"/proc/{match[1]}"):
            yield os.path.join(parent, entry)
