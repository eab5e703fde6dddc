# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the files of an installed release are those that were laid down: by size and time, which costs milliseconds.

What was never noted, because an older version of the collection laid it down, is not judged.
"""

from __future__ import annotations

import json
import os

from .._core.files import read_if_there
from .proof import RECORD

LIST = ".erlmcp-files.json"
_OWN = (LIST, RECORD)
_SHOWN = 3


def note_files(root):
    """Write down what is below ``root``, the directory of a release that was unpacked."""
    with open(os.path.join(root, LIST), "w", encoding="utf-8") as stream:
        json.dump(_found(root), stream)


def damaged_files(root):
    """Return the names below ``root`` that are missing, or not as they were noted; none where nothing was noted."""
    try:
        noted = json.loads(read_if_there(os.path.join(root, LIST)) or b"{}")
    except ValueError:
        return [LIST]
    found = _found(root)
    return sorted(name for name, what in noted.items() if found.get(name) != what)


def told_of(names):
    """Say which files are damaged, in a few words."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} missing or changed"


def _found(root):
    """Return name to what tells whether it was changed: size and time of a file, target of a link."""
    entries = {}
    for directory, _directories, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            entries[relative] = os.readlink(path) if os.path.islink(path) else [status.st_size, status.st_mtime_ns]
    return {name: what for name, what in entries.items() if name not in _OWN}
