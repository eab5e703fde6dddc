# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: turn
short_description: When the turn of a node comes in a change of all nodes
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - A node that does not serve comes first. One that runs the release already, or was restarted by the run that this one
    goes on with, is left alone. Of a node that does not tell when it was started nobody knows that it was restarted.
options:
  _input:
    description: What M(erlmcp.ops.node_ready) or M(erlmcp.ops.node_info) returned.
    type: dict
    required: true
  version:
    description: Version of the release to change to. Without one, the node is to be restarted.
    type: str
  resumed_seconds:
    description: How long ago the run began that this one goes on with.
    type: float
"""

EXAMPLES = r"""
- name: Sort out the nodes whose turn comes
  ansible.builtin.group_by:
    key: "turn_{{ node | erlmcp.ops.turn('1.1.0') }}"
"""

RETURN = r"""
_value:
  description: V(first), V(due) or V(done).
  type: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.whole import turn as judge


def turn(node, version=None, resumed_seconds=None):
    told = {
        "healthy": node["health"]["healthy"],
        "running": node["release"]["running"],
        "current": node["release"]["current"],
        "uptime_seconds": node["figures"].get("uptime_seconds"),
    }
    return judge(told, version, resumed_seconds)


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"turn": turn}
