# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: partition_plan
short_description: How a cluster that is split becomes one again
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Every member outside of the surviving island loses. One that does not run does too, because that is what a repair
    leaves that was killed between stop and start.
options:
  _input:
    description: What P(erlmcp.ops.cluster_islands#filter) returned.
    type: dict
    required: true
  nodes:
    description: Inventory name to node name, for the whole cluster.
    type: dict
    required: true
  survivor:
    description: Inventory name of a host of the island whose rows are kept. Empty where none was chosen.
    type: str
    default: ""
  force_load:
    description: Whether the survivor's node loads what it has, when it waits for others that may have newer rows.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what would be done
  ansible.builtin.debug:
    msg: "{{ (islands | erlmcp.ops.partition_plan(nodes, 'node1')).text }}"
  vars:
    nodes: {node1: erlmcp@node1.example.com, node2: erlmcp@node2.example.com}
"""

RETURN = r"""
_value:
  description:
    - C(winners), C(losers), C(forced), C(keepers) and C(leftover) are lists of hosts. C(forced) is that one of the
      losers whose node loads what it has, and starts first. The node of C(keepers) stays its own master node, for
      others are not back yet. The master nodes of C(leftover) are to be cleared. C(masters) are the nodes that the
      losers load their tables from.
    - C(refusals) tell why nothing may be done, each with the next action. C(text) tells what is to be done.
  type: dict
"""

from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.repair import plan_repair


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"partition_plan": plan_repair}
