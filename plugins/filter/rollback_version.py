# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollback_version
short_description: The release that the nodes of a cluster ran before
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - The one that each node runs already, or ran before. So an upgrade that stopped half-way needs no version either.
  - Of two that fit, the one that a node which is not healthy runs is what the cluster goes away from.
  - Chooses none when none fits, or more than one.
options:
  _input:
    description: Inventory name to what M(erlmcp.ops.node_info) returned.
    type: dict
    required: true
  asked:
    description: A version that the operator named. It is returned as it is.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Refuse to guess where to go back to
  ansible.builtin.assert:
    that: rollback.problem == ""
    fail_msg: "{{ rollback.problem }}"
  vars:
    rollback: "{{ {'node1': node} | erlmcp.ops.rollback_version }}"
"""

RETURN = r"""
_value:
  description: The C(version), and the C(problem), of which one is empty.
  type: dict
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.upgrade import rollback_version as choose


def rollback_version(nodes, asked=""):
    told = {host: {**node["release"], "healthy": node["health"]["healthy"]} for host, node in nodes.items()}
    version, problem = choose(told, asked)
    return {"version": version, "problem": problem}


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"rollback_version": rollback_version}
