# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom a node that does not run shares its tables with, for what ``--check`` predicts of its start.

Its schema names them. To ask Mnesia would take an Erlang of its own, a second for each host, so the atoms of the form
``name@host`` are looked for in the file. One that has left may still be in a part of the file that is free.
"""

from __future__ import annotations

import os
import re

from .._core import trees

_FILE = "schema.DAT"
_LONGEST_BYTES = 64 * 1024**2
# An atom in the external term format, with its length in one byte or two (SMALL_ATOM_UTF8_EXT, ATOM_EXT).
_ATOM = re.compile(rb"(?=(?:w(?P<one>.)|d(?P<two>..))(?P<text>[\w-]+@[\w.:-]+))", re.DOTALL)


def members_on_disk(directories):
    """Return the sorted node names in the Mnesia schema below one of the directories; none where there is no schema."""
    for directory in directories:
        for name, _status in trees.walk(directory):
            if os.path.basename(name) == _FILE:
                return named_nodes(trees.read(directory, name, _LONGEST_BYTES) or b"")
    return []


def named_nodes(content):
    """Return the sorted node names among the atoms in bytes of external terms."""
    found = set()
    for atom in _ATOM.finditer(content):
        length = int.from_bytes(atom["one"] or atom["two"], "big")
        name = atom["text"][:length]
        if len(name) == length:
            found.add(name.decode())
    return sorted(found)
