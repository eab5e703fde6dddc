# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_problems
short_description: What speaks against taking down a node of a cluster now
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Every node has to be healthy, to see each of the others, and to share its tables with them. And it must be able to
    start again.
  - A run that goes on with one that was cut off may find one node in any state, and the others without it. Of those
    the same is asked as ever.
options:
  _input:
    description: Inventory name to what M(erlmcp.ops.node_ready) returned.
    type: dict
    required: true
  resumes:
    description: Whether the run goes on with one that was cut off.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse a cluster that is not whole
  ansible.builtin.assert:
    that: "{{ {'node1': node} | erlmcp.ops.cluster_problems | length == 0 }}"
"""

RETURN = r"""
_value:
  description: Inventory name to what is wrong there. Empty when the cluster is whole.
  type: dict
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._checks.row import CRIT, KEEPS_FROM_STARTING
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.whole import cluster_problems as judge


def cluster_problems(nodes, resumes=False):
    told = {
        host: {
            "name": node["name"],
            "healthy": node["health"]["healthy"],
            "detail": node["health"]["detail"],
            "epmd_error": node["epmd_error"],
            "missing_members": node["missing_members"],
            "not_sharing": node["not_sharing"],
            "in_the_way": [
                f"{row['evidence']}. {row['remedy']}"
                for row in node["checks"]
                if row["state"] == CRIT and row["code"] in KEEPS_FROM_STARTING
            ],
        }
        for host, node in nodes.items()
    }
    return judge(told, resumes)


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"cluster_problems": cluster_problems}
