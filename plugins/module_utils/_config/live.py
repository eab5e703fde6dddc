# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may differ between the config that a node runs with and the one on disk without a restart being due.

The list of nodes to connect to is that: a node that joins connects to the others by itself. If it counted, adding a
host would restart the whole cluster. The unit's ``record-start`` leaves the same text out of what it records.
"""

from __future__ import annotations

import contextlib
import re

from .._erlang.node import Unreachable
from .._erlang.terms import format_term

_CLUSTER_NODES = re.compile(rb"\{cluster_nodes,[^]]*\]\}")


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


def apply_live(node):
    """Tell a running node its live settings as they are on disk, for a release that reads them again.

    :param node: a :class:`.._erlang.node.Node`. One that does not answer reads them when it starts.
    """
    path = format_term(f"{node.spec['config_dir']}/sys.config")
    with contextlib.suppress(Unreachable):
        node.evaluate(
            f"{{ok, [Sections]}} = file:consult({path}), [application:set_env(Application, cluster_nodes, Nodes) || "
            "{Application, Settings} <- Sections, is_list(Settings), {cluster_nodes, Nodes} <- Settings]"
        )
