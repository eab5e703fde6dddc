# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may differ between the config that a node runs with and the one on disk without a restart being due.

The list of nodes to connect to is that. If it counted, adding a host would restart the whole cluster. The unit's
``record-start`` leaves the same text out of what it records. Who tells the running node is ``_cluster.peers``.
"""

from __future__ import annotations

import re

from .._core.errors import OpsError

_CLUSTER_NODES = re.compile(rb"\{cluster_nodes,[^]]*\]\}")
_NODE_NAME = re.compile(rb"[^\s,\[\]']+@[^\s,\[\]']+")


def without_live(content):
    """Return a config file without its live settings.

    :param content: bytes, or ``None`` for a missing file.
    """
    return None if content is None else _CLUSTER_NODES.sub(b"", content)


def same_but_live(one, other):
    """Whether two sets differ in live settings only.

    :param one: file name to bytes, like ``other``.
    """
    return {name: without_live(text) for name, text in one.items()} == {
        name: without_live(text) for name, text in other.items()
    }


def check_whole(name, current, wanted, left_out):
    """Do nothing, or refuse a run in which a node learns of nodes that not all of the others learn of.

    The firewalls of the hosts that are left out stay closed to a new node. It would reach some members and not the
    others, which splits the cluster (see ``_cluster.peers``).

    :param name: the node.
    :param current: the ``sys.config`` in use as bytes, or ``None``.
    :param left_out: hosts of the group that the run leaves out.
    """
    new = sorted(_names(wanted) - _names(current or b"") - {name})
    if new and left_out:
        raise OpsError(
            f"{name} would learn of {', '.join(new)} while {', '.join(left_out)} would not: nodes that reach only some "
            "of the others split a cluster. Run this for all hosts of the group, without --limit",
            kind="limited",
            new=new,
            left_out=left_out,
        )


def _names(content):
    return {found.decode() for listed in _CLUSTER_NODES.findall(content) for found in _NODE_NAME.findall(listed)}
