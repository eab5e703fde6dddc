# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node that left its cluster comes back on purpose only."""

from __future__ import annotations

import contextlib
import json
import os

from .._core.errors import OpsError

_MARKER = "removed.json"


def marker_path(config_dir):
    """Return the path of the file that says that the node has left; it holds ``node``, ``time`` and ``survivors``."""
    return os.path.join(config_dir, _MARKER)


def check_admitted(config_dir, readmit):
    """Do nothing, or refuse a host whose node has left.

    :param readmit: whether the operator wants it back.
    """
    if readmit:
        return
    try:
        with open(marker_path(config_dir), encoding="utf-8") as stream:
            left = json.load(stream)
    except FileNotFoundError:
        return
    raise OpsError(
        f"{left['node']} has left its cluster ({left['time']}): take its host out of the inventory, or, to have it "
        "join again as a new node, run with -e erlmcp_node_readmit=true",
        kind="removed",
        **left,
    )


def admit(config_dir):
    """Forget that the node has left."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(marker_path(config_dir))
