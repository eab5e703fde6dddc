# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""That a node was healthy with a release is noted in the release's record: from then on it is immutable."""

from __future__ import annotations

import contextlib
import json
import os

from .._core.files import read_if_there, write_atomically

RECORD = ".erlmcp-release.json"


def note_proven(releases):
    """Note that the node is healthy with the current release.

    :param releases: the :class:`.._core.slots.Slots` of the releases.
    """
    current = releases.state().current
    if current is None:
        return
    path = os.path.join(releases.path(current), RECORD)
    # The node serves, so nothing here may fail its restart. What could not be noted is noted before the next one.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        record = json.loads(read_if_there(path) or b"{}")
        if record.get("proven") is False:
            write_atomically(path, json.dumps({**record, "proven": True}, indent=2).encode() + b"\n")
