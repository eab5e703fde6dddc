# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollback_problems
short_description: What a rollback of the nodes of a cluster would not mend
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - What is wrong with a node on the release that it leaves is no problem. A node that is not healthy on the release to
    go back to is one, and so is a node on that release which does not see another one on it.
options:
  _input:
    description: Inventory name to what M(erlmcp.ops.node_info) returned.
    type: dict
    required: true
  version:
    description: The version to go back to.
    type: str
    required: true
  cut_off:
    description: Whether a run was cut off before. It can have left one node in any state, which is started again.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a rollback that would not mend the cluster
  ansible.builtin.assert:
    that: "{{ {'node1': node} | erlmcp.ops.rollback_problems('1.0.0') | length == 0 }}"
"""

RETURN = r"""
_value:
  description: The problems, and the next action. Empty when there is none.
  type: list
  elements: str
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.upgrade import rollback_problems as judge


def rollback_problems(nodes, version, cut_off=False):
    told = {
        host: {
            "name": node["name"],
            "current": node["release"]["current"],
            "healthy": node["health"]["healthy"],
            "detail": node["health"]["detail"],
            "missing": node["missing_members"] + node["not_sharing"],
        }
        for host, node in nodes.items()
    }
    return judge(told, version, cut_off)


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"rollback_problems": rollback_problems}
