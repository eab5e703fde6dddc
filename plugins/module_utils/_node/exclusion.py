# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One change of a node at a time.

A control node that is killed leaves its module at work on the host. It ends by itself; the next run waits for it.
"""

from __future__ import annotations

from .._core.lock import Lock

_RUN_DIR = "/run/erlmcp-ops"
_PATIENCE_SECONDS = 300


def node_lock(node, what):
    """Return the lock of a node's host, to be held while the node is stopped and started.

    :param node: the ``node`` option of a module.
    :param what: what the holder does, for those who are refused.
    """
    return Lock(_RUN_DIR, _name(node), what, patience_seconds=_PATIENCE_SECONDS)


def wait_for_others(node):
    """Wait until nobody holds the lock.

    :raises OpsError: naming the holder, when it takes too long.
    """
    Lock.wait_until_free(_RUN_DIR, _name(node), _PATIENCE_SECONDS)


def _name(node):
    return f"{node['service']}-node"
