# Copyright: erlmcp.ops contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_islands
short_description: Put together how all hosts see the cluster
version_added: 0.1.0
author: erlmcp.ops contributors (@erlmcp)
description:
  - Merges what M(erlmcp.ops.cluster_info) said on every host. No node of a cluster that is split can see all of it.
options:
  _input:
    description: Inventory name to the result of M(erlmcp.ops.cluster_info). One of a host that was not reached counts
      as not asked.
    type: dict
    required: true
  nodes:
    description: Inventory name to node name, for the whole cluster.
    type: dict
    required: true
  dead:
    description: Inventory names of hosts that are lost. They are left out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the islands
  ansible.builtin.debug:
    msg: "{{ ({'node1': cluster} | erlmcp.ops.cluster_islands({'node1': 'erlmcp@node1.example.com'})).text }}"
"""

RETURN = r"""
_value:
  description:
    - C(islands) is a list with C(nodes), C(hosts), C(schema) (nodes that all of them know), C(tables) (table to
      C(rows) and C(digest)), C(not_loaded) (tables that they hold and cannot read) and C(last_change) each.
      C(partitioned) tells whether there is more than one.
    - C(not_joined), C(down), C(silent), C(stopped), C(unasked), C(in_ram) (their schema is in RAM only) and C(undead)
      (said to be dead, and reached) are lists of hosts, C(cut) is one of pairs of hosts of which the first does not
      reach the second, C(masters) is a dictionary of hosts with the master nodes they have. C(waiting) is one of hosts
      whose node waits for others, with those C(nodes), the C(members) of its schema, those that it has C(outlived), the
      C(tables) and how many rows its disk has of them (or null), the C(last_change) of their files and when the node
      was C(started). C(dead) is what was given.
    - C(problems) are texts, C(text) is all of it in lines for people.
  type: dict
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.erlmcp.ops.plugins.module_utils._cluster.islands import merge
from ansible_collections.erlmcp.ops.plugins.module_utils._core.errors import OpsError


def cluster_islands(found, nodes, dead=()):
    try:
        return merge(found, nodes, dead)
    except OpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Offers the filter."""

    def filters(self):
        return {"cluster_islands": cluster_islands}
